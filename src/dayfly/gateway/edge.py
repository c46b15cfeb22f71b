"""What all connections of a listener share: where requests go, who may send them, what they may weigh."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Final, Protocol

import msgspec

from ..actions import Invoke
from ..dialects.hook import Credentials, Head, Mount, Reply, Route
from ..dialects.routing import Router
from ..errors import DayflyError, MethodNotAllowed
from ..model.call import Result
from ..model.identity import LOCAL, Identity
from .connections import Connections
from .limits import EdgeLimits


class CallClient(Protocol):
    """Who is told of a call's progress (see calls.call.Client)."""

    def on_result(self, result: Result) -> None: ...

    def on_data(self, data: bytes, end: bool) -> None: ...

    def on_failure(self, error: DayflyError) -> None: ...


class CallHandle(Protocol):
    """A call under way, as the gateway needs it."""

    @property
    def full(self) -> bool: ...

    @property
    def running(self) -> bool:
        """Whether an instance has taken it."""
        ...

    def feed(self, data: bytes, end: bool) -> None: ...

    def when_drained(self, callback: Callable[[], None]) -> None: ...

    def hold(self) -> None: ...

    def unhold(self) -> None: ...

    def cancel(self, error: DayflyError | None = None) -> None: ...


class Dispatch(Protocol):
    """The way to a call: `calls.dispatcher.Dispatcher` behind admission."""

    @property
    def check(self) -> Callable[[Invoke, Identity], None]:
        """Raises Unauthenticated or Forbidden if this identity may not make the call. The other methods ask by themselves."""
        ...

    def begin(self, invoke: Invoke, client: CallClient, identity: Identity, body_done: bool) -> CallHandle: ...

    def streams(self, invoke: Invoke) -> bool:
        """Whether this function takes its body in pieces; raises NotFound."""
        ...

    async def enqueue(self, invoke: Invoke, identity: Identity) -> str:
        """Accept an asynchronous call; its invocation id, once it is on disk."""
        ...

    async def once(self, invoke: Invoke, identity: Identity) -> Result:
        """Make a synchronous call that carries an idempotency key."""
        ...


class Gate(Protocol):
    """Who sends a request: `auth.gate.Gate`. Headers, host, peer, method; raises Unauthenticated or Forbidden."""

    @property
    def credentials(self) -> Credentials:
        """For dialects that authenticate in their own way."""
        ...

    @property
    def asks_login(self) -> bool:
        """Whether callers show this server's own token."""
        ...

    def authenticate(self, headers: Sequence[tuple[bytes, bytes]], host: str, peer: str, method: str, /) -> Identity:
        """Of a call, on the fast lane."""
        ...

    def control(self, headers: Sequence[tuple[bytes, bytes]], host: str, peer: str, method: str, /) -> Identity:
        """Of everything else."""
        ...


REMEMBERED: Final = 4096  # requests' targets whose route is kept
REMEMBERED_PATH: Final = 256  # bytes of one


class Match(msgspec.Struct):
    mount: Mount
    route: Route
    params: dict[str, str]


class WrongMethod(MethodNotAllowed):
    """This method is not allowed here"""

    def __init__(self, mount: Mount, method: str, allowed: list[str]) -> None:
        super().__init__(f"{method} is not allowed here", hint=f"Allowed: {', '.join(allowed)}.", allow=allowed)
        self.mount = mount


