"""`deploy`: from a file, a folder or a zip to a live revision.

Three steps: pack, upload (content-addressed: the server keeps the same bytes once), and put the function with a
configuration. `dev` takes the same steps at every save.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import click

from .errors import Failure, Problem, of_core
from .functions import live_number
from .options import Session, connected, output_option
from .output import Column, note, print_one
from .terminal import escape, use_colour

BUILD_TIMEOUT = 900.0  # seconds that installing dependencies may take
Json = dict[str, Any]
F = TypeVar("F", bound=Callable[..., Any])


def parse_pairs(what: str) -> Callable[[click.Context, click.Parameter, tuple[str, ...]], dict[str, str]]:
    """Callback of a repeated option that takes `KEY=VALUE`."""

    def parse(ctx: click.Context, param: click.Parameter, values: tuple[str, ...]) -> dict[str, str]:
        for value in values:
            if "=" not in value[1:]:
                raise click.BadParameter(f"{value!r} is not {what}.", ctx, param)
        return dict(value.split("=", 1) for value in values)

    return parse


def _pair_option(flag: str, name: str, what: str, help_text: str) -> Callable[[F], F]:
    return click.option(flag, name, multiple=True, metavar=what, callback=parse_pairs(what), help=help_text)


OPTIONS = (
    click.option("--runtime", metavar="R", help="python3.8 ... python3.13, nodejs or provided; else found out."),
    click.option("--handler", metavar="MODULE.FUNCTION", help="What is called; else found out."),
    click.option("--http/--event", "http", default=None, help="Handler takes the raw HTTP request, or a JSON event (default)."),
    click.option("--memory", "memory_mb", type=int, metavar="MB", help="Memory of an instance, MiB."),
    click.option("--timeout", "timeout_s", type=float, metavar="SECONDS", help="How long a call may run."),
    click.option("--init-timeout", "init_timeout_s", type=float, metavar="SECONDS", help="How long the code may take to load."),
    click.option("--cpu", type=float, metavar="CORES", help="Cores an instance may use at most; 0: a fair share."),
    click.option("--tmp", "tmp_mb", type=int, metavar="MB", help="Size of the private /tmp, MiB."),
    click.option("--pids", type=int, metavar="N", help="Processes and threads of an instance."),
    click.option("--concurrency", type=int, metavar="N", help="Calls one instance runs at the same time."),
    click.option(
        "--isolation",
        type=click.Choice(["shared", "per-invocation"]),
        help="Instances take one call after the other, or one call each.",
    ),
    click.option(
        "--keep-inputs",
        type=click.Choice(["all", "failed", "none"]),
        help="Of which calls the input is kept for replays, where the server keeps it; by default all.",
    ),
    click.option(
        "--network",
        type=click.Choice(["none", "egress", "allow"]),
        help="Connects to nothing, to the internet (default), or to what --allow names.",
    ),
    click.option(
        "--allow",
        multiple=True,
        metavar="HOST:PORT",
        callback=lambda ctx, param, values: list(values) or None,
        help="What it may connect to, and nothing else; can be repeated.",
    ),
    click.option("--bandwidth", "bandwidth_mbit", type=float, metavar="MBIT", help="Megabits a second at most, each way."),
    click.option("--min", "min_instances", type=int, metavar="N", help="Instances kept ready."),
    click.option("--max", "max_instances", type=int, metavar="N", help="Instances at most."),
    _pair_option("--env", "env", "K=V", "Environment variable; can be repeated."),
    _pair_option("--secret", "secrets", "ENV=SECRET", "Secret as an environment variable; can be repeated."),
)
"""Everything that configures a revision. Each name is a field of the API's `config`, but for `http`."""


def config_options(command: F) -> F:
    for option in reversed(OPTIONS):
        command = option(command)
    return command


@click.command(
    epilog="""\b
Examples:
  dayfly deploy hello.py --name hello
  dayfly deploy ./shop --name shop --http --memory 512 --env MODE=fast
  dayfly deploy report.zip --name report --handler app.main --timeout 300
  dayfly deploy ./shop --name shop --no-traffic
"""
)
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--name", required=True, help="Name of the function.")
@config_options
@_pair_option("--label", "labels", "K=V", "Label; can be repeated.")
@click.option("--keep", is_flag=True, help="Keep the live configuration, but for the options given.")
@click.option("--no-traffic", is_flag=True, help="Make the revision, but leave the calls where they go.")
@output_option
@connected
def deploy(
    session: Session,
    /,
    path: Path,
    name: str,
    labels: dict[str, str],
    keep: bool,
    no_traffic: bool,
    output: str,
    **options: Any,
) -> None:
    """Deploy a file, folder or zip as a function.

    PATH is a source file, a folder with a handler in it, or a zip of one. Dependencies named in requirements.txt,
    pyproject.toml or package.json are installed. What is not configured by options has its default. The calls switch
    to the new revision at once; if it does not build or load, the old one goes on serving.
    """
    with progress() as say:
        deployed = deploy_once(
            session, path, name, configuration(options), keep=keep, labels=labels, publish=not no_traffic, say=say
        )
    deployed["url"] = session.function_url(name)
    print_one(deployed, output, FIELDS)
    if output == "table":
        asked = "" if session.namespace == "default" else f" -n {session.namespace}"
        note(f"Call it: dayfly invoke {name}{asked}")


