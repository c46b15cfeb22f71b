"""`key` and `token`: who may do what."""

from __future__ import annotations

from typing import Any

import click

from .options import Session, connected, output_option
from .output import ago, note, print_data, print_list

ROLES = ("owner", "deployer", "invoker", "viewer")


def _parse_grants(ctx: click.Context, param: click.Parameter, values: tuple[str, ...]) -> dict[str, list[str]]:
    """NAMESPACE=ROLE[,ROLE] -> roles by namespace."""
    grants: dict[str, list[str]] = {}
    for value in values:
        namespace, equals, roles = value.partition("=")
        wanted = [role.strip() for role in roles.split(",")]
        if not (namespace and equals) or not set(wanted) <= set(ROLES):
            raise click.BadParameter(f"{value!r} is not NAMESPACE=ROLE; roles: {', '.join(ROLES)}.", ctx, param)
        grants.setdefault(namespace, []).extend(wanted)
    return grants


@click.group()
def key() -> None:
    """Create, list and revoke keys.

    A key lets its holder in, with roles by namespace: an owner may do everything there, a deployer change functions, an
    invoker call them, a viewer look. Commands take the token from DAYFLY_TOKEN.
    """


@key.command(
    "create",
    epilog="\b\nExamples:\n  dayfly key create ci\n  dayfly key create web -n shop --role invoker --ttl 30d\n"
    "  dayfly key create alice --role owner --also staging=viewer\n  dayfly key create admin -n '*' --role owner\n"
    "  dayfly key create aws --kind pair",
)
@click.argument("name")
@click.option(
    "--role", "roles", multiple=True, type=click.Choice(ROLES), default=("deployer",), help="What it may do in the namespace."
)
@click.option(
    "--also", "elsewhere", multiple=True, metavar="NAMESPACE=ROLE", callback=_parse_grants, help="A role in another namespace."
)
@click.option(
    "--kind",
    type=click.Choice(("token", "pair", "basic")),
    default="token",
    help="A bearer token; an access key with a secret that signs (AWS); or uuid:key (OpenWhisk).",
)
@click.option("--ttl", "ttl_s", metavar="AGE", callback=lambda *given: _seconds(*given), help="How long it lives: 15m, 30d ...")
@output_option
@connected
def create(
    session: Session, name: str, roles: tuple[str, ...], elsewhere: dict[str, list[str]], kind: str, ttl_s: float, output: str
) -> None:
    """Make a key and print its secret, this one time.

    Only the secret goes to stdout. With `-n '*'` the roles hold in all namespaces.
    """
    send = {"name": name, "roles": list(roles), "elsewhere": elsewhere, "kind": kind, "ttl_s": ttl_s}
    made = session.client.request("POST", session.path("keys"), send=send)
    if output != "table":
        print_data(made, output)
        return
    if kind == "pair":
        click.echo(f"AWS_ACCESS_KEY_ID={made['key']['id']}\nAWS_SECRET_ACCESS_KEY={made['secret']}")
    else:
        click.echo(made["secret"])
    note(f"{name}: made, as {made['key']['id']}. Keep it: it is not shown again.")


@key.command("ls", epilog="\b\nExamples:\n  dayfly key ls\n  dayfly key ls -n '*'")
@output_option
@connected
def list_keys(session: Session, output: str) -> None:
    """List the keys that open the namespace. Secrets are never shown."""
    print_list(
        list(session.client.items(session.path("keys"))),
        output,
        (
            ("ID", lambda k: k["id"]),
            ("NAME", lambda k: k["name"]),
            ("KIND", lambda k: k["kind"]),
            ("ROLES", _shown),
            ("CREATED", lambda k: ago(k["created"])),
            ("EXPIRES", _until),
        ),
        empty=f"No keys in namespace {session.namespace!r}. Make one: dayfly key create NAME",
    )


@key.command("revoke", epilog="\b\nExamples:\n  dayfly key revoke key_3f9c2a7be1d04856")
@click.argument("id")
@connected
def revoke(session: Session, id: str) -> None:
    """Revoke a key: from now on it lets nobody in."""
    session.client.request("DELETE", session.path("keys", id))
    note(f"{id}: revoked")


@click.command(epilog="\b\nExamples:\n  dayfly token\n  dayfly token --role deployer --ttl 1h")
@click.option(
    "--role", "roles", multiple=True, type=click.Choice(ROLES), default=("invoker",), help="What it may do in the namespace."
)
@click.option(
    "--ttl",
    "ttl_s",
    metavar="AGE",
    default="15m",
    callback=lambda *given: _seconds(*given),
    help="How long it lives, up to 1d.",
)
@connected
def token(session: Session, roles: tuple[str, ...], ttl_s: float) -> None:
    """Print a token for a short while.

    It allows no more than you may do yourself, is stored nowhere, and ends with the key that it was asked with.
    """
    made = session.client.request("POST", session.path("tokens"), send={"roles": list(roles), "ttl_s": ttl_s})
    click.echo(made["token"])


def _shown(key: Any) -> str:
    return "; ".join(f"{namespace}={','.join(roles)}" for namespace, roles in sorted(key["grants"].items()))


def _until(key: Any) -> str:
    import time

    if not key["expires"]:
        return "never"
    left = key["expires"] - time.time()
    return f"in {ago(1.0, 1.0 + left)}" if left > 0 else "expired"


def _seconds(ctx: click.Context, param: click.Parameter, value: str | None) -> float:
    """An age as seconds; 0 for none."""
    from .options import UNITS

    try:
        seconds = float(value[:-1]) * UNITS[value[-1]] if value else 0.0
    except (ValueError, KeyError):
        seconds = -1.0
    if not 0 <= seconds <= 315360000:
        raise click.BadParameter(f"{value!r} is not an age like 90s, 15m, 12h or 30d.", ctx, param)
    return seconds
