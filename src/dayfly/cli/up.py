"""`up` and `down`: the server of this machine.

`up --detach` starts the same `up` in a session of its own and waits on an inherited pipe until the server says that it
listens; if it dies before, the end of its log is shown. `down` ends the server named in the data folder's pid file.
"""

from __future__ import annotations

import os
import select
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from . import pidfile
from .errors import Failure
from .options import token_option
from .output import note

if TYPE_CHECKING:
    from ..config import Settings

START_LIMIT = 60.0  # seconds that a start in the background may take
GRACE = 30.0  # seconds that calls under way get to end
LOG_TAIL = 20  # lines shown when a start fails


def default_data() -> Path:
    """`~/.local/state/dayfly`, or where XDG_STATE_HOME points."""
    base = os.environ.get("XDG_STATE_HOME", "")
    return Path(base if base.startswith("/") else Path.home() / ".local" / "state") / "dayfly"


def data_option(command: Callable[..., Any]) -> Callable[..., Any]:
    return click.option(
        "--data",
        type=click.Path(file_okay=False, path_type=Path),
        default=default_data,
        show_default="~/.local/state/dayfly",
        envvar="DAYFLY_DATA",
        metavar="DIR",
        help="Folder of the server's state.  [env: DAYFLY_DATA]",
    )(command)


def isolation_option(command: Callable[..., Any]) -> Callable[..., Any]:
    return click.option(
        "--isolation",
        type=click.Choice(("namespace", "bubblewrap", "crun", "runsc", "process")),
        default="namespace",
        help="How instances are kept apart. `process` isolates NOTHING: only for your own code.",
    )(command)


def _listen(context: click.Context, option: click.Parameter, given: tuple[str, ...]) -> tuple[str, ...]:
    """Checks DIALECT=PORT."""
    from ..dialects.mounts import BUILT_IN

    known = [built_in.name for built_in in BUILT_IN]
    for one in given:
        name, _, port = one.partition("=")
        if name not in known or not (port == "off" or (port.isdigit() and 0 < int(port) < 65536)):
            raise click.BadParameter(f"{one!r} is not DIALECT=PORT or DIALECT=off; dialects: {', '.join(known) or 'none'}.")
    return given


def _networks(context: click.Context, option: click.Parameter, given: tuple[str, ...]) -> tuple[str, ...]:
    from ipaddress import IPv4Network

    try:
        return tuple(str(IPv4Network(one)) for one in given)
    except ValueError as error:
        raise click.BadParameter(f"{error}.") from None


def _edge_limits(context: click.Context, option: click.Parameter, given: tuple[str, ...]) -> tuple[str, ...]:
    """Checks NAME=NUMBER."""
    if given:
        _edge_of(given)
    return given


def _edge_of(given: tuple[str, ...]) -> dict[str, int | float]:
    from ..gateway.limits import EdgeLimits

    kinds = {name: type(getattr(EdgeLimits(), name)) for name in EdgeLimits.__struct_fields__}
    limits: dict[str, int | float] = {}
    for one in given:
        name, _, number = one.partition("=")
        try:
            limits[name] = kinds[name](number)
        except (KeyError, ValueError):
            raise click.BadParameter(f"{one!r} is not NAME=NUMBER; names: {', '.join(kinds)}.") from None
        if not 0 <= limits[name] < float("inf"):
            raise click.BadParameter(f"{one!r}: a limit is not below 0.")
    return limits


