"""What extensions that subscribe are told of an instance: the Telemetry API of AWS Lambda, and the Logs API before it.

A subscriber is an HTTP server within the sandbox (`sandbox.localdomain`; the Logs API knows TCP, too). It gets arrays of records,
{"time", "type", "record"}, when as many, as large or as old ones wait as its buffering says. Who does not take them loses the newest,
and is told how many (platform.logsDropped): nothing here waits for a subscriber.

Wire: https://docs.aws.amazon.com/lambda/latest/dg/telemetry-schema-reference.html, .../telemetry-api-reference.html
"""

from __future__ import annotations

import json
import socket
import threading
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, List, Optional, Tuple

    from .httpserver import Exchange

TYPES = ("platform", "function", "extension")
_EARLY = 200  # records kept for those who have not subscribed yet
_PATIENCE = 2.0  # seconds for a subscriber to take a batch
_HELD = 4  # times its maxBytes that wait for a subscriber at most
_BOUNDS = {"maxItems": (25, 10_000, 10_000), "maxBytes": (262_144, 1_048_576, 262_144), "timeoutMs": (25, 30_000, 1_000)}
_BEHIND = "Consumer seems to have fallen behind as it has not acknowledged receipt of logs."


class Invalid(Exception):
    """A subscription that is none; the text says why."""


def stamp(moment: Optional[float] = None) -> str:
    """UTC with milliseconds."""
    now = time.time() if moment is None else moment
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now)) + ".%03dZ" % (now % 1 * 1000)


class Telemetry:
    """All subscriptions of one instance. `as_json`: whether the function logs JSON, and its lines are told as objects."""

    def __init__(self, as_json: bool = False) -> None:
        self._as_json = as_json
        self._subscribers: List[_Subscriber] = []
        self._early: Optional[List[Dict[str, Any]]] = []  # until the instance has started
        self._lock = threading.Lock()
        self._open = {"function": b"", "extension": b""}  # lines that have not ended

    def event(self, kind: str, record: Any) -> None:
        """Something has happened now."""
        if self._early is None and not self._subscribers:
            return
        made = {"time": stamp(), "type": kind, "record": record}
        with self._lock:
            if self._early is not None and len(self._early) < _EARLY:
                self._early.append(made)
            for subscriber in self._subscribers:
                subscriber.put(made)

    def lines(self, kind: str, data: bytes) -> None:
        """What the function or an extension printed; the rest of a line waits for its end."""
        if self._early is None and not self._subscribers:
            return
        *whole, self._open[kind] = (self._open[kind] + data).split(b"\n")
        for line in whole:
            self.event(kind, self._shown(line.decode("utf-8", "replace")))

    def _shown(self, text: str) -> Any:
        if self._as_json and text.startswith("{"):
            try:
                return json.loads(text)
            except ValueError:
                pass
        return text

    def started(self) -> None:
        """Nobody can subscribe any more: nothing is kept for them."""
        self._early = None

    def hold(self) -> bool:
        """Deliver nothing until `go`: who would take it stands still. False if something is being delivered."""
        for at, subscriber in enumerate(self._subscribers):
            if not subscriber.hold():
                for held in self._subscribers[:at]:
                    held.go()
                return False
        return True

    def go(self) -> None:
        for subscriber in self._subscribers:
            subscriber.go()

    def close(self, patience: float) -> None:
        """Deliver what waits, for at most so many seconds."""
        until = time.monotonic() + patience
        for subscriber in self._subscribers:
            subscriber.flush()
        for subscriber in self._subscribers:
            subscriber.thread.join(max(0.0, until - time.monotonic()))

    def subscribe(self, exchange: Exchange, name: str, modern: bool) -> None:
        """Answer a PUT of the Telemetry API, or of the Logs API."""
        try:
            asked = json.loads(exchange.body(64 << 10))
            subscriber = _Subscriber(asked)
        except (ValueError, KeyError, TypeError, AttributeError, Invalid) as error:
            exchange.refuse(400, "ValidationError", str(error) or "the subscription cannot be read")
            return
        shown = "platform.telemetrySubscription" if modern else "platform.logsSubscription"
        with self._lock:
            for record in self._early or ():
                subscriber.put(record)
            self._subscribers.append(subscriber)
        subscriber.thread.start()
        exchange.reply(200, b"OK", kind="text/plain")
        self.event(shown, {"name": name, "state": "Subscribed", "types": subscriber.types})


