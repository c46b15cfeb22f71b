"""Which names mean this machine.

A browser that was tricked by DNS rebinding sends its attacker's name in the Host header although it talks to 127.0.0.1. So where nobody has
to log in, only names that cannot be rebound are answered: loopback addresses, `localhost` and its subdomains (RFC 6761), and the names
that the operator vouches for.
"""

from __future__ import annotations

import ipaddress


def host_name(authority: str) -> str:
    """The name in `name`, `name:port` or `[v6]:port`, in lower case, without the final dot. Empty if it is malformed."""
    text = authority.strip().lower()
    if text.startswith("["):
        name, bracket, rest = text[1:].partition("]")
        return name if bracket and _is_port(rest) else ""
    name, colon, port = text.partition(":")
    return name.removesuffix(".") if _is_port(colon + port) else ""


def _is_port(text: str) -> bool:
    return not text or (text[0] == ":" and text[1:].isascii() and text[1:].isdigit())


def is_loopback(name: str) -> bool:
    """Whether the name or address always means this machine."""
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        return False
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped.is_loopback
    return address.is_loopback
