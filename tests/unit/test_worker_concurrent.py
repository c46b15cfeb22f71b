"""Several calls at a time in one Python instance."""

from __future__ import annotations

from pathlib import Path

import pytest
from instance import PYTHON, running, write_files

MEET_THREADS = """
import threading
from dayfly_sdk import Response
meet = threading.Barrier(3)

def handler(event, context):
    if event == "async":
        return later()
    meet.wait()
    print(event)
    return [event, context.invocation_id[-1]]

async def later():
    return "later"
"""

MEET_TASKS = """
import asyncio
waiting = []

async def handler(event, context):
    if event == "count":
        return len(waiting)
    if event == "for ever":
        waiting.append(1)
        try:
            await asyncio.Event().wait()
        finally:
            waiting.pop()
    if event == "stubborn":
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            return "all the same"
    waiting.append(asyncio.get_running_loop().create_future())
    if len(waiting) == 3:
        for future in waiting:
            future.set_result(None)
        waiting.clear()
    else:
        await waiting[-1]
    print(event)
    return [event, context.invocation_id[-1]]
"""


@pytest.mark.parametrize("source", [MEET_THREADS, MEET_TASKS])
def test_calls_overlap_and_each_gets_its_own_answer(source: str, tmp_path: Path) -> None:
    write_files(tmp_path, {"handler.py": source})
    with running(PYTHON, tmp_path, concurrency=3) as instance:
        link = instance.connect()
        link.ready()
        for first in (1, 4):
            streams = [link.begin(body) for body in (b'"a"', b'"b"')]
            late = link.begin(b'"', end=False)
            link.send(late, b'c"', end=True)
            answers = link.answer(*streams, late)
            assert [a.json for a in answers] == [["a", str(first)], ["b", str(first + 1)], ["c", str(first + 2)]]
        lines = instance.log().split("\n")
    for number, letter in enumerate("abcabc", start=1):
        assert lines[lines.index(f"\x1e{number:032x}") + 1] == letter


def test_a_plain_handler_may_return_an_awaitable(tmp_path: Path) -> None:
    write_files(tmp_path, {"handler.py": MEET_THREADS})
    with running(PYTHON, tmp_path, concurrency=3) as instance:
        link = instance.connect()
        link.ready()
        assert link.call("async").body == b"later"


def test_a_cancelled_task_stops(tmp_path: Path) -> None:
    write_files(tmp_path, {"handler.py": MEET_TASKS})
    with running(PYTHON, tmp_path, concurrency=3) as instance:
        link = instance.connect()
        link.ready()
        stream = link.begin(b'"for ever"')
        assert link.call("count").json == 1
        link.cancel(stream)
        assert link.answer(stream).error == {"type": "Cancelled", "message": "the call was cancelled", "trace": []}
        assert link.call("count").json == 0
        stream = link.begin(b'"stubborn"')
        assert link.call("count").json == 0
        link.cancel(stream)
        assert link.answer(stream).body == b"all the same"
        stream = link.begin(b"1", end=False)  # before its body has come
        link.cancel(stream)
        assert link.answer(stream).error["type"] == "Cancelled"
        stream = link.begin(b'"for ever"')
        link.cancel(stream)  # possibly before its task has begun
        assert link.answer(stream).error["type"] == "Cancelled"
        assert instance.log("stderr") == ""


@pytest.mark.parametrize("source", [MEET_THREADS, MEET_TASKS])
def test_a_gateway_that_restarts_leaves_no_call_behind(source: str, tmp_path: Path) -> None:
    write_files(tmp_path, {"handler.py": source})
    with running(PYTHON, tmp_path, concurrency=3) as instance:
        link = instance.connect()
        ready = link.ready()
        link.begin(b"1", end=False)
        link.begin(b"2")
        link.close()
        link = instance.connect()
        assert link.ready() == ready


@pytest.mark.parametrize(
    "source",
    [
        "def handler(request, context):\n    yield 'begun'\n    yield from request.chunks()\n",
        "async def handler(request, context):\n    yield 'begun'\n    for chunk in request.chunks():\n        yield chunk\n",
    ],
)
def test_streams_side_by_side(source: str, tmp_path: Path) -> None:
    write_files(tmp_path, {"handler.py": source})
    http = {"method": "POST", "path": "/", "query": "", "headers": []}
    with running(PYTHON, tmp_path, concurrency=2, flavour="http") as instance:
        link = instance.connect()
        link.ready()
        one, two = link.begin(b"1", end=False, http=http), link.begin(b"2", end=False, http=http)
        link.send(two, b"x", end=True)
        link.send(one, b"y", end=True)
        first, second = link.answer(one, two)
        assert (first.body, second.body) == (b"begun1y", b"begun2x")


def test_a_failing_call_does_not_disturb_the_others(tmp_path: Path) -> None:
    write_files(tmp_path, {"handler.py": "async def handler(event, context):\n    return 1 / event\n"})
    with running(PYTHON, tmp_path, concurrency=2) as instance:
        link = instance.connect()
        link.ready()
        bad, good = link.answer(link.begin(b"0"), link.begin(b"1"))
        assert bad.error["type"] == "ZeroDivisionError"
        assert good.json == 1.0
