"""`dev`: the inner loop. Watch a folder, deploy at every save, follow the logs.

Three things go on: the watcher (this thread), a thread that prints log lines as they come, and the server, which is
started if none answers and then stopped at the end. A build that fails is shown, and the next save tries again; meanwhile
the last good revision serves.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .deploy import config_options, configuration, deploy_once
from .errors import Failure, Unreachable
from .logs import followed, printer
from .options import Session, connected
from .output import note

if TYPE_CHECKING:
    from watchfiles import Change

TICK = 100  # milliseconds after which the watcher says that nothing happened
QUIET = 30  # milliseconds without a change that end a save: editors write a file in several steps


@click.command(
    epilog="\b\nExamples:\n  dayfly dev .\n  dayfly dev hello.py --name hello\n  dayfly dev ./shop --http --env MODE=dev"
)
@click.argument("path", metavar="DIR", type=click.Path(exists=True, path_type=Path))
@click.option("--name", help="Name of the function; else that of the folder or file.")
@config_options
@connected
def dev(session: Session, /, path: Path, name: str | None, **options: Any) -> None:
    """Watch a folder: deploy at every save and follow the logs.

    Also takes a single file. An existing function keeps its configuration, but for the options given. Starts a server if
    none answers, and stops it at the end. Ctrl-C ends it.
    """
    path = path.resolve()
    name = name or function_name(path)
    ours = _server(session)
    try:
        _loop(session, path, name, configuration(options))
    except KeyboardInterrupt:
        note("")
    finally:
        if ours:
            ours()


def function_name(path: Path) -> str:
    """A valid function name out of a folder's or file's."""
    text = re.sub(r"[^a-z0-9_-]+", "-", (path.stem if path.is_file() else path.name).lower()).strip("-_")
    return text[:63].rstrip("-_") or "function"


def _server(session: Session) -> Callable[[], None] | None:
    """Make sure that a server answers; what stops it again, if it was started here."""
    try:
        session.client.open("GET", "/healthz").read()
        return None
    except Unreachable:
        from urllib.parse import urlsplit

        from .up import default_data, start_detached

        where = urlsplit(session.url)
        if where.scheme != "http" or where.hostname not in ("127.0.0.1", "localhost", "::1"):
            raise
        note("No server answers: starting one ...")
        data = default_data()
        return start_detached(data, ["--host", where.hostname, "--port", str(where.port or 8000)], session.token)


def _loop(session: Session, path: Path, name: str, config: dict[str, Any]) -> None:
    logs = threading.Thread(target=_follow, args=(session, name), daemon=True)
    for _ in _saves(path):
        if _deploy(session, path, name, config) and not logs.ident:
            logs.start()


def _saves(path: Path) -> Iterator[None]:
    """Yields at once, then after every save; one that falls into the time between is not missed."""
    from watchfiles import DefaultFilter, watch

    folder = path
    wanted: Callable[[Change, str], bool] = DefaultFilter()
    if path.is_file():  # an editor replaces the file, so its folder is what can be watched
        folder = path.parent
        wanted = lambda change, changed: changed == str(path)  # noqa: E731
    changes = watch(
        folder, watch_filter=wanted, step=QUIET, recursive=folder is path, yield_on_timeout=True, rust_timeout=TICK
    )
    next(changes)  # its first word, even if it is only that nothing happened, says that the watcher stands
    note(f"Watching {path}; Ctrl-C ends it.")
    yield
    for change in changes:
        if change:
            yield


def _deploy(session: Session, path: Path, name: str, config: dict[str, Any]) -> bool:
    """Deploy once and say how it went; a failure is shown, not raised."""
    began = time.monotonic()
    try:
        deployed = deploy_once(session, path, name, config, keep=True)
    except Failure as failure:
        failure.show()
        return False
    number = deployed["revision"]["number"]
    if deployed["created"]:
        took = (time.monotonic() - began) * 1000
        note(f"{name}: revision {number} is live after {took:.0f} ms  {session.function_url(name)}")
    else:
        note(f"{name}: revision {number} is unchanged  {session.function_url(name)}")
    return True


def _follow(session: Session, name: str) -> None:
    show = printer("table", names=False)
    own = Session(session.url, session.token, session.namespace)  # a connection of its own: this one stays busy
    try:
        for line in followed(own, {"function": name}):
            show(line)
    except Failure as failure:
        failure.show()
