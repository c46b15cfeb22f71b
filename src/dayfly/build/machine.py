"""The machine's settings of pip and npm, carried into a build job.

Builds run in a sandbox that sees nothing of the host, yet must use the index, proxy and certificates that the operator set up for this
machine. So their environment variables are passed on, their configuration files are merged and copied into the job's folder, and so
are the certificates and local package folders that these name. Those are named by variables, never inside a file, because a sandbox
without isolation translates variables only. What says where to write (target, prefix, cache, log...) stays behind.

Build scripts of dependencies can read what is copied: credentials for an index that stand in these files are visible to them. Use ones
that can only read. For the same reason `.netrc`, which holds credentials for everything else too, is not copied. And they connect to no
ports but those that these settings name (see `ports`).
"""

from __future__ import annotations

import configparser
import io
import os
import re
import shutil
from collections.abc import Callable, Collection, Mapping
from pathlib import Path

from .ports import tcp_ports

INSIDE = "/build/conf"  # where a job sees the copies
LINKS_LIMIT = 512 << 20  # bytes of local package folders that are copied

_COMMON = (
    r"(https?|no|all)_proxy|(HTTPS?|NO|ALL)_PROXY|SSL_CERT_(FILE|DIR)|REQUESTS_CA_BUNDLE|CURL_CA_BUNDLE|NODE_EXTRA_CA_CERTS"
)
_PASSED = {
    "python": re.compile(rf"({_COMMON}|PIP_\w+)\Z"),
    "node": re.compile(rf"({_COMMON}|(npm|NPM)_(config|CONFIG)_\S+)\Z"),
}
_STAYS = frozenset(  # where to write, what to install, how to talk: the job's own business
    "target prefix root user cache cache-dir no-cache-dir log logs-dir logs-max src build report location global workspace workspaces "
    "python require-virtualenv break-system-packages config-file globalconfig userconfig init-module editable requirement constraint "
    "build-constraint dry-run ignore-installed upgrade no-deps offline progress-bar script-shell shell editor viewer".split()
)
_FILES = frozenset("cert client-cert cafile ssl-cert-file requests-ca-bundle curl-ca-bundle node-extra-ca-certs".split())
_PATHS = _FILES | {"find-links"}
_SEEN_INSIDE = ("/usr/", "/etc/ssl/", "/etc/pki/tls/certs", "/etc/pki/ca-trust/extracted")


