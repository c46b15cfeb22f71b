"""Where a function may connect to: its allow-list, as text and as what it means."""

from __future__ import annotations

import enum
import ipaddress
import re

from msgspec import Struct


class Network(enum.StrEnum):
    """What an instance reaches besides itself."""

    NONE = "none"  # nothing
    EGRESS = "egress"  # the platform, and out to the internet
    ALLOW = "allow"  # the platform, and what its allow-list names


# Where instances find names and the platform, at the node's router. Clients of AWS bring paths of their own, so they have an address
# to themselves.
SERVICES = "169.254.1.1"
AWS = "169.254.1.2"

ANY_PORT = 0
MAX_RULES = 64

_NAME = re.compile(r"(\*\.)?([a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?\.)*[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?\Z")


class Allowed(Struct, frozen=True):
    """One entry: a name, `*.` and a name for everything below it, or a network; a port, or ANY_PORT."""

    host: str  # lower case; empty if `network` is set
    network: ipaddress.IPv4Network | None
    port: int

    def names(self, name: str) -> bool:
        """Whether it stands for this name."""
        if self.host.startswith("*."):
            return name.endswith(self.host[1:])
        return bool(self.host) and name == self.host


def parse(text: str) -> Allowed:
    """`HOST:PORT`: a name, an IPv4 address or network (10.1.0.0/16), and a port or `*`. Raises ValueError."""
    host, _, port = text.rpartition(":")
    host = host.lower().rstrip(".")
    if not host or not (port == "*" or (port.isascii() and port.isdigit() and 0 < int(port) < 65536)):
        raise ValueError(
            f"{text[:100]!r} is not HOST:PORT, e.g. api.example.com:443, *.example.com:443, 192.0.2.7:5432 or db:*"
        )
    number = ANY_PORT if port == "*" else int(port)
    if re.match(r"[0-9./]+\Z", host):
        try:
            return Allowed("", ipaddress.IPv4Network(host), number)
        except ValueError as error:
            raise ValueError(f"{text[:100]!r} does not begin with an IPv4 address or network: {error}") from None
    if ":" in host or "[" in host:
        raise ValueError(f"{text[:100]!r}: functions have no IPv6; give a name or an IPv4 address")
    if len(host) > 253 or not _NAME.match(host):
        raise ValueError(f"{host[:100]!r} is not a host name")
    return Allowed(host, None, number)