class _Subscriber:
    def __init__(self, asked: Dict[str, Any]) -> None:
        self.types = [str(kind) for kind in asked["types"]]
        if not self.types or any(kind not in TYPES for kind in self.types):
            raise Invalid("types must be some of: " + ", ".join(TYPES))
        self._target = _target(asked["destination"])
        given = asked.get("buffering") or {}
        chosen = {}
        for name, (least, most, usual) in _BOUNDS.items():
            value = chosen[name] = given.get(name, usual)
            if not isinstance(value, int) or not least <= value <= most:
                raise Invalid("buffering.%s must be between %d and %d" % (name, least, most))
        self._items: int = chosen["maxItems"]
        self._bytes: int = chosen["maxBytes"]
        self._timeout: float = chosen["timeoutMs"] / 1000
        self._waiting: List[bytes] = []
        self._size = 0
        self._dropped = [0, 0]  # records, bytes
        self._since: float = 0.0  # when the oldest came; monotonic
        self._ending = self._sending = self._held = False
        self._change = threading.Condition()
        self.thread = threading.Thread(target=self._deliver, daemon=True)

    def put(self, record: Dict[str, Any]) -> None:
        if record["type"].partition(".")[0] not in self.types:
            return
        data = json.dumps(record).encode()
        with self._change:
            if self._size + len(data) > _HELD * self._bytes:
                self._dropped[0] += 1
                self._dropped[1] += len(data)
                return
            if not self._waiting:
                self._since = time.monotonic()
            self._waiting.append(data)
            self._size += len(data)
            self._change.notify()

    def hold(self) -> bool:
        with self._change:
            self._held = not self._sending
            return self._held

    def go(self) -> None:
        with self._change:
            self._held = False
            self._change.notify()

    def flush(self) -> None:
        """Deliver now, and then no more."""
        with self._change:
            self._ending = True
            self._change.notify()

    def _deliver(self) -> None:
        while True:
            with self._change:
                self._sending = False
                while not self._ending and (self._held or not self._due()):
                    wanted = self._waiting and not self._held
                    self._change.wait(self._since + self._timeout - time.monotonic() if wanted else None)
                batch = self._taken()
                if not batch:
                    return
                self._sending = True
            for _ in range(3):
                try:
                    self._send(batch)
                    break
                except OSError:
                    time.sleep(0.05)
            else:
                self._lost(batch)

    def _lost(self, batch: List[bytes]) -> None:
        with self._change:
            self._dropped[0] += len(batch)
            self._dropped[1] += sum(map(len, batch))
            if self._ending:
                self._waiting.clear()

    def _due(self) -> bool:
        if not self._waiting:
            return False
        full = len(self._waiting) >= self._items or self._size >= self._bytes
        return full or time.monotonic() >= self._since + self._timeout

    def _taken(self) -> List[bytes]:
        batch: List[bytes] = []
        size = 0
        while self._waiting and len(batch) < self._items and (not batch or size + len(self._waiting[0]) <= self._bytes):
            size += len(self._waiting[0])
            batch.append(self._waiting.pop(0))
        self._size -= size
        self._since = time.monotonic()
        if self._dropped[0]:
            told = {"reason": _BEHIND, "droppedRecords": self._dropped[0], "droppedBytes": self._dropped[1]}
            batch.append(json.dumps({"time": stamp(), "type": "platform.logsDropped", "record": told}).encode())
            self._dropped = [0, 0]
        return batch

    def _send(self, batch: List[bytes]) -> None:
        """Raises OSError."""
        host, path = self._target[1], self._target[2]
        with socket.create_connection(self._target[0], _PATIENCE) as sock:
            if not path:  # TCP: a record a line
                sock.sendall(b"".join(record + b"\n" for record in batch))
                return
            body = b"[" + b",".join(batch) + b"]"
            head = "POST %s HTTP/1.1\r\nHost: %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\nConnection: close\r\n\r\n"
            sock.sendall((head % (path, host, len(body))).encode("latin-1") + body)
            answer = sock.recv(64).split(b" ")
            if len(answer) < 2 or not answer[1].startswith(b"2"):
                raise OSError("the subscriber does not take it")


def _target(asked: Dict[str, Any]) -> Tuple[Tuple[str, int], str, str]:
    """((address, port), host, path) of a destination; no path for TCP. Raises Invalid."""
    protocol = asked["protocol"]
    if protocol == "TCP":
        return ("127.0.0.1", int(asked["port"])), "", ""
    if protocol != "HTTP":
        raise Invalid("destination.protocol must be HTTP or TCP")
    scheme, _, rest = str(asked["URI"]).partition("://")
    authority, _, path = rest.partition("/")
    host, _, port = authority.partition(":")
    if scheme != "http" or host not in ("sandbox.localdomain", "sandbox", "localhost", "127.0.0.1") or not port.isdigit():
        raise Invalid("destination.URI must be http://sandbox.localdomain:PORT")
    if any(character < "!" or character > "~" for character in path):
        raise Invalid("destination.URI has characters that do not belong there")
    return ("127.0.0.1", int(port)), authority, "/" + path