@click.command(
    epilog="\b\nExamples:\n  dayfly up\n  dayfly up --detach --data .dayfly\n  dayfly up --port 8001 --data second\n"
    "  DAYFLY_TOKEN=$(openssl rand -hex 16) dayfly up --host 0.0.0.0"
)
@click.option("--host", default="127.0.0.1", metavar="H", help="Address to listen on; any but loopback asks for a token.")
@click.option("--port", type=click.IntRange(1, 65535), default=8000, metavar="N", help="Port to listen on.")
@data_option
@click.option("--detach", is_flag=True, help="Start in the background; come back when the server listens.")
@isolation_option
@click.option("--multi-tenant", is_flag=True, help="For tenants who do not trust each other: refuse to start unprotected.")
@click.option("--without", multiple=True, metavar="PROTECTION", help="Start although this protection is off (see doctor).")
@click.option("--allow-host", "hosts", multiple=True, metavar="NAME", help="A further name the server is called by.")
@click.option(
    "--listen",
    "listen",
    multiple=True,
    metavar="DIALECT=PORT",
    callback=_listen,
    help="Port of a dialect's own listener, or `off`. By default the one its clients are used to, if that is free.",
)
@click.option(
    "--tls", type=click.Choice(("self-signed",)), help="Serve HTTPS with a certificate that the server makes for itself."
)
@click.option(
    "--tls-cert", type=click.Path(path_type=Path), metavar="FILE", help="Serve HTTPS: the certificate and its chain, PEM."
)
@click.option("--tls-key", type=click.Path(path_type=Path), metavar="FILE", help="The certificate's key, PEM.")
@click.option(
    "--oidc", type=click.Path(path_type=Path), metavar="FILE", help="Let in whom this issuer of OpenID Connect vouches for."
)
@click.option("--body-limit", type=click.IntRange(1), metavar="MB", help="Largest body of a call, MiB; by default 6.")
@click.option(
    "--edge-limit",
    "edge_limits",
    multiple=True,
    metavar="NAME=NUMBER",
    callback=_edge_limits,
    help="Another limit on what clients send, e.g. connections=50000; can be repeated.",
)
@click.option("--max-instances", type=click.IntRange(1), metavar="N", help="Instances of all functions together.")
@click.option("--memory", type=click.IntRange(1), metavar="MB", help="Memory of all instances together, MiB.")
@click.option(
    "--open-network",
    "open_networks",
    multiple=True,
    metavar="NET",
    callback=_networks,
    help="A private network that functions may reach, e.g. 10.1.0.0/16; can be repeated.",
)
@click.option(
    "--allow-target",
    "allow_targets",
    multiple=True,
    metavar="NET",
    callback=_networks,
    help="A private network that triggers may post to, e.g. 127.0.0.0/8; can be repeated.",
)
@click.option("--dev", is_flag=True, help="A development server: `dayfly advance` puts its time forward.")
@click.option(
    "--keep-inputs",
    type=click.Choice(("all", "failed", "none")),
    default="all",
    help="Of which synchronous calls the input is kept for `dayfly replay`; by default of all.",
)
@click.option("--keep-inputs-mb", type=click.IntRange(1), metavar="MB", help="How much of them, on disk; by default 256.")
@click.option("--keep-inputs-longest", type=click.IntRange(1), metavar="KIB", help="The longest input kept; by default 256.")
@click.option("--keep-inputs-rate", type=click.IntRange(1), metavar="MB", help="How much of them a second; by default 8.")
@click.option("--ready-fd", type=int, hidden=True)
@token_option
@click.pass_context
def up(ctx: click.Context, /, host: str, port: int, data: Path, detach: bool, token: str, **options: Any) -> int:
    """Start Dayfly on this machine.

    Without --detach it runs until Ctrl-C. Servers with different --data and --port live side by side. On loopback nobody
    needs to log in, unless a token is given; on other addresses the token is --token, or else the one in DIR/token.
    """
    data = data.absolute()
    scheme = "https" if options["tls"] or options["tls_cert"] else "http"
    url = f"{scheme}://{_in_url(host)}:{port}"
    running = pidfile.find(data)
    if running is not None:
        return _already(running, url, data, detach)
    if detach:
        start_detached(data, _flags(ctx), token)
        _welcome(url, data)
        return 0
    _prepare(data)
    from .. import server

    try:
        with pidfile.claimed(data, url):
            return server.main(_settings(host, port, data, token, **options))
    except pidfile.AlreadyRunning as error:
        return _already(error.running, url, data, detach)


def _settings(
    host: str,
    port: int,
    data: Path,
    token: str,
    isolation: str,
    multi_tenant: bool,
    without: tuple[str, ...],
    hosts: tuple[str, ...],
    oidc: Path | None,
    tls: str | None,
    tls_cert: Path | None,
    tls_key: Path | None,
    listen: tuple[str, ...],
    body_limit: int | None,
    edge_limits: tuple[str, ...],
    max_instances: int | None,
    memory: int | None,
    open_networks: tuple[str, ...],
    allow_targets: tuple[str, ...],
    dev: bool,
    keep_inputs: str,
    keep_inputs_mb: int | None,
    keep_inputs_longest: int | None,
    keep_inputs_rate: int | None,
    ready_fd: int | None,
) -> Settings:
    from msgspec.structs import replace

    from ..config import Keep, Settings
    from ..dialects.mounts import BUILT_IN

    told = dict(one.split("=", 1) for one in listen)
    settings = Settings(
        host=host,
        port=port,
        data=data,
        token=token,
        isolation=isolation,
        multi_tenant=multi_tenant,
        without=without,
        open_networks=open_networks,
        allow_targets=allow_targets,
        dev=dev,
        keep_inputs=Keep(keep_inputs),
        hosts=hosts,
        oidc=oidc and oidc.absolute(),
        tls_self_signed=tls is not None,
        tls_cert=tls_cert and tls_cert.absolute(),
        tls_key=tls_key and tls_key.absolute(),
        ready_fd=ready_fd,
        dialects=tuple(built_in.name for built_in in BUILT_IN),
        listeners={name: int(to) for name, to in told.items() if to != "off"},
        spare_listeners={built_in.name: built_in.port for built_in in BUILT_IN if built_in.name not in told},
    )
    bounds = {"instances": max_instances, "memory_mb": memory}
    limits = replace(settings.limits, **{name: value for name, value in bounds.items() if value})
    edge = replace(settings.edge, **_edge_of(edge_limits))
    if body_limit:
        edge = replace(edge, body_bytes=body_limit << 20)
    if keep_inputs_mb:
        settings = replace(settings, keep_inputs_mb=keep_inputs_mb)
    if keep_inputs_longest:
        settings = replace(settings, keep_inputs_longest=keep_inputs_longest << 10)
    if keep_inputs_rate:
        settings = replace(settings, keep_inputs_rate=keep_inputs_rate << 20)
    return replace(settings, edge=edge, limits=limits)


