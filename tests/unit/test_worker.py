"""The Python runtime: life of an instance, what a handler gets, and the same behaviour on every interpreter."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest
from instance import PYTHON, interpreters, running, write_files

from dayfly.sandbox import frames

EVERYTHING = """
import asyncio, logging, sys
from dayfly_sdk import Response

async def handler(event, context):
    print("got", event)
    what = event.get("what")
    if what == "fail":
        raise ValueError("no \\u00e9toile")
    if what == "response":
        return Response({"a": 1}, 201, {"X-One": ["1", "2"]})
    if what == "set":
        return {"a": [1, {2}]}
    await asyncio.sleep(0)
    context.logger.info("logged")
    return [event, context.revision, list(sys.version_info[:2])]

def stream(event, context):
    yield {"n": 1}
    yield {"n": 2}
"""


@pytest.mark.parametrize("version", interpreters())
def test_every_interpreter_keeps_the_contract(version: str, tmp_path: Path) -> None:
    write_files(tmp_path, {"pkg/main.py": EVERYTHING})
    command = [interpreters()[version], *PYTHON[1:]]
    with running(command, tmp_path, handler="pkg/main.handler") as instance:
        link = instance.connect()
        assert 0 < link.ready()["init_s"] < 30
        answer = link.call({"x": "ü"})
        assert answer.json == [{"x": "ü"}, 7, [int(part) for part in version.split(".")]]
        assert answer.head is not None
        assert answer.head["cpu_us"] > 0
        assert answer.head["rss_kb"] > 1000
        failed = link.call({"what": "fail"})
        assert failed.error == {
            "type": "ValueError",
            "message": "no étoile",
            "trace": ['File "pkg/main.py", line 9, in handler\n    raise ValueError("no \\u00e9toile")'],
        }
        answer = link.call({"what": "response"})
        assert (answer.status, answer.json) == (201, {"a": 1})
        assert answer.headers == [("x-one", "1"), ("x-one", "2"), ("content-type", "application/json")]
        assert 'result["a"][1] is of type set' in link.call({"what": "set"}).refused
        log = instance.log("stderr")
    assert log.startswith(f"\x1e{1:032x}\nINFO logged\n\x1e{2:032x}\nTraceback")
    assert instance.output["stdout"].decode().startswith(f"\x1e{1:032x}\ngot {{'x': 'ü'}}\n\x1e{2:032x}\n")
    with running(command, tmp_path, handler="pkg.main.stream") as instance:
        link = instance.connect()
        link.ready()
        assert link.call().pieces == [b'{"n":1}\n', b'{"n":2}\n', b""]


def test_the_environment_is_the_functions_own(tmp_path: Path) -> None:
    write_files(
        tmp_path,
        {
            "handler.py": "import os, sys, random, time\n"
            "def handler(event, context):\n"
            "    return [dict(os.environ), os.getcwd(), [sys.path[0], sys.path[-1]], random.random(), time.tzname[0]]\n"
        },
    )
    env = {"PASSWORD": "x", "TZ": "CET-1"}
    seen = []
    for _ in range(2):
        with running(PYTHON, tmp_path, env=env, deps_roots=["/deps"]) as instance:
            link = instance.connect()
            link.ready()
            environ, cwd, path, number, zone = link.call().json
        seen.append(number)
        assert cwd == path[0] == str(tmp_path)
        assert path[1] == "/deps"
        assert zone == "CET"
        assert environ.pop("PATH")
        assert environ.pop("HOME") == environ.pop("TMPDIR")
        assert environ == {
            "LANG": "C.UTF-8",
            "DAYFLY_FUNCTION": "demo",
            "DAYFLY_NAMESPACE": "default",
            "DAYFLY_REVISION": "7",
            "DAYFLY_MEMORY_MB": "256",
            "DAYFLY_INSTANCE": "f" * 32,
            **env,
        }
    assert seen[0] != seen[1]


def test_user_modules_and_ours_never_meet(tmp_path: Path) -> None:
    names = ["errors", "context", "output", "frames", "reply", "call", "queue", "token", "json"]
    files = {f"{name}.py": f"mine = {name!r}\n" for name in names[:-1]}
    files["json/data.txt"] = "a folder that is no package does not hide the standard library"
    files["handler.py"] = "\n".join(f"import {n}" for n in names) + (
        "\ndef handler(event, context):\n"
        "    import queue as late\n"
        "    return [errors.mine, context.function, frames.mine, queue.mine, late.mine, token.mine, json.dumps([])]\n"
    )
    write_files(tmp_path, files)
    with running(PYTHON, tmp_path) as instance:
        link = instance.connect()
        link.ready()
        assert link.call().json == ["errors", "demo", "frames", "queue", "queue", "token", "[]"]


def test_the_context_tells_all_about_the_call(tmp_path: Path) -> None:
    write_files(
        tmp_path,
        {
            "handler.py": "def handler(event, c):\n"
            "    assert 0 < c.get_remaining_time_in_millis() <= c.remaining() * 1000 + 50\n"
            "    return [c.invocation_id, c.function, c.namespace, c.revision, c.deadline, c.memory_limit_mb,\n"
            "            c.trace_parent, c.attempt, c.cause, c.depth, c.client, 0 < c.remaining() <= 60]\n"
        },
    )
    with running(PYTHON, tmp_path) as instance:
        link = instance.connect()
        link.ready()
        answer = link.call(id="a" * 32, attempt=2, cause="b" * 32, trace="00-1-2-01", depth=3, client="{}").json
        assert answer[:4] == ["a" * 32, "demo", "default", 7]
        assert answer[5:] == [256, "00-1-2-01", 2, "b" * 32, 3, "{}", True]
        assert link.call().json[6:11] == ["", 1, "", 0, ""]


def test_calls_sent_before_ready_are_answered(tmp_path: Path) -> None:
    write_files(tmp_path, {"handler.py": "def handler(event, context):\n    return event\n"})
    with running(PYTHON, tmp_path) as instance:
        link = instance.connect()
        stream = link.begin(b"[1]")
        link.ready()
        assert link.answer(stream).json == [1]


def test_a_gateway_that_restarts_finds_the_instance_warm(tmp_path: Path) -> None:
    write_files(tmp_path, {"handler.py": "n = 0\ndef handler(event, c):\n    global n\n    n += 1\n    return n\n"})
    with running(PYTHON, tmp_path) as instance:
        first = instance.connect()
        ready = first.ready()
        assert first.call().json == 1
        first.begin(b"{")  # half a word, then silence
        first.close()
        second = instance.connect()
        assert second.ready() == ready
        assert second.call().json == 2


def test_bodies_of_any_size_pass(tmp_path: Path) -> None:
    write_files(tmp_path, {"handler.py": "def handler(event, context):\n    return event\n"})
    with running(PYTHON, tmp_path) as instance:
        link = instance.connect()
        link.ready()
        for size in (0, 1, 65_000, 65_536, 300_000, 3_000_000):
            assert link.call("x" * size).body == b"x" * size
        stream = link.begin(b'["one', end=False)  # and in pieces
        for piece in (b"", b' two"', b""):
            link.send(stream, piece, end=False)
        link.send(stream, b"]", end=True)
        assert link.answer(stream).json == ["one two"]
        stream = link.begin(end=False)
        link.send(stream, b"1" * (1 << 20) + b"2", end=True)
        assert link.answer(stream).status == 400  # a number of a million digits


def test_a_rest_of_a_body_that_nobody_read_does_not_disturb_the_next_call(tmp_path: Path) -> None:
    write_files(tmp_path, {"handler.py": "def handler(request, context):\n    return request.method\n"})
    with running(PYTHON, tmp_path, flavour="http") as instance:
        link = instance.connect()
        link.ready()
        http = {"method": "PUT", "path": "/", "query": "", "headers": []}
        stream = link.begin(b"early", end=False, http=http)
        assert link.answer(stream).body == b"PUT"
        link.send(stream, b"late" * 100_000, end=False)
        assert link.http("GET").body == b"GET"


def test_malformed_json_is_the_callers_fault(tmp_path: Path) -> None:
    write_files(tmp_path, {"handler.py": "def handler(event, context):\n    return event\n"})
    with running(PYTHON, tmp_path) as instance:
        link = instance.connect()
        link.ready()
        for body in (b"{", b"\xff", b"NaN", b"[" * 100_000, b'{"a":1}}'):
            answer = link.call(body)
            assert answer.status == 400
            assert answer.content_type == "application/problem+json"
            assert "the event is not JSON" in answer.json["detail"]
        assert link.call().json == {}


def test_leaving_in_the_middle_ends_the_instance(tmp_path: Path) -> None:
    write_files(tmp_path, {"handler.py": "import sys\ndef handler(event, context):\n    sys.exit(3)\n"})
    with running(PYTHON, tmp_path) as instance:
        link = instance.connect()
        link.ready()
        link.begin()
        with pytest.raises(EOFError):
            link.frame()
        assert instance.exit_status() == 3
        assert "the handler called sys.exit(3)" in instance.log("stderr")


def test_a_forked_child_does_not_answer_in_its_parents_name(tmp_path: Path) -> None:
    write_files(
        tmp_path,
        {
            "handler.py": "import os\ndef handler(event, c):\n    pid = os.fork()\n    if pid: os.waitpid(pid, 0)\n    return os.getpid()\n"
        },
    )
    with running(PYTHON, tmp_path) as instance:
        link = instance.connect()
        link.ready()
        assert link.call().json == instance.process.pid
        assert link.call().json == instance.process.pid


def test_leaked_threads_and_interrupts_do_not_stop_the_loop(tmp_path: Path) -> None:
    write_files(
        tmp_path,
        {
            "handler.py": "import threading\n"
            "def handler(event, context):\n"
            "    threading.Thread(target=threading.Event().wait).start()\n"
            "    if event: raise KeyboardInterrupt('now')\n"
            "    return threading.active_count()\n"
        },
    )
    with running(PYTHON, tmp_path) as instance:
        link = instance.connect()
        link.ready()
        assert link.call().json == 2
        error = link.call(1).error
        assert error is not None
        assert (error["type"], error["message"]) == ("KeyboardInterrupt", "now")
        assert link.call().json == 4


def test_a_handler_that_closes_every_descriptor_hurts_only_itself(tmp_path: Path) -> None:
    write_files(
        tmp_path, {"handler.py": "import os\ndef handler(event, c):\n    os.closerange(0, 100)\n    print(1)\n    return 1\n"}
    )
    with running(PYTHON, tmp_path) as instance:
        link = instance.connect()
        link.ready()
        link.begin()
        with pytest.raises(EOFError):
            link.frame()
        assert instance.exit_status() == 0


def test_an_instance_of_one_call_ignores_a_cancellation(tmp_path: Path) -> None:
    write_files(tmp_path, {"handler.py": "def handler(event, context):\n    return event\n"})
    with running(PYTHON, tmp_path) as instance:
        link = instance.connect()
        link.ready()
        link.cancel(99)
        assert link.call([1]).json == [1]


def test_a_large_frame_does_not_keep_its_buffer(tmp_path: Path) -> None:
    write_files(tmp_path, {"handler.py": "def handler(event, c):\n    return open('/proc/self/statm').read()\n"})
    with running(PYTHON, tmp_path) as instance:
        link = instance.connect()
        link.ready()
        before = int(link.call().body.split()[1])
        body = json.dumps("x" * (1 << 20)).encode()[: frames.MAX_PAYLOAD - 2] + b'"'
        for _ in range(5):
            link.sock.sendall(
                frames.encode(frames.REQUEST, 50, json.dumps({"id": "c" * 32, "deadline": 1}).encode())
                + frames.encode(frames.DATA | frames.END, 50, body)
            )
            assert link.answer(50).status == 200
        after = int(link.call().body.split()[1])
        assert (after - before) * os.sysconf("SC_PAGE_SIZE") < 1_500_000


def test_an_interrupt_from_outside_is_an_error_of_the_call(tmp_path: Path) -> None:
    write_files(
        tmp_path,
        {
            "handler.py": "import os, signal\n"
            f"def handler(event, context):\n    os.kill(os.getpid(), {signal.SIGINT.value})\n    return 1\n"
        },
    )
    with running(PYTHON, tmp_path) as instance:
        link = instance.connect()
        link.ready()
        error = link.call().error
        assert error is not None
        assert error["type"] == "KeyboardInterrupt"


@pytest.mark.parametrize("concurrency", [1, 2])
@pytest.mark.parametrize("flavour", ["event", "http"])
def test_half_a_body_never_passes_for_a_whole_one(concurrency: int, flavour: str, tmp_path: Path) -> None:
    write_files(
        tmp_path,
        {
            "handler.py": "def handler(request, context):\n"
            "    whole = request if isinstance(request, list) else request.body\n"
            "    print('whole', whole)\n"
        },
    )
    with running(PYTHON, tmp_path, concurrency=concurrency, flavour=flavour) as instance:
        http = {"method": "PUT", "path": "/", "query": "", "headers": []}
        link = instance.connect()
        link.ready()
        stream = link.begin(b"[1", end=False, http=http)
        link.cancel(stream)
        error = link.answer(stream).error
        assert error["type"] == "ConnectionResetError"
        assert error["message"] == "the client went away before the body of its request was complete"
        link.begin(b"[2", end=False, http=http)
        link.close()
        link = instance.connect()
        link.ready()
        assert link.call([3], http=http).error is None
        out = instance.log()
    assert out.count("whole") == 1
    assert "whole [3]" in out or "whole b'[3]'" in out
