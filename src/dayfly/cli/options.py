"""What commands share: where the server is, which namespace, which output format.

`--url`, `--token`, `-n` and `-o` can stand before or after the command's name (`dayfly -n shop ls` or `dayfly ls -n shop`);
the one after it wins, then the one before it, then the environment, then the default.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar

import click

from .output import FORMATS

if TYPE_CHECKING:
    from .client import Client

DEFAULT_URL = "http://127.0.0.1:8000"
UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}  # seconds

P = ParamSpec("P")
T = TypeVar("T")


class Session:
    """A connection to the server, made when first used, and the namespace at hand."""

    def __init__(self, url: str, token: str, namespace: str) -> None:
        self.url = url.rstrip("/")
        self.token = token
        self.namespace = namespace

    @functools.cached_property
    def client(self) -> Client:
        from .client import Client

        client = Client(self.url, token=self.token)
        context = click.get_current_context(silent=True)
        if context is not None:
            context.call_on_close(client.close)
        return client

    def path(self, *segments: str) -> str:
        """Path of the control API within the namespace; every segment is quoted."""
        from .client import segment

        return "/".join(("/v1/namespaces", *map(segment, (self.namespace, *segments))))

    def function_url(self, name: str) -> str:
        """Where a function is called from outside."""
        from .client import segment

        return f"{self.url}/fn/{segment(self.namespace)}/{segment(name)}"


def _inherited(name: str, default: str) -> Callable[[], str]:
    """Default of an option after the command's name: its value before it."""
    return lambda: click.get_current_context().find_root().params.get(name) or default


def _shared(name: str, flags: tuple[str, ...], default: str, help_text: str, **settings: Any) -> tuple[Any, Any]:
    """The option for the top level, which reads the environment, and for commands, which inherit from it."""
    variable = f"DAYFLY_{name.upper()}"
    above = click.option(*flags, name, envvar=variable, help=help_text, **settings)
    below = click.option(
        *flags,
        name,
        default=_inherited(name, default),
        show_default=False,
        allow_from_autoenv=False,
        help=f"{help_text}  [env: {variable}]",
        **settings,
    )
    return above, below


_url = _shared("url", ("--url",), DEFAULT_URL, f"Address of the server; by default {DEFAULT_URL}.", metavar="URL")
_token = _shared("token", ("--token",), "", "Token to log in with.", metavar="TOKEN")
_namespace = _shared("namespace", ("-n", "--namespace"), "default", "Namespace; by default `default`.", metavar="NAME")
_output = _shared("output", ("-o", "--output"), "table", "How to print.", type=click.Choice(FORMATS))


def global_options(command: Callable[P, T]) -> Callable[P, T]:
    """The shared options, before a command's name."""
    for above, _ in (_output, _namespace, _token, _url):
        command = above(command)
    return command


def connected(command: Callable[Concatenate[Session, P], T]) -> Callable[P, T]:
    """Adds --url, --token and --namespace; the command gets a `Session` first."""

    @functools.wraps(command)
    def wrapper(*args: Any, **kwargs: Any) -> T:
        session = Session(kwargs.pop("url"), kwargs.pop("token"), kwargs.pop("namespace"))
        return command(session, *args, **kwargs)

    decorated: Callable[P, T] = _url[1](_token[1](_namespace[1](wrapper)))
    return decorated


def token_option(command: Callable[P, T]) -> Callable[P, T]:
    """Adds --token alone; the command gets `token`, empty for none."""
    decorated: Callable[P, T] = _token[1](command)
    return decorated


def output_option(command: Callable[P, T]) -> Callable[P, T]:
    """Adds -o; the command gets `output`: table, json or yaml."""
    decorated: Callable[P, T] = _output[1](command)
    return decorated


def parse_since(ctx: click.Context, param: click.Parameter, value: str | None) -> float:
    """A moment in the past as seconds since the epoch, 0 for none. Callback of `--since`.

    Takes an age (`90s`, `15m`, `1h`, `7d`, `2w`), a local date or time (ISO 8601), or seconds since the epoch.
    """
    text = (value or "").strip()
    try:
        if not text:
            return 0.0
        if text[-1] in UNITS:
            return time.time() - abs(float(text[:-1])) * UNITS[text[-1]]
        if text.replace(".", "", 1).isdigit():
            return float(text)
        from datetime import datetime

        return datetime.fromisoformat(text).timestamp()
    except (ValueError, OverflowError, OSError):
        raise click.BadParameter(
            f"{value!r} is neither an age (90s, 15m, 1h, 7d) nor a time (2031-05-04T10:00).", ctx, param
        ) from None


def since_option(help_text: str) -> Callable[[Callable[P, T]], Callable[P, T]]:
    """Adds --since; the command gets `since`: seconds since the epoch, or 0."""
    return click.option("--since", metavar="WHEN", callback=parse_since, help=help_text)


def complete_functions(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """Names of the namespace's functions, for the shell's completion; none if no server answers at once."""
    root = ctx.find_root().params
    session = Session(
        ctx.params.get("url") or root.get("url") or DEFAULT_URL,
        ctx.params.get("token") or root.get("token") or "",
        ctx.params.get("namespace") or root.get("namespace") or "default",
    )
    try:
        found = session.client.items(session.path("functions"), {"prefix": incomplete}, limit=100)
        return [item["name"] for item in found]
    except (click.ClickException, KeyError, TypeError):
        return []


name_argument = click.argument("name", shell_complete=complete_functions)