def configuration(options: Json) -> Json:
    """The options given on the command line as the API's `config`."""
    chosen = {key: value for key, value in options.items() if value not in (None, {}) and key != "http"}
    if chosen.get("allow"):
        chosen.setdefault("network", "allow")
    if options.get("http") is not None:
        chosen["flavour"] = "http" if options["http"] else "event"
    return chosen


def deploy_once(
    session: Session,
    path: Path,
    name: str,
    config: Json,
    *,
    keep: bool = False,
    labels: dict[str, str] | None = None,
    publish: bool = True,
    say: Callable[[str], None] = lambda text: None,
) -> Json:
    """Pack, upload and put. Returns the API's answer (`actions.Deployed`); raises Failure or Problem."""
    say(f"Packing {path}")
    data, filename = pack(path)
    if keep:
        kept, kept_labels = live(session, name)
        config, labels = {**kept, **config}, {**kept_labels, **(labels or {})}
    if "runtime" not in config or "handler" not in config:
        config = {**detected(path, (data, filename), config), **config}
    say(f"Uploading {len(data) / 1024:,.0f} KiB")
    package = session.client.request(
        "POST",
        session.path("packages"),
        query={"filename": filename},
        body=data,
        headers=(("content-type", "application/zip" if filename.endswith(".zip") else "application/octet-stream"),),
    )
    say("Building")
    document = {"code": {"package": package["digest"]}, "config": config, "labels": labels or {}, "publish": publish}
    answer: Json = session.client.request("PUT", session.path("functions", name), send=document, timeout=BUILD_TIMEOUT)
    return answer


def pack(path: Path) -> tuple[bytes, str]:
    """What to upload, and its file name. Raises Failure."""
    from ..build.pack import gather
    from ..errors import DayflyError

    try:
        return gather(path)
    except DayflyError as error:
        raise of_core(error) from None
    except OSError as error:
        raise Failure(f"Cannot read {error.filename or path}: {error.strerror}.") from None


def detected(path: Path, packed: tuple[bytes, str], config: Json) -> Json:
    """Runtime and handler that the source suggests, where they are not given. Raises Failure if it leaves them open."""
    import tempfile

    from ..build.archive import open_archive, unpack
    from ..build.detect import detect
    from ..errors import DayflyError
    from ..sandbox.node.interpreters import runtimes

    try:
        with tempfile.TemporaryDirectory() as scratch:
            folder = path
            if not path.is_dir():
                folder = Path(scratch)
                unpack(open_archive(*packed), folder)
            found = detect(
                folder,
                runtime=config.get("runtime", ""),
                handler=config.get("handler", ""),
                runtimes=runtimes(),  # of this machine: right for a server on it, the best guess for another
            )
    except DayflyError as error:
        raise of_core(error) from None
    return {"runtime": found.runtime, "handler": found.handler}


def live(session: Session, name: str) -> tuple[Json, dict[str, str]]:
    """Configuration of the revision that gets the most calls, and the labels; empty for a function that is not there."""
    try:
        function = session.client.get(session.path("functions", name))
        number = str(live_number(function))
        revision = session.client.get(session.path("functions", name, "revisions", number))
    except Problem as problem:
        if problem.status == 404:
            return {}, {}
        raise
    return revision["config"], function["labels"]


def _revision(deployed: Json) -> str:
    number = deployed["revision"]["number"]
    if not deployed["created"]:
        return f"{number} (unchanged: same code, same configuration)"
    targets = deployed["function"]["traffic"]
    return f"{number}" if any(target["revision"] == number for target in targets) else f"{number} (gets no calls yet)"


FIELDS: tuple[Column, ...] = (
    ("Function", lambda d: d["function"]["name"]),
    ("Revision", _revision),
    ("Runtime", lambda d: " ".join((d["revision"]["config"]["runtime"], d["revision"]["config"]["handler"])).strip()),
    ("Built in", lambda d: f"{d['build_ms']:.0f} ms"),
    ("URL", lambda d: d["url"]),
)


@contextlib.contextmanager
def progress() -> Iterator[Callable[[str], None]]:
    """Says on stderr what is being done, in one line that goes away; on a terminal only."""
    if not use_colour(sys.stderr):
        yield lambda text: None
        return
    from rich.console import Console
    from rich.markup import escape as plain

    with Console(stderr=True).status("") as status:
        yield lambda text: status.update(plain(escape(text)))
