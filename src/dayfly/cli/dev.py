"""`dev`: the inner loop. Watch a folder, deploy at every save, follow the logs.

Three things go on: the watcher (this thread), a thread that prints log lines as they come, and the server, which is
started if none answers and then stopped at the end. A build that fails is shown, and the next save tries again; meanwhile
the last good revision serves.
"""

from __future__ import annotations

import re
import signal
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
from .up import data_option, start_detached

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
@data_option
@connected
def dev(session: Session, /, path: Path, name: str | None, data: Path, **options: Any) -> None:
    """Watch a folder: deploy at every save and follow the logs.

    Also takes a single file. An existing function keeps its configuration, but for the options given. Starts a server if
    none answers, and stops it at the end. Ctrl-C ends it.
    """
    path = path.resolve()
    name = name or function_name(path)
    ours = _server(session, data.absolute())
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends as Ctrl-C does: nothing is left behind
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


def _server(session: Session, data: Path) -> Callable[[], None] | None:
    """Make sure that a server answers; what stops it again, if it was started here."""
    try:
        session.client.open("GET", "/healthz").read()
        return None
    except Unreachable:
        from urllib.parse import urlsplit

        where = urlsplit(session.url)
        if where.scheme != "http" or where.hostname not in ("127.0.0.1", "localhost", "::1"):
            raise
        note("No server answers: starting one ...")
        return start_detached(data, ["--host", where.hostname, "--port", str(where.port or 8000)], session.token)


def _loop(session: Session, path: Path, name: str, config: dict[str, Any]) -> None:
    logs = Follower(session, name)
    try:
        for _ in _saves(path):
            if _deploy(session, path, name, config):
                logs.start()
    finally:
        logs.stop()


def _saves(path: Path) -> Iterator[None]:
    """Yields at once, then after every save; one that falls into the time between is not missed."""
    from watchfiles import DefaultFilter, watch

    folder = path
    wanted: Callable[[Change, str], bool] = DefaultFilter()
    if path.is_file():  # an editor replaces the file, so its folder is what can be watched
        folder = path.parent
        wanted = lambda change, changed: changed == str(path)  # noqa: E731
    changes = watch(folder, watch_filter=wanted, step=QUIET, recursive=folder is path, yield_on_timeout=True, rust_timeout=TICK)
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


class Follower:
    """Prints the function's log lines from a thread of its own, on a connection of its own."""

    def __init__(self, session: Session, name: str) -> None:
        self._session = Session(session.url, session.token, session.namespace)
        self._name = name
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        """Begin with what is written from now on; a second time does nothing."""
        if not self._thread.ident:
            self._thread.start()

    def stop(self) -> None:
        """End, so that a server that stops does not wait for this reader."""
        self._stopped.set()
        if self._thread.ident:
            self._session.client.interrupt()

    def _run(self) -> None:
        show = printer("table", names=False)
        try:
            for line in followed(self._session, {"function": self._name}, ended=self._stopped.is_set):
                show(line)
        except Failure as failure:
            failure.show()
        finally:
            self._session.client.close()
