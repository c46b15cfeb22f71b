"""`secret`: values that reach functions as environment and are never shown again."""

from __future__ import annotations

import sys
from typing import IO

import click

from .options import Session, connected, output_option
from .output import ago, note, print_list


@click.group()
def secret() -> None:
    """Set, list and remove secrets.

    A secret belongs to the namespace. A function gets it as an environment variable:
    `dayfly deploy PATH --name NAME --secret VARIABLE=SECRET`.
    """


@secret.command(
    "set",
    epilog="\b\nExamples:\n  dayfly secret set db-password\n  dayfly secret set db-password --file password.txt\n"
    "  pass show db | dayfly secret set db-password",
)
@click.argument("name")
@click.option("--file", "source", type=click.File("rb"), help="Read the value from a file, unchanged.")
@connected
def set_secret(session: Session, name: str, source: IO[bytes] | None) -> None:
    """Store a secret.

    The value is asked for, or read from a pipe (one line feed at its end is dropped); it is not taken from the command
    line, where other users of the machine and the shell's history could see it.
    """
    if source is not None:
        value = _text(source.read())
    elif sys.stdin.isatty():
        value = click.prompt("Value", hide_input=True, confirmation_prompt=True, err=True)
    else:
        value = _text(sys.stdin.buffer.read()).removesuffix("\n")
    if not value:
        raise click.UsageError("The value is empty. Type it, pipe it in, or name a file with --file.")
    session.client.request("PUT", session.path("secrets", name), send={"value": value})
    note(f"{name}: stored. Functions get it with --secret VARIABLE={name}, instances from their next start.")


def _text(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        raise click.UsageError("The value is not text in UTF-8. Encode it first, for example with base64.") from None


@secret.command("ls", epilog="\b\nExamples:\n  dayfly secret ls")
@output_option
@connected
def list_secrets(session: Session, output: str) -> None:
    """List the names of secrets. Values are never shown."""
    print_list(
        list(session.client.items(session.path("secrets"))),
        output,
        (("NAME", lambda s: s["name"]), ("UPDATED", lambda s: ago(s["updated"]))),
        empty=f"No secrets in namespace {session.namespace!r}. Set one: dayfly secret set NAME",
    )


@secret.command("rotate-key", epilog="\b\nExamples:\n  dayfly secret rotate-key")
@connected
def rotate_key(session: Session) -> None:
    """Encrypt all secrets of the server anew, with a new key.

    The old key is dropped: back up the file `key` of the data folder again. Where keys come from DAYFLY_SECRET_KEY, start
    the server with the new one before the old one (NEW,OLD), rotate, and leave the old one out from then on.
    """
    answer = session.client.request("POST", "/v1/secrets/rotate-key")
    note(f"{answer['values']} values are encrypted with the new key.")


@secret.command("rm", epilog="\b\nExamples:\n  dayfly secret rm db-password")
@click.argument("name")
@connected
def remove_secret(session: Session, name: str) -> None:
    """Remove a secret."""
    session.client.request("DELETE", session.path("secrets", name))
    note(f"{name}: removed")
