"""Which TCP ports an installing job may connect to.

A job has the host's network, for its downloads, and runs build scripts of strangers. Those must not reach what trusts loopback: the
control API of a server without a login, databases, caches. The kernel restricts by port, not by address, so the list is short: the web,
DNS, and the ports that the operator's own settings of pip and npm name. What a function's requirements name opens nothing: a
stranger wrote them.

What no list of ports can stop: a service of this machine or its network that listens on one of these is within reach (a cloud's
metadata service is one, on port 80), and so is whatever a proxy named there connects to. It should refuse loopback.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from urllib.parse import urlsplit

WEB_AND_NAMES = frozenset({53, 80, 443})  # DNS falls back to TCP for long answers

_URL = re.compile(r"[a-z][a-z0-9+.-]*://[^\s'\"<>]+", re.IGNORECASE)
# A proxy is often written as host:port alone.
_BARE_PROXY = re.compile(r"(?:https?|all)?[_-]?proxy\s*=\s*(?![a-z0-9+.-]+://)(\S+)", re.IGNORECASE)
_DEFAULT = {"http": 80, "https": 443, "socks": 1080, "socks4": 1080, "socks4a": 1080, "socks5": 1080, "socks5h": 1080}


def tcp_ports(env: Mapping[str, str], files: Iterable[str], closed: Iterable[int] = ()) -> tuple[int, ...]:
    """Ports for a job with these variables and these texts of configuration files, in order; never one of `closed`."""
    lines = [f"{name.lower().removeprefix('pip_').removeprefix('npm_config_')}={value}" for name, value in env.items()]
    for text in files:
        lines += text.splitlines()
    named = {port for line in lines for port in _named(line)}
    return tuple(sorted((WEB_AND_NAMES | named) - frozenset(closed)))


def _named(line: str) -> set[int]:
    urls = _URL.findall(line)
    if bare := _BARE_PROXY.match(line.strip()):
        urls.append(f"http://{bare[1]}")
    return {port for url in urls if (port := _port(url))}


def _port(url: str) -> int:
    """The port that a URL leads to; 0 if it leads nowhere, as file: does."""
    try:
        parts = urlsplit(url)
        return parts.port or _DEFAULT.get(parts.scheme.rpartition("+")[2], 0)
    except ValueError:
        return 0
