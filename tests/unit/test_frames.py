"""The gateway's end of the frame protocol: round trips, and anything an instance might send instead."""

from __future__ import annotations

import json
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dayfly.errors import BadResponse, DayflyError, InitFailed
from dayfly.model.call import FunctionError
from dayfly.sandbox import frames
from dayfly.sandbox.channel import Channel, check_headers
from dayfly.sandbox.frames import MAX_PAYLOAD, Parser, ProtocolViolation
from dayfly.sandbox.port import Ready, ResponseHead

KINDS = [frames.DATA, frames.RESPONSE, frames.ERROR, frames.READY, frames.FAILED, frames.REFUSED]


class Transport:
    def __init__(self) -> None:
        self.written = b""
        self.aborted = False

    def get_extra_info(self, name: str) -> None: ...

    def get_write_buffer_size(self) -> int:
        return 0

    def is_closing(self) -> bool:
        return self.aborted

    def write(self, data: bytes) -> None:
        self.written += data

    def abort(self) -> None:
        self.aborted = True

    def set_write_buffer_limits(self, high: int) -> None: ...

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...


class Owner:
    def __init__(self) -> None:
        self.ready = 0
        self.failed: list[InitFailed] = []
        self.broken: list[str] = []

    def on_ready(self, ready: Ready) -> None:
        self.ready += 1

    def on_failed(self, error: DayflyError) -> None:
        self.failed.append(error)

    def on_broken(self, violation: str) -> None:
        self.broken.append(violation)


class Client:
    def __init__(self) -> None:
        self.head: ResponseHead | None = None
        self.body = b""
        self.endings: list[object] = []

    def on_response(self, head: ResponseHead, body: bytes, end: bool) -> None:
        assert self.head is None
        assert not self.endings
        self.head, self.body = head, body
        if end:
            self.endings.append("end")

    def on_data(self, data: bytes, end: bool) -> None:
        assert self.head is not None
        assert not self.endings
        self.body += data
        if end:
            self.endings.append("end")

    def on_error(self, error: FunctionError) -> None:
        self.endings.append(error)

    def on_lost(self, error: DayflyError) -> None:
        self.endings.append(error)


def channel() -> tuple[Channel, Transport, Owner]:
    owner, transport = Owner(), Transport()
    made = Channel(owner)
    made.connection_made(transport)  # type: ignore[arg-type]
    return made, transport, owner


@given(
    sent=st.lists(
        st.tuples(st.sampled_from(KINDS), st.booleans(), st.integers(0, 2**32 - 1), st.binary(max_size=200)), max_size=20
    ),
    cuts=st.lists(st.integers(0, 4000), max_size=10),
)
def test_frames_come_out_as_they_went_in_however_they_are_cut(
    sent: list[tuple[int, bool, int, bytes]], cuts: list[int]
) -> None:
    data = b"".join(frames.encode(kind | (frames.END if end else 0), stream, payload) for kind, end, stream, payload in sent)
    parser = Parser()
    received = []
    at = 0
    for cut in [*sorted(cut for cut in cuts if cut < len(data)), len(data)]:
        received += parser.feed(data[at:cut])
        at = cut
    assert received == [(kind | (frames.END if end else 0), stream, payload) for kind, end, stream, payload in sent]


@pytest.mark.parametrize("size", [0, 1, frames.CHUNK, frames.CHUNK + 1, 3 * frames.CHUNK])
def test_a_call_carries_its_whole_body(size: int) -> None:
    body = bytes(i % 251 for i in range(size))
    data = frames.encode_call(7, b"{}", body, True)
    at, parts = 0, []
    while at < len(data):
        length, stream, kind = struct.unpack_from("<IIB", data, at)
        assert stream == 7
        assert length <= MAX_PAYLOAD
        parts.append((kind, data[at + 9 : at + 9 + length]))
        at += 9 + length
    assert parts[0][1] == b"{}"
    assert b"".join(payload for _, payload in parts[1:]) == body
    assert [bool(kind & frames.END) for kind, _ in parts] == [False] * (len(parts) - 1) + [True]


