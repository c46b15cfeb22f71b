"""`invoke`: call a function.

The answer's body goes to stdout as it comes, byte by byte, so that streams stream and binaries survive. What went wrong
goes to stderr, and the exit code tells a fault of the function (10) from one of the platform.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from typing import IO, Any

import click

from .client import CHUNK, Answer, Body
from .errors import ExitCode
from .options import Session, connected, name_argument, output_option
from .output import note, print_data
from .terminal import Screen, escape

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")


@click.command(
    epilog="""\b
Examples:
  dayfly invoke hello -d '{"name": "Ada"}'
  dayfly invoke hello@3 -d @event.json
  date | dayfly invoke upper -d - -H 'content-type: text/plain'
  dayfly invoke thumbnail -d @photo.jpg -H 'content-type: image/jpeg' > small.jpg
  dayfly invoke shop --method GET --path /items/7 --query 'verbose=1' -i
  dayfly invoke report --async
  dayfly invoke report --delay 3600
"""
)
@name_argument
@click.option("-d", "--data", metavar="JSON|@FILE|-", help="The event, or the raw body; from a file or stdin.")
@click.option("--async", "asynchronous", is_flag=True, help="Do not wait: print the invocation's id.")
@click.option("--delay", type=click.FloatRange(0), metavar="SECONDS", help="Begin no sooner than in so long; implies --async.")
@click.option("-i", "--include", is_flag=True, help="Show the answer's status, headers and timings, on stderr.")
@click.option("--method", type=click.Choice(METHODS, case_sensitive=False), default="POST", help="HTTP method.")
@click.option("--path", default="", metavar="REST", help="Path after the function's own, for HTTP functions.")
@click.option("--query", default="", metavar="K=V&...", help="Query string.")
@click.option("-H", "--header", "headers", multiple=True, metavar="NAME:VALUE", help="Header to send; can be repeated.")
@click.option("--idempotency-key", metavar="KEY", help="Calls with the same key run once.")
@output_option
@connected
def invoke(
    session: Session,
    name: str,
    data: str | None,
    asynchronous: bool,
    delay: float | None,
    include: bool,
    method: str,
    path: str,
    query: str,
    headers: tuple[str, ...],
    idempotency_key: str | None,
    output: str,
) -> int:
    """Call a function and print its answer.

    NAME is a function, or NAME@REVISION, NAME@ALIAS, NAME@TAG. Without -d, the event is an empty object. The body is
    JSON unless a content-type header says otherwise.
    """
    sent = [_header(text) for text in headers]
    names = {key.lower() for key, _ in sent}
    body = _body(data, raw="content-type" in names)
    if body is not None and "content-type" not in names:
        sent.append(("content-type", "application/json"))
    if "accept" not in names:
        sent.append(("accept", "*/*"))
    if delay is not None:
        asynchronous = True
        sent.append(("dayfly-delay", f"{delay:.3f}"))
    if asynchronous:
        sent.append(("prefer", "respond-async"))
    if idempotency_key:
        sent.append(("idempotency-key", idempotency_key))
    target = _target(session, name, path, query)
    with session.client.open(method.upper(), target, body=body, headers=sent, timeout=None) as answer:
        if include:
            _head(answer)
        if asynchronous and answer.status == 202:
            accepted = answer.json()
            if output == "table":
                click.echo(accepted["invocation"])
                note(f"Its answer, when it has ended: dayfly result --wait {accepted['invocation']}")
            else:
                print_data(accepted, output)
            return ExitCode.OK
        return present(answer)


def present(answer: Answer) -> int:
    """Print an answer of a function as it comes and return the exit code. Raises Problem for an error of the platform."""
    origin = answer.header("dayfly-error")
    if origin == "function":
        document = answer.json()
        return show_error(document["error"], document["invocation"])
    if origin or (answer.media == "application/problem+json" and not answer.header("dayfly-invocation-id")):
        raise answer.problem()
    screen = Screen()
    try:
        for chunk in answer.chunks():
            screen.write(chunk)
    finally:
        screen.close()
    return ending(answer.status)


def ending(status: int) -> int:
    """The exit code for the status that a function answered with."""
    if status < 400:
        return ExitCode.OK
    note(f"The function answered with status {status}.")
    return ExitCode.FUNCTION_ERROR


def show_error(error: Mapping[str, Any], invocation: str) -> int:
    """What the function raised, on stderr: type, message, trace. Returns the exit code."""
    click.secho(escape(str(error["type"])), fg="red", bold=True, nl=False, err=True)
    click.echo(f": {escape(str(error['message']), keep=chr(10))}", err=True)
    for frame in error.get("trace", ()):
        for line in str(frame).rstrip().split("\n"):
            click.echo(f"  {escape(line)}", err=True)
    note(f"Its logs: dayfly logs --invocation {invocation}")
    return ExitCode.FUNCTION_ERROR


def _head(answer: Answer) -> None:
    note(f"HTTP {answer.status}")
    for key, value in answer.headers.items():
        note(f"{key}: {value}")
    note("")


def _target(session: Session, name: str, path: str, query: str) -> str:
    from urllib.parse import quote

    from .client import segment

    rest = "/" + quote(path.removeprefix("/"), safe="/%:@!$&'()*+,;=~") if path else ""
    asked = "?" + quote(query.removeprefix("?"), safe="/%:@!$&'()*+,;=~?") if query else ""
    return f"/fn/{segment(session.namespace)}/{segment(name)}{rest}{asked}"


def _header(text: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    token = name.strip()
    if not colon or not token.isascii() or not token.replace("-", "").replace("_", "").isalnum():
        raise click.BadParameter(f"{text!r} is not NAME:VALUE.", param_hint="-H")
    if not value.isprintable():
        raise click.BadParameter(f"{text!r} has a control character in it.", param_hint="-H")
    return token, value.strip()


def _body(data: str | None, *, raw: bool) -> Body:
    """What to send. A raw body from a file or stdin is streamed; JSON is checked before it travels."""
    if data is None:
        return None
    if data == "-" or data.startswith("@"):
        source = _source(data)
        if raw:
            return _pieces(source)
        with source:
            body = source.read()
    else:
        body = data.encode()
    if not raw:
        try:
            json.loads(body)
        except ValueError as error:
            raise click.BadParameter(
                f"this is not JSON: {error}. Text needs quotes: -d '\"text\"'. A body of another kind needs its name: "
                "-H 'content-type: text/plain'",
                param_hint="-d",
            ) from None
    return body


def _source(data: str) -> IO[bytes]:
    if data in ("-", "@-"):
        return sys.stdin.buffer
    try:
        return open(data[1:], "rb")
    except OSError as error:
        raise click.BadParameter(f"cannot read {data[1:]}: {error.strerror}", param_hint="-d") from None


def _pieces(source: IO[bytes]) -> Iterator[bytes]:
    read = getattr(source, "read1", source.read)
    with source:
        while piece := read(CHUNK):
            yield piece