class Edge:
    """Mounts, dispatcher and limits of one listener."""

    def __init__(
        self,
        mounts: Sequence[Mount],
        dispatch: Dispatch,
        gate: Gate,
        limits: EdgeLimits,
        perform: Callable[[object, Identity], Awaitable[object]],
        listener: str = "",
        connections: Connections | None = None,
    ) -> None:
        """`connections`: shared with other listeners."""
        self.dispatch = dispatch
        self.authenticate = gate.authenticate
        self.asks_login = gate.asks_login
        self.control = gate.control
        self._credentials = gate.credentials
        self.limits = limits
        self.perform = perform
        mine = [
            (mount, Router(route for route in mount.dialect.routes if listener or not route.own))
            for mount in mounts
            if mount.listener == listener
        ]
        # The most particular mount first: by host, then by the length of the prefix.
        mine.sort(key=lambda pair: (not pair[0].hosts, -len(pair[0].prefix)))
        self._mounts = mine
        self._found: dict[tuple[str, str, str], Match] = {}
        self.connections = connections or Connections(limits)
        self.collected = 0  # bytes of bodies that are being collected

    async def perform_own(self, action: object) -> object:
        """What the platform looks up by itself to answer a caller: who may call may know why that failed."""
        return await self.perform(action, LOCAL)

    def find(self, method: str, host: str, path: str) -> Match | None:
        """The mount and route of this request; None: no dialect knows the path.

        Raises WrongMethod when a dialect knows the path but not for this method. Routes never change while a server runs, so
        what was found is remembered; nobody may change the parameters of a match.
        """
        key = (method, host, path)
        match = self._found.get(key)
        if match is None:
            match = self._find(method, host, path)
            if match is not None and len(path) <= REMEMBERED_PATH:
                if len(self._found) >= REMEMBERED:
                    self._found.clear()
                self._found[key] = match
        return match

    def identify_caller(self, mount: Mount, head: Head, body: bytes | None) -> Identity:
        """Who calls a function: by the dialect's own way, or by ours. `body` is None while it is still under way."""
        if self.asks_login and mount.dialect.authenticate is not None:
            identity = mount.dialect.authenticate(head, body, self._credentials)
            if identity is not None:
                return identity
        identity = self.authenticate(head.headers, head.host, head.peer, head.method)
        if self.asks_login and identity.id:
            # The token has done its work; a function must never see it.
            head.headers = [field for field in head.headers if field[0] != b"authorization"]
        return identity

    def identify_manager(self, mount: Mount, head: Head, body: bytes | None) -> Identity:
        """Who uses a dialect's control routes."""
        if self.asks_login and mount.dialect.authenticate is not None:
            identity = mount.dialect.authenticate(head, body, self._credentials)
            if identity is not None:
                return identity
        return self.control(head.headers, head.host, head.peer, head.method)

    def _find(self, method: str, host: str, path: str) -> Match | None:
        for mount, router in self._mounts:
            if mount.hosts and not _host_matches(mount.hosts, host):
                continue
            prefix = mount.prefix
            if prefix:
                if not path.startswith(prefix) or (len(path) > len(prefix) and path[len(prefix)] != "/"):
                    continue
                rest = path[len(prefix) :] or "/"
            else:
                rest = path
            found = router.match(method, rest)
            if found is None:
                continue
            if isinstance(found, frozenset):
                raise WrongMethod(mount, method, sorted(found))
            return Match(mount, found[0], found[1])
        return None


def _host_matches(hosts: tuple[str, ...], host: str) -> bool:
    name = host.rpartition(":")[0] if host.rpartition(":")[2].isdigit() else host
    name = name.lower()
    return any(name == known or (known.startswith("*.") and name.endswith(known[1:])) for known in hosts)


def problem(error: DayflyError) -> Reply:
    """A platform error as RFC 9457 has it."""
    headers = [("content-type", "application/problem+json"), ("dayfly-error", "platform")]
    if error.invocation:
        headers.append(("dayfly-invocation-id", error.invocation))
    if error.retry_after is not None:
        headers.append(("retry-after", str(max(1, round(error.retry_after)))))
    if isinstance(error, MethodNotAllowed):
        allow = error.members.get("allow", [])
        headers.append(("allow", ", ".join(allow) if isinstance(allow, list) else str(allow)))
    if error.status == 401:
        headers.append(("www-authenticate", 'Bearer realm="dayfly"'))
    return Reply(error.status, headers, msgspec.json.encode(error.problem()))