def _flags(ctx: click.Context) -> list[str]:
    """The options of this command line again, for the one in the background; the token travels by environment."""
    flags: list[str] = []
    for option in ctx.command.params:
        value = ctx.params[option.name or ""]
        if option.name in ("detach", "data", "token", "ready_fd") or value is None:
            continue
        if isinstance(value, bool):
            flags += [option.opts[0]] if value else []
        else:
            for one in value if option.multiple else (value,):
                flags += [option.opts[0], str(one)]
    return flags


def _in_url(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _already(running: pidfile.Running, url: str, data: Path, detach: bool) -> int:
    if detach and running.url == url:
        note(f"Dayfly runs already at {running.url} (process {running.pid}).")
        return 0
    raise Failure(
        f"Dayfly runs already on the data in {data}, at {running.url} (process {running.pid}).",
        hint=f"Stop it with: dayfly down --data {data}\nOr start another one: dayfly up --data OTHER --port 8001",
    )


def _prepare(data: Path) -> None:
    try:
        data.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not os.access(data, os.W_OK | os.X_OK):
            raise PermissionError(13, "Permission denied")
    except OSError as error:
        raise Failure(
            f"The data folder {data} cannot be used: {error.strerror}.", hint="Name another one with --data or DAYFLY_DATA."
        ) from None


def start_detached(data: Path, flags: list[str], token: str = "") -> Callable[[], None]:
    """Start a server in the background and return when it listens; what comes back stops it.

    Raises Failure with the end of its log, if it does not come up.
    """
    _prepare(data)
    reading, writing = os.pipe()
    log_path = data / "server.log"
    command = [sys.executable, "-m", "dayfly", "up", "--data", str(data), *flags, "--ready-fd", str(writing)]
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("DAYFLY_UP_")}
    handle = os.open(log_path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with open(handle, "wb") as log, open(reading, "rb", buffering=0) as ready:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            pass_fds=(writing,),
            start_new_session=True,
            env=inherited | ({"DAYFLY_TOKEN": token} if token else {}),
        )
        os.close(writing)
        answered, _, _ = select.select([ready], [], [], START_LIMIT)
        if answered and ready.read(1):
            return lambda: _stop(data)
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(GRACE)
        except subprocess.TimeoutExpired:
            process.kill()
    lines = log_path.read_text(errors="replace").splitlines()[-LOG_TAIL:]
    why = "did not start" if answered else f"did not listen within {START_LIMIT:.0f} s"
    raise Failure("\n".join((f"Dayfly {why}:", *(f"  {line}" for line in lines))), hint=f"Its log: {log_path}")


def _stop(data: Path) -> None:
    running = pidfile.find(data)
    if running is not None:
        pidfile.stop(running, data, GRACE)


def _welcome(url: str, data: Path) -> None:
    default = data == default_data()
    there = "" if url == "http://127.0.0.1:8000" else f" --url {url}"
    click.echo(f"Dayfly listens at {url}")
    note(f"Deploy something:  dayfly deploy PATH --name hello{there}")
    note(f"Look at it:        dayfly status{there}")
    if (data / "token").exists():
        note(f"Log in with:       export DAYFLY_TOKEN=$(cat {data / 'token'})")
    if url.startswith("https:") and (data / "tls" / "cert.pem").exists():
        note(f"Trust it with:     export SSL_CERT_FILE={data / 'tls' / 'cert.pem'}")
    note(f"Stop it:           dayfly down{'' if default else f' --data {data}'}")
    note(f"Its log:           {data / 'server.log'}")


@click.command(epilog="\b\nExamples:\n  dayfly down\n  dayfly down --data .dayfly")
@data_option
@click.option("--grace", type=click.FloatRange(0), default=GRACE, metavar="SECONDS", help="Time for calls under way to end.")
def down(data: Path, grace: float) -> None:
    """Stop the Dayfly that `dayfly up` started.

    Calls under way end first. Functions, records and queued calls stay in the data folder for the next `dayfly up`. If
    none runs, nothing happens.
    """
    data = data.absolute()
    running = pidfile.find(data)
    if running is not None:
        if pidfile.stop(running, data, grace):
            note(f"Dayfly did not stop within {grace:g} s and was killed.")
        note(f"Dayfly at {running.url} has stopped.")
    if pidfile.stop_node(data, grace):
        note("Instances that a killed server had left behind are stopped.")
    elif running is None:
        note(f"No Dayfly runs on the data in {data}.")
