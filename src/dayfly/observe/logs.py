"""What functions print, kept by line and tagged by invocation; it outlives the instance.

Lines are numbered as they come and written behind in slices (see `slices`); followers get them from memory at once (see `follow`). When
the disk is too far behind, lines are dropped, and a marker in the function's log says how many. A line is cut where it is too long.
Retention is by bytes and by age, deleted a small bite at a time alongside the writing.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from typing import Final

import msgspec
from msgspec.structs import replace

from ..clock import Clock, Timer
from ..errors import BadInput
from ..model.log import LogLine
from ..store.port import Row, Statement, Store
from .follow import Followers, Scope, marker
from .slices import Slices

LINE_LIMIT: Final = 16 << 10  # characters
SLICES: Final = 16  # waiting for the disk at most: 8,000 lines
KEEP_BYTES: Final = 256 << 20  # of all lines with their tags
KEEP_SECONDS: Final = 7 * 86400.0
PRUNE_EVERY: Final = 3  # slices
PRUNE_IDLE: Final = 60.0  # seconds
BITE: Final = 1000  # lines deleted in one go
PAGE: Final = 1000  # lines of history that a follower reads at a time
PAGE_LIMIT: Final = 10_000  # lines of a page

_encoder = msgspec.json.Encoder()
_decode = msgspec.json.Decoder(LogLine).decode


class LogStore:
    """`append` is called on the event loop and never waits."""

    def __init__(self, store: Store, clock: Clock, *, keep_bytes: int = KEEP_BYTES, keep_s: float = KEEP_SECONDS) -> None:
        self._store = store
        self._clock = clock
        self._keep_bytes = keep_bytes
        self._keep_s = keep_s
        self._slices: Slices[LogLine] = Slices(clock, self._write, self._spill, SLICES)
        self._followers = Followers()
        self._lost: dict[tuple[str, str], tuple[int, LogLine]] = {}  # lines dropped and not told of yet, by function
        self._since_prune = 0  # slices
        self._prune_timer: Timer | None = None
        self.dropped = 0  # lines given up because the disk was behind

    async def open(self) -> None:
        """To be awaited before the first line."""
        [(last,)] = await self._store.fetch("logs_last")
        self._slices.next = last + 1
        self._prune_timer = self._clock.call_later(PRUNE_IDLE, self._prune_idle)

    def close(self) -> None:
        """Hand everything to the store; closing that writes it."""
        self._slices.close()
        if self._prune_timer is not None:
            self._prune_timer.cancel()
            self._prune_timer = None

    def end_followers(self) -> None:
        """Let those who follow come to an end: the server stops."""
        self._followers.end()

    def append(self, lines: Sequence[LogLine]) -> None:
        """Keep lines, and show them to followers."""
        for line in lines:
            if len(line.text) > LINE_LIMIT:
                line = replace(line, text=f"{line.text[:LINE_LIMIT]} [{len(line.text) - LINE_LIMIT} characters cut]")
            if self._followers:
                self._followers.offer(line)
            self._slices.add(line)

    async def flush(self) -> None:
        """Return when what was appended is on disk, or after a second."""
        await self._slices.flush()

    # --- reading ----------------------------------------------------------------------------------------------------

    async def read(
        self,
        namespace: str,
        function: str = "",
        invocation: str = "",
        *,
        since: float = 0.0,
        limit: int = 1000,
        cursor: str = "",
    ) -> tuple[list[LogLine], str]:
        """Lines, oldest first, and the cursor to go on from (never empty: ask again to see what came meanwhile).

        Without `since`, `cursor` and `invocation` these are the last `limit` lines; with any of them, the first that match.
        Raises errors.BadInput for a cursor that is not one.
        """
        scope, limit = Scope(namespace, function, invocation), max(1, min(limit, PAGE_LIMIT))
        if cursor and not (cursor.isdecimal() and len(cursor) < 19):
            raise BadInput("This cursor was not given out by this log.", hint="Use the cursor of the page before, unchanged.")
        after = int(cursor or 0)
        if not (cursor or since or invocation):
            lines = (await self._tail(scope, limit))[-limit:]
        else:
            lines = (await self._forward(scope, after, since, limit))[:limit]
        return [line for _, line in lines], str(lines[-1][0] if lines else after)

    async def follow(
        self, namespace: str, function: str = "", invocation: str = "", *, since: float = 0.0
    ) -> AsyncIterator[LogLine]:
        """Lines as they come, until the server stops; first those since `since`, if that is given.

        Begins when the first line is asked for. Raises errors.Throttled when too many follow already.
        """
        scope = Scope(namespace, function, invocation)
        live_from = self._slices.end
        follower = self._followers.join(scope)
        try:
            after = 0
            while since:
                page = await self._forward(scope, after, since, PAGE)
                for after, line in page:
                    if after >= live_from:  # the follower has it
                        break
                    yield line
                if len(page) < PAGE or after >= live_from:
                    break
            while (came := await follower.next()) is not None:
                yield came
        finally:
            self._followers.leave(follower)

    async def _forward(self, scope: Scope, after: int, since: float, limit: int) -> list[tuple[int, LogLine]]:
        waiting = [
            (seq, line) for seq, line in self._slices.unwritten() if seq > after and line.time >= since and scope.takes(line)
        ]
        parameters = {"after": after, "since": since, "limit": limit}
        if scope.invocation:
            rows = await self._store.fetch("logs_of_invocation", **parameters, **scope._asdict())
        elif scope.function:
            rows = await self._store.fetch("logs_of_function", **parameters, **scope._asdict())
        else:
            rows = await self._store.fetch("logs_of_namespace", **parameters, **scope._asdict())
        found = _lines(rows)
        if len(found) < limit:  # what waits comes after all that is written
            last = found[-1][0] if found else after
            found += [(seq, line) for seq, line in waiting if seq > last][: limit - len(found)]
        return found

    async def _tail(self, scope: Scope, limit: int) -> list[tuple[int, LogLine]]:
        waiting = [(seq, line) for seq, line in self._slices.unwritten() if scope.takes(line)]
        if scope.function:
            rows = await self._store.fetch(
                "logs_tail_of_function", namespace=scope.namespace, function=scope.function, limit=limit
            )
        else:
            rows = await self._store.fetch("logs_tail_of_namespace", namespace=scope.namespace, limit=limit)
        found = _lines(rows[::-1])
        last = found[-1][0] if found else 0
        return found + [(seq, line) for seq, line in waiting if seq > last]

    # --- writing ----------------------------------------------------------------------------------------------------

    def _write(self, first: int, batch: list[LogLine], done: Callable[[], None]) -> None:
        if self._lost:
            lost, self._lost = self._lost, {}
            told = [marker(line, f"[{count} lines left out: the disk was too slow]") for count, line in lost.values()]
            for line in told:
                self._slices.add(line)
        statements: list[Statement] = [
            ("logs_put", {"first": first, "rows": _rows(batch)}),
            ("logs_count", {"first": first}),
        ]
        self._since_prune += 1
        if self._since_prune >= PRUNE_EVERY:
            self._since_prune = 0
            statements.append(self._prune())
        self._store.write_behind(*statements, done=done)

    def _spill(self, batch: list[LogLine]) -> None:
        self.dropped += len(batch)
        for line in batch:
            key = (line.namespace, line.function)
            count, first = self._lost.get(key, (0, line))
            self._lost[key] = (count + 1, first)

    def _prune(self) -> Statement:
        return "logs_prune", {"bite": BITE, "oldest": self._clock.now() - self._keep_s, "keep": self._keep_bytes}

    def _prune_idle(self) -> None:
        self._store.write_behind(self._prune())
        self._prune_timer = self._clock.call_later(PRUNE_IDLE, self._prune_idle)


def _lines(rows: list[Row]) -> list[tuple[int, LogLine]]:
    return [(seq, _decode(body)) for seq, body in rows]


def _rows(batch: list[LogLine]) -> str:
    try:
        return _encoder.encode(batch).decode()
    except UnicodeEncodeError:  # half a character
        return _encoder.encode([replace(line, text=line.text.encode("utf-8", "replace").decode()) for line in batch]).decode()