class Machine:
    """Reads the settings of one user of the machine. `environ` and `home` are this process' own unless given; `system` is /.

    `closed` gives the TCP ports that no job may connect to, whatever the settings name.
    """

    def __init__(
        self,
        environ: Mapping[str, str] | None = None,
        home: Path | None = None,
        system: Path = Path("/"),
        *,
        closed: Callable[[], Collection[int]] = tuple,
    ) -> None:
        self._system = system
        self._closed = closed
        self._environ = dict(os.environ if environ is None else environ)
        self._home = home or Path(self._environ.get("HOME") or "/")

    def carry(self, kind: str, conf: Path) -> dict[str, str]:
        """Copy what jobs of a kind ("python" or "node") need into the folder `conf`; returns their environment."""
        copies = _Copies(conf)
        env: dict[str, str] = {}
        for name, value in self._environ.items():
            option = re.sub(r"^(pip|npm_config)_", "", name.lower()).replace("_", "-")
            if _PASSED[kind].match(name) and option not in _STAYS and (kept := copies.translate(option, value)):
                env[name] = kept
        named: dict[str, str] = {}
        text = self._pip(copies, named) if kind == "python" else self._npm(copies, named)
        if text:
            name = "pip.conf" if kind == "python" else "npmrc"
            (conf / name).write_text(text)
            env["PIP_CONFIG_FILE" if kind == "python" else "npm_config_userconfig"] = f"{INSIDE}/{name}"
        return named | env

    def ports(self, env: Mapping[str, str], conf: Path) -> tuple[int, ...]:
        """The TCP ports that a job may connect to, from what `carry` returned and wrote."""
        return tcp_ports(env, [_text(conf / name) for name in ("pip.conf", "npmrc")], self._closed())

    def _pip(self, copies: _Copies, named: dict[str, str]) -> str:
        merged = configparser.RawConfigParser()
        own = Path(self._environ.get("XDG_CONFIG_HOME") or self._home / ".config")
        etc = self._system / "etc"
        files = [etc / "xdg/pip/pip.conf", etc / "pip.conf", self._home / ".pip/pip.conf", own / "pip/pip.conf"]
        if chosen := self._environ.get("PIP_CONFIG_FILE"):
            files.append(Path(chosen))
        for file in files:
            for section, options in _parsed(file).items():
                for option, value in options.items():
                    plain = option.lower().replace("_", "-")
                    if plain in _STAYS or not (kept := copies.translate(plain, value)):
                        continue
                    if plain in _PATHS:
                        named["PIP_" + plain.upper().replace("-", "_")] = kept
                        continue
                    if not merged.has_section(section):
                        merged.add_section(section)
                    merged.set(section, plain, kept.replace("\n", "\n\t"))
        text = io.StringIO()
        merged.write(text)
        return text.getvalue()

    def _npm(self, copies: _Copies, named: dict[str, str]) -> str:
        user = self._environ.get("npm_config_userconfig") or self._environ.get("NPM_CONFIG_USERCONFIG")
        files = [self._system / "etc/npmrc", self._system / "usr/etc/npmrc", Path(user) if user else self._home / ".npmrc"]
        lines: list[str] = []
        for file in files:
            for line in _text(file).splitlines():
                option, equals, value = line.partition("=")
                plain = option.strip().lower()
                if not equals or plain.startswith((";", "#")) or plain in _STAYS:
                    continue
                kept = copies.translate(plain, value.strip())
                if kept and plain in _PATHS:
                    named[f"npm_config_{plain}"] = kept
                elif kept:
                    lines.append(f"{option.strip()}={kept}\n")
        return "".join(lines)


class _Copies:
    """Copies the files that settings name, each once, and says where the job finds them."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._made: dict[str, str] = {}
        self._room = LINKS_LIMIT

    def translate(self, option: str, value: str) -> str:
        """The value as the job must see it; empty if it means nothing there."""
        if option in _FILES:
            return self._copied(value)
        if option == "find-links":
            return "\n".join(filter(None, map(self._copied, value.split())))
        if option == "ssl-cert-dir":
            return value if f"{value}/".startswith(_SEEN_INSIDE) else ""
        return value

    def _copied(self, named: str) -> str:
        path = named.removeprefix("file://")
        if "://" in path or path.startswith(_SEEN_INSIDE):
            return named
        if path not in self._made:
            source, target = Path(path).expanduser(), f"{len(self._made)}-{Path(path).name}"
            if source.is_file():
                shutil.copyfile(source, self._folder / target)
            elif source.is_dir():
                self._copy_packages(source, self._folder / target)
            else:
                return ""
            self._made[path] = f"{INSIDE}/{target}"
        return self._made[path]

    def _copy_packages(self, source: Path, target: Path) -> None:
        target.mkdir()
        for file in sorted(source.iterdir()):
            if file.is_file() and file.name.endswith((".whl", ".tar.gz", ".zip", ".html")):
                self._room -= file.stat().st_size
                if self._room < 0:
                    return
                shutil.copyfile(file, target / file.name)


def _text(file: Path) -> str:
    try:
        return file.read_text("utf-8", "replace")
    except OSError:
        return ""


def _parsed(file: Path) -> dict[str, dict[str, str]]:
    parser = configparser.RawConfigParser()
    try:
        parser.read_string(_text(file))
    except configparser.Error:
        return {}
    return {section: dict(parser.items(section)) for section in parser.sections()}
