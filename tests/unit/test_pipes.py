"""From what an instance prints to lines of log."""

from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dayfly.sandbox.node.messages import Line
from dayfly.sandbox.node.pipes import LINE_LIMIT, Bucket, LineSplitter, Tap
from dayfly.testing.clock import FakeClock, settle

ONE, TWO = "1" * 32, "2" * 32


def mark(invocation: str) -> bytes:
    return b"\x1e" + invocation.encode() + b"\n"


def lines_of(*pieces: bytes, rate: float = 1e9, burst: float = 1e9) -> list[Line]:
    clock = FakeClock()
    lines: list[Line] = []
    splitter = LineSplitter("stdout", Bucket(clock, rate, burst), clock, lines.append)
    for piece in pieces:
        splitter.feed(piece)
    splitter.flush()
    return lines


def tagged(*pieces: bytes) -> list[tuple[str, str]]:
    return [(line.invocation, line.text) for line in lines_of(*pieces)]


def test_lines_carry_the_last_mark() -> None:
    assert tagged(b"before\n" + mark(ONE) + b"a\nb\n" + mark(TWO) + b"c\n") == [
        ("", "before"),
        (ONE, "a"),
        (ONE, "b"),
        (TWO, "c"),
    ]


def test_a_mark_ends_the_unfinished_line_of_the_call_before() -> None:
    assert tagged(mark(ONE) + b"no end" + mark(TWO) + b"next\n") == [(ONE, "no end"), (TWO, "next")]


def test_the_mark_of_no_call_takes_the_tag_away() -> None:
    assert tagged(mark(ONE) + b"a\n" + mark("0" * 32) + b"b\n") == [(ONE, "a"), ("", "b")]


@pytest.mark.parametrize("text", [b"\x1e", b"\x1e123", b"\x1e" + b"G" * 32, b"\x1e" + b"1" * 33, b"1" * 32])
def test_what_only_looks_like_a_mark_is_text(text: bytes) -> None:
    assert tagged(text + b"\n") == [("", text.decode())]


def test_control_characters_and_broken_utf8_are_kept_as_data() -> None:
    assert tagged(b"\x1b[31m\x00\r\n", b"\xff\n") == [("", "\x1b[31m\x00\r"), ("", "\ufffd")]


def test_a_long_line_is_cut_and_says_by_how_much() -> None:
    (line,) = lines_of(b"x" * 5000, b"x" * 5000, b"\n")
    assert line.text == "x" * LINE_LIMIT + f" ... [{10_000 - LINE_LIMIT} bytes of this line cut]"


@given(st.lists(st.binary(max_size=60), max_size=20))
def test_cutting_the_stream_anywhere_changes_nothing(pieces: list[bytes]) -> None:
    assert tagged(*pieces) == tagged(b"".join(pieces))


def test_over_the_rate_lines_are_dropped_and_counted() -> None:
    clock = FakeClock()
    lines: list[Line] = []
    bucket = Bucket(clock, rate=1000, burst=2000)
    splitter = LineSplitter("stdout", bucket, clock, lines.append)
    for _ in range(100):
        splitter.feed(b"x" * 68 + b"\n")  # 100 bytes each, with what a line costs
    assert len(lines) == 20
    splitter.feed(b"lost, too\n")
    clock.advance(0.3)
    splitter.feed(b"after\n")
    assert [line.text for line in lines[20:]] == [
        f"{80 * 100 + 9 + 32} bytes of output dropped: more than 1000 a second",
        "after",
    ]
    assert [line.stream for line in lines[20:]] == ["platform", "stdout"]


@pytest.mark.anyio
async def test_a_line_without_end_is_shown_after_a_while() -> None:
    clock = FakeClock()
    lines: list[Line] = []
    bucket = Bucket(clock)
    read, write = os.pipe2(os.O_NONBLOCK)
    tap = Tap(read, LineSplitter("stderr", bucket, clock, lines.append), bucket, clock)
    os.write(write, b"continue? ")
    await settle()
    assert lines == []
    clock.advance(1.0)
    assert [line.text for line in lines] == ["continue? "]
    os.write(write, b"rest")
    os.close(write)
    tap.close()
    assert [line.text for line in lines] == ["continue? ", "rest"]
    tap.close()