@settings(max_examples=400)
@given(
    st.lists(
        st.one_of(
            st.binary(max_size=60),
            st.builds(
                lambda kind, end, stream, payload: frames.encode(kind | (frames.END if end else 0), stream, payload),
                st.integers(0, 127),
                st.booleans(),
                st.integers(0, 5),
                st.one_of(
                    st.binary(max_size=40),
                    st.sampled_from(
                        [b"{}", b'{"status":200}', b'{"status":99}', b'{"type":"E","message":"m"}', b'{"init_s":1}', b"[" * 50]
                    ),
                ),
            ),
        ),
        max_size=12,
    )
)
def test_whatever_an_instance_sends_every_call_ends_once_and_nothing_else_is_harmed(pieces: list[bytes]) -> None:
    made, transport, owner = channel()
    clients = [Client() for _ in range(3)]
    for client in clients:
        made.call(b"{}", b"", True, client)
    for piece in pieces:
        if transport.aborted:
            break
        made.data_received(piece)
    assert transport.aborted == bool(owner.broken)
    made.lose(DayflyError("over"))
    assert all(len(client.endings) == 1 for client in clients)


def answer(stream: int, head: object, kind: int = frames.RESPONSE, end: bool = True) -> bytes:
    return frames.encode(kind | (frames.END if end else 0), stream, json.dumps(head).encode())


@pytest.mark.parametrize(
    "data",
    [
        struct.pack("<IIB", 0xFFFFFFFF, 1, frames.RESPONSE),
        struct.pack("<IIB", MAX_PAYLOAD + 1, 1, frames.DATA),
        frames.encode(0, 1),
        frames.encode(frames.REQUEST, 1),
        frames.encode(frames.CANCEL, 0),
        frames.encode(frames.DATA, 1, b"before the head"),
        answer(9, {}),
        answer(1, {}) + answer(1, {}),
        answer(1, {"status": 99}),
        answer(1, {"status": "x"}),
        answer(1, {"headers": [["a b", "c"]]}),
        answer(1, {"headers": [["a", "b\r\nset-cookie: x"]]}),
        answer(1, {"headers": [["a", "b"]] * 300}),
        frames.encode(frames.RESPONSE, 1, b"not json"),
        answer(1, {"init_s": 1}, frames.READY),
    ],
)
def test_violations_break_the_connection(data: bytes) -> None:
    made, transport, owner = channel()
    made.call(b"{}", b"", True, Client())
    made.data_received(data)
    assert transport.aborted
    assert len(owner.broken) == 1
    assert owner.broken[0]


def test_a_refused_answer_is_the_callers_and_the_instance_lives_on() -> None:
    made, transport, _ = channel()
    client = Client()
    made.call(b"{}", b"", True, client)
    made.data_received(answer(1, {"message": "result[0] is a set"}, frames.REFUSED))
    assert isinstance(client.endings[0], BadResponse)
    assert not transport.aborted


def test_failing_to_load_ends_all_calls_with_file_and_line() -> None:
    made, _, owner = channel()
    client = Client()
    made.call(b"{}", b"", True, client)
    made.data_received(answer(0, {"type": "SyntaxError", "message": "x", "file": "handler.py", "line": 3}, frames.FAILED))
    assert owner.failed[0].members["line"] == 3
    assert client.endings == [owner.failed[0]]


def test_headers_of_the_connection_and_the_platform_are_not_the_functions() -> None:
    kept = check_headers((("X-A", " b "), ("Transfer-Encoding", "chunked"), ("dayfly-cold", "no"), ("Content-Length", "1")))
    assert kept == (("x-a", "b"),)
    with pytest.raises(ProtocolViolation):
        check_headers((("a:", "b"),))


def test_calls_before_the_connection_stands_are_sent_with_it() -> None:
    owner, transport = Owner(), Transport()
    made = Channel(owner)
    made.call(b'{"id":1}', b"x", True, Client())
    assert transport.written == b""
    made.connection_made(transport)  # type: ignore[arg-type]
    assert transport.written == frames.encode_call(1, b'{"id":1}', b"x", True)
