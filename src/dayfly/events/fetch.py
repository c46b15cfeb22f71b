"""Posts events to addresses outside, and to nowhere inside.

Whoever may set a target may make this server send requests, so it must not reach what only this server can reach: its own machine, the
private network, a cloud's metadata service. A name is resolved once, every address it has is looked at, and the connection goes to
an address that was looked at: what the name means a moment later does not matter (DNS rebinding). Redirects are not followed.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import socket
import ssl
from collections.abc import Callable, Iterable
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from ..errors import BadInput, Forbidden, TimedOut, Unavailable
from ..model.call import Headers, Result

if TYPE_CHECKING:
    from httpcore2 import AsyncConnectionPool, AsyncNetworkStream

ANSWER_LIMIT: Final = 4 << 20  # bytes of an answer that are read
CONNECT_TIMEOUT: Final = 10.0  # seconds
ASKING: Final = 10.0  # seconds that an address has to say whether it may be posted to
CONNECTIONS: Final = 100
KEPT: Final = 20  # idle connections
KEPT_S: Final = 15.0  # seconds
_HOP_BY_HOP: Final = {"connection", "content-length", "host", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade"}

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

log = logging.getLogger("dayfly.events")


class Fetcher:
    """`allowed`: networks that may be reached although they are private, such as 10.1.0.0/16; 0.0.0.0/0 and ::/0 are everything."""

    def __init__(self, allowed: Iterable[str] = ()) -> None:
        self._allowed: tuple[Network, ...] = tuple(ipaddress.ip_network(network) for network in allowed)

    async def post(self, url: str, headers: Headers, body: bytes, seconds: float) -> Result:
        """Post and wait for the whole answer, at most that many seconds.

        Raises Forbidden for an address that is not allowed, TimedOut, and Unavailable when nobody answers.
        """
        return await self._request("POST", url, headers, body, seconds)

    async def ask_leave(self, url: str, origin: str) -> None:
        """Ask an address whether a sender of that name may post there (CloudEvents, http-webhook.md, section 4). Whatever else it
        answers is no consent. Raises Forbidden if it may not, and as `post` does."""
        answer = await self._request("OPTIONS", url, (("webhook-request-origin", origin),), b"", ASKING)
        allowed = next((value for name, value in answer.headers if name == "webhook-allowed-origin"), "")
        if allowed.strip().lower() not in ("*", origin.lower()):
            raise Forbidden(
                f"{url[:200]} does not let {origin} post there",
                hint="It must answer OPTIONS with WebHook-Allowed-Origin; or leave `origin` out, and it is not asked.",
            )

    async def _request(self, method: str, url: str, headers: Headers, body: bytes, seconds: float) -> Result:
        import httpcore2

        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise BadInput(f"{url[:200]!r} is not an http or https URL")
        sent = [(name.encode("latin-1", "replace"), value.encode("latin-1", "replace")) for name, value in headers]
        sent = [(name, value) for name, value in sent if name.decode("latin-1").lower() not in _HOP_BY_HOP]
        sent.append((b"host", parts.netloc.rpartition("@")[2].encode("idna" if not parts.netloc.isascii() else "ascii")))
        sent.append((b"content-length", str(len(body)).encode()))
        try:
            async with asyncio.timeout(seconds):
                async with self._pool.stream(method, url, headers=sent, content=body) as response:
                    parts_: list[bytes] = []
                    size = 0
                    async for chunk in response.aiter_stream():
                        size += len(chunk)
                        if size > ANSWER_LIMIT:
                            break
                        parts_.append(chunk)
                    answer = tuple(
                        (name.decode("latin-1").lower(), value.decode("latin-1")) for name, value in response.headers
                    )
                    return Result(invocation="", status=response.status, headers=answer, body=b"".join(parts_))
        except TimeoutError:
            raise TimedOut(f"{parts.hostname} did not answer within {seconds:g} s") from None
        except (httpcore2.NetworkError, httpcore2.TimeoutException, httpcore2.ProtocolError, OSError) as error:
            cause: BaseException | None = error
            while cause is not None:  # the pool's own errors are wrapped around it
                if isinstance(cause, Forbidden):
                    raise cause from None
                cause = cause.__cause__ or cause.__context__
            raise Unavailable(f"{parts.hostname} cannot be reached: {error or type(error).__name__}") from None

    async def close(self) -> None:
        if "_pool" in self.__dict__:
            await self._pool.aclose()

    @cached_property
    def _pool(self) -> AsyncConnectionPool:
        import httpcore2

        return httpcore2.AsyncConnectionPool(
            ssl_context=ssl.create_default_context(),
            max_connections=CONNECTIONS,
            max_keepalive_connections=KEPT,
            keepalive_expiry=KEPT_S,
            network_backend=_guarded(self.check),
        )

    def check(self, address: str) -> None:
        """Raises Forbidden for an address that must not be reached."""
        found = ipaddress.ip_address(address.partition("%")[0])
        if not reachable(found) and not any(found in network for network in self._allowed if network.version == found.version):
            raise Forbidden(
                f"the address {found} is not for targets: it is private to this server",
                hint="An operator can allow it: dayfly up --allow-target NETWORK.",
            )


def reachable(address: Address) -> bool:
    """Whether an address is out on the internet: not this machine, not a private or otherwise special network."""
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour or (address.teredo[1] if address.teredo is not None else None)
        if inner is None and address in _NAT64:
            inner = ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF)
        if inner is not None:
            return reachable(inner)
    return address.is_global and not address.is_multicast


_NAT64: Final = ipaddress.IPv6Network("64:ff9b::/96")


def _guarded(check: Callable[[str], None]) -> Any:
    """A network backend that connects to addresses which pass the check, and to those alone."""
    from httpcore2 import AnyIOBackend, AsyncNetworkBackend, ConnectError

    class Guarded(AsyncNetworkBackend):
        def __init__(self) -> None:
            self._plain = AnyIOBackend()

        async def connect_tcp(
            self,
            host: str,
            port: int,
            timeout: float | None = None,  # noqa: ASYNC109 - the port's own name
            local_address: str | None = None,
            socket_options: Iterable[Any] | None = None,
        ) -> AsyncNetworkStream:
            loop = asyncio.get_running_loop()
            try:
                found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            except OSError as error:
                raise ConnectError(f"{host} cannot be resolved: {error}") from error
            addresses = list(dict.fromkeys(str(entry[4][0]) for entry in found))
            try:
                for address in addresses:
                    check(address)
            except Forbidden as error:
                raise ConnectError(str(error)) from error
            failure: Exception = ConnectError(f"{host} has no address")
            for address in addresses[:4]:
                try:
                    return await self._plain.connect_tcp(
                        address, port, timeout=min(timeout or CONNECT_TIMEOUT, CONNECT_TIMEOUT), local_address=local_address
                    )
                except Exception as error:
                    failure = error
            raise failure

        async def connect_unix_socket(self, *_: Any, **__: Any) -> AsyncNetworkStream:
            raise ConnectError("a target is an address on the network")

        async def sleep(self, seconds: float) -> None:
            await asyncio.sleep(seconds)

    return Guarded()
