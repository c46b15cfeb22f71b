"""`import`, `env`: moving over from other systems."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import click

from . import aws
from .errors import Failure
from .options import Session, connected
from .output import note


@click.command(
    "import",
    epilog="\b\nExamples:\n  dayfly import manifest.yaml\n  dayfly import manifest.yaml --dry-run\n"
    "  dayfly import template.yaml --set Stage=dev",
)
@click.argument("manifest", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--dry-run", is_flag=True, help="Say what would be made, and make nothing.")
@click.option("--set", "parameters", multiple=True, metavar="NAME=VALUE", help="A parameter of a SAM template.")
@click.option(
    "--port", type=click.IntRange(1, 65535), default=aws.PORT, help="Of the Lambda API's listener, for a SAM template."
)
@connected
def import_(session: Session, manifest: Path, dry_run: bool, parameters: tuple[str, ...], port: int) -> None:
    """Deploy what a manifest of OpenWhisk's wskdeploy or a SAM template describes.

    Of a manifest: packages, dependencies, actions, sequences, triggers, rules and APIs; what is there is updated. On a server
    that asks for no login they belong to the namespace `guest`, as `wsk` would put them.

    Of a SAM template: functions, layers, URLs, schedules and queue events. Code is taken from the folder that CodeUri names;
    build it before (`sam build` writes a template that this reads, too).
    """
    try:
        text = manifest.read_text("utf-8")
    except UnicodeDecodeError as error:
        raise Failure(f"{manifest} is not YAML: {error}") from None
    if aws.is_template(text):
        aws.deploy(session, manifest, dict(_pair(parameter) for parameter in parameters), port, dry_run)
    else:
        _wskdeploy(session, manifest, text, dry_run)


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        raise Failure(f"{text!r} is not NAME=VALUE", hint="For example: --set Stage=dev")
    return name, value


def _wskdeploy(session: Session, manifest: Path, text: str, dry_run: bool) -> None:
    from .manifest import environment, plan

    try:
        import yaml
    except ModuleNotFoundError:
        raise Failure("Reading a manifest needs PyYAML.", hint="Install it: pip install 'dayfly[openwhisk]'") from None
    try:
        read = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise Failure(f"{manifest} is not YAML: {error}") from None
    headers, namespace = _as(session)
    for step in plan(read, manifest.parent, environment()):
        if dry_run:
            note(f"{step.label}: would be made")
            continue
        path = (
            f"/api/v1/web/whisk.system{step.path}" if step.web else f"/api/v1/namespaces/{namespace}{step.path}?overwrite=true"
        )
        made = _send(session, step.method, path, step.body, headers, step.label)
        note(f"{step.label}: {made.get('version') or made.get('gwApiUrl') or 'made'}")


def _send(
    session: Session, method: str, path: str, body: dict[str, Any], headers: list[tuple[str, str]], label: str
) -> dict[str, Any]:
    import json

    given = [*headers, ("content-type", "application/json")]
    with session.client.open(method, path, body=json.dumps(body).encode(), headers=given) as answer:
        told = answer.json()
        if answer.status >= 400:
            raise Failure(f"{label}: {told.get('error', told) if isinstance(told, dict) else told} ({answer.status})")
        return told if isinstance(told, dict) else {}


def _as(session: Session) -> tuple[list[tuple[str, str]], str]:
    """Headers and namespace of a caller of OpenWhisk's API."""
    if session.token:
        return [], session.namespace
    from ..dialects.openwhisk.profile import GUEST_KEY

    return [("authorization", "Basic " + base64.b64encode(GUEST_KEY.encode()).decode())], "_"


@click.group()
def env() -> None:
    """Print the settings that other systems' tools need to use this server."""


@env.command("wsk", epilog="\b\nExamples:\n  dayfly env wsk\n  dayfly env wsk --write\n  dayfly env wsk > .wskprops")
@click.option("--write", is_flag=True, help="Write them to ~/.wskprops (or $WSK_CONFIG_FILE) instead.")
@connected
def env_wsk(session: Session, write: bool) -> None:
    """Print the properties of `wsk`: address and key."""
    import os

    from ..dialects.openwhisk.profile import GUEST_KEY

    key = f"dayfly:{session.token}" if session.token else GUEST_KEY
    text = f"APIHOST={session.url}\nAPIVERSION=v1\nAUTH={key}\nNAMESPACE=_\n"
    if not write:
        click.echo(text, nl=False)
        return
    path = Path(os.environ.get("WSK_CONFIG_FILE") or Path.home() / ".wskprops")
    if path.exists() and not click.confirm(f"{path} exists. Replace it?", err=True):
        raise click.Abort
    path.unlink(missing_ok=True)
    path.touch(mode=0o600)
    path.write_text(text)
    note(f"{path}: written")


@env.command("aws", epilog='\b\nExamples:\n  dayfly env aws\n  eval "$(dayfly env aws)"')
@click.option("--port", type=click.IntRange(1, 65535), default=aws.PORT, help="Of the Lambda API's listener.")
@connected
def env_aws(session: Session, port: int) -> None:
    """Print the exports that point AWS's tools at this server.

    With a login, a key pair (`dayfly key create --kind pair`) is what signs; without one, anything does.
    """
    for name, value in aws.variables(session.url, port).items():
        click.echo(f"export {name}={value}")
