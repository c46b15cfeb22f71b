"""What an instance sends: whatever it is, every call gets one ending and nothing is raised."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import strategies as st

from dayfly.sandbox import frames
from dayfly.sandbox.channel import Channel
from tests.fuzz.clock import SECONDS, fuzz

OPEN_CALLS = 3

json_like = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
heads = st.fixed_dictionaries(
    {},
    optional={
        "status": st.integers(-1, 1000) | json_like,
        "headers": st.lists(st.tuples(st.text(max_size=6), st.text(max_size=6)), max_size=4) | json_like,
        "cpu_us": st.integers(-(2**65), 2**65) | json_like,
        "init_s": st.floats() | json_like,
        "type": st.text(max_size=5) | json_like,
        "message": st.text(max_size=5) | json_like,
        "trace": json_like,
        "x": json_like,
    },
).map(lambda value: json.dumps(value).encode())
nests = st.sampled_from([(b"[", b"", b"]"), (b'{"a":', b"1", b"}")])
deep = st.tuples(st.sampled_from([b'{"x":', b'{"headers":', b'{"trace":']), nests, st.integers(1, 30_000)).map(
    lambda t: t[0] + t[1][0] * t[2] + t[1][1] + t[1][2] * t[2] + b"}"
)
payloads = heads | deep | st.binary(max_size=40) | st.just(b"{}") | st.binary(max_size=4).map(lambda end: b'{"status":' + end)
kinds = st.sampled_from([frames.DATA, frames.RESPONSE, frames.ERROR, frames.READY, frames.FAILED, frames.REFUSED])


@st.composite
def frame(draw: st.DrawFn) -> bytes:
    payload = draw(payloads)
    odd = draw(st.integers(0, 19))  # most frames are right but for one thing, or else none gets far
    length = draw(st.integers(0, 0xFFFFFFFF)) if odd == 0 else len(payload)
    stream = draw(st.integers(0, 0xFFFFFFFF)) if odd == 1 else draw(st.integers(0, OPEN_CALLS))
    kind = draw(st.integers(0, 127)) if odd == 2 else draw(kinds)
    return frames.HEADER.pack(length, stream, kind | draw(st.sampled_from([0, 0x80]))) + payload


conversations = st.tuples(
    st.lists(frame() | st.binary(max_size=30), max_size=12).map(b"".join), st.lists(st.integers(1, 200), max_size=8)
)


class Listener:
    """Of the channel, and of each call."""

    def __init__(self) -> None:
        self.endings = 0
        self.failed = False
        self.broken: list[str] = []

    def on_ready(self, ready: object) -> None: ...

    def on_failed(self, error: object) -> None:
        self.failed = True

    def on_broken(self, violation: str) -> None:
        self.broken.append(violation)

    def on_response(self, head: Any, body: bytes, end: bool) -> None:
        assert 200 <= head.status <= 599
        for name, value in head.headers:
            assert not set(name + value) & {"\r", "\n", "\0"}
        self.endings += end

    def on_data(self, data: bytes, end: bool) -> None:
        self.endings += end

    def on_error(self, error: object) -> None:
        self.endings += 1

    def on_lost(self, error: object) -> None:
        self.endings += 1


class Transport:
    def set_write_buffer_limits(self, high: int) -> None: ...
    def get_extra_info(self, name: str) -> None: ...

    def get_write_buffer_size(self) -> int:
        return 0

    def is_closing(self) -> bool:
        return False

    def write(self, data: bytes) -> None: ...
    def abort(self) -> None: ...
    def pause_reading(self) -> None: ...
    def resume_reading(self) -> None: ...


def converse(conversation: tuple[bytes, list[int]]) -> None:
    data, cuts = conversation
    events, calls = Listener(), [Listener() for _ in range(OPEN_CALLS)]
    channel = Channel(events)  # type: ignore[arg-type]
    channel.connection_made(Transport())  # type: ignore[arg-type]
    for call in calls:
        channel.call(b"{}", b"", True, call)  # type: ignore[arg-type]
    at = 0
    for size in [*cuts, len(data)]:
        if not channel.open:
            break
        channel.data_received(data[at : at + size])
        at += size
        assert len(channel._parser._buffer) <= frames.MAX_PAYLOAD + frames.HEADER_SIZE
    channel.connection_lost(None)
    assert len(events.broken) == 1 or (events.failed and not events.broken), "the end is told once"
    channel.close()  # as the box does, which has heard why
    assert [call.endings for call in calls] == [1] * OPEN_CALLS


@pytest.mark.timeout(SECONDS + 120)
def test_frames() -> None:
    assert fuzz(conversations, converse) > 0
