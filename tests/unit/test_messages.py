"""The conversation between server and node agent, as bytes."""

from __future__ import annotations

import struct

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dayfly.sandbox.node import messages as m
from dayfly.sandbox.port import BoxSpec

SPEC = BoxSpec(id="0" * 32, namespace="n", function="f", revision=1, runtime="python3.11", handler="a.b", env={"K": "ü"})

REQUESTS = [m.Hello(1, "namespace", 7), m.Create(SPEC), m.Destroy("x", 0.5), m.Pause(1, "x"), m.Shutdown(9)]


@given(st.lists(st.integers(1, 40), max_size=40))
def test_messages_survive_any_cutting_of_the_stream(cuts: list[int]) -> None:
    data = b"".join(map(m.pack, REQUESTS))
    splitter = m.Splitter()
    got = []
    for size in cuts:
        got += splitter.feed(data[:size])
        data = data[size:]
    got += splitter.feed(data)
    assert [m.decode_request(message) for message in got] == REQUESTS


def test_a_message_over_the_limit_is_refused_before_it_is_kept() -> None:
    splitter = m.Splitter()
    with pytest.raises(m.MalformedMessage, match="over the limit"):
        splitter.feed(struct.pack("<I", m.MAX_MESSAGE + 1))


@given(st.binary(max_size=200))
def test_noise_is_no_message(noise: bytes) -> None:
    with pytest.raises(msgspec.DecodeError):
        m.decode_request(noise)


def test_a_server_cannot_say_what_an_agent_says() -> None:
    (event,) = m.Splitter().feed(m.pack(m.Exited("x", "asked")))
    assert m.decode_event(event) == m.Exited("x", "asked")
    with pytest.raises(msgspec.ValidationError):
        m.decode_request(event)
