"""One suite over every implementation of the sandbox port (`sandbox/port.py` states the guarantees)."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path

import pytest

from dayfly.errors import InitFailed, InstanceDied, Unavailable
from dayfly.model.call import FunctionError
from dayfly.model.function import Mount
from dayfly.sandbox import frames
from dayfly.sandbox.node.interpreters import runtimes
from dayfly.sandbox.node.processes import family
from dayfly.sandbox.node.wrap import OWN_KERNEL
from tests.support.machine import needs_node
from tests.support.sandboxes import (
    LIMIT,
    SOURCE,
    WRAPPED,
    Answer,
    Place,
    ask,
    call,
    groups,
    head,
)

pytestmark = pytest.mark.anyio

BOOTSTRAP = """#!/usr/bin/python3
import http.server, json, os
class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        answer = json.dumps({"path": self.path, "body": json.loads(body)}).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)
http.server.HTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
"""

# --- calls ----------------------------------------------------------------------------------------------------------


async def test_an_instance_gets_ready_and_answers(anywhere: Place) -> None:
    box, events = await anywhere.ready("echo")
    assert 0 <= events.ready.result().init_s < LIMIT
    assert await ask(box, {"a": [1, "ü"]}) == {"a": [1, "ü"]}
    assert await ask(box, ["again"]) == ["again"]


async def test_a_call_may_be_sent_before_the_instance_is_ready(anywhere: Place) -> None:
    box, events = anywhere.create("echo")
    assert await ask(box, 1) == 1
    assert events.ready.done()


async def test_http_calls_carry_method_path_query_headers_and_status(anywhere: Place) -> None:
    box, _ = await anywhere.ready("raw", flavour="http")
    answer = Answer()
    http = {"method": "PUT", "path": "/a%20b", "query": "x=1&x=2", "headers": [["x-give", "back"]]}
    box.call(head(http=http), b"\x00\xff", True, answer)
    assert await answer.end() == b"PUT /a%20b?x=1&x=2 \x00\xff"
    assert answer.head is not None
    assert answer.head.status == 201
    assert ("x-seen", "back") in answer.head.headers


async def test_big_bodies_go_both_ways(anywhere: Place) -> None:
    box, _ = await anywhere.ready("size", flavour="http")
    answer = Answer()
    stream = box.call(head(http={"method": "POST", "path": "/", "query": "", "headers": []}), b"a" * 1000, False, answer)
    for _ in range(5):
        box.send(stream, b"b" * (1 << 20), False)
    box.send(stream, b"", True)
    assert json.loads(await answer.end()) == {"size": 1000 + 5 * (1 << 20)}
    other, _ = await anywhere.ready("big")
    assert await call(other, 5_000_000).end() == b"x" * 5_000_000


async def test_a_generator_streams(anywhere: Place) -> None:
    box, _ = await anywhere.ready("stream")
    assert await call(box, 100).end() == b"".join(b"%d\n" % number for number in range(100))


async def test_the_first_piece_of_a_stream_does_not_wait_for_the_last(anywhere: Place) -> None:
    box, _ = await anywhere.ready("stream_slowly")
    answer = call(box)
    await asyncio.wait_for(answer.first.wait(), LIMIT)
    assert answer.pieces in ([], [b"first\n"])
    await box.destroy()
    assert isinstance(await answer.end(), InstanceDied)


async def test_held_back_answers_come_when_released(anywhere: Place) -> None:
    box, _ = await anywhere.ready("echo")
    box.hold()
    answer = call(box, 5)
    box.release()
    assert await answer.end() == b"5"


async def test_what_user_code_raises_is_data_and_the_instance_lives(anywhere: Place) -> None:
    box, _ = await anywhere.ready("fails")
    for _ in range(2):
        error = await call(box).end()
        assert isinstance(error, FunctionError)
        assert (error.type, error.message) == ("ValueError", "no such luck")
        assert "handlers.py" in error.trace[-1]


async def test_two_calls_run_at_the_same_time_at_concurrency_two(anywhere: Place) -> None:
    box, _ = await anywhere.ready("meets", concurrency=2)
    assert await asyncio.gather(ask(box, 1), ask(box, 2)) == [[1, 2], [1, 2]]


async def test_a_cancelled_call_ends_and_the_instance_lives(anywhere: Place) -> None:
    box, _ = await anywhere.ready("meets", concurrency=2)
    answer = Answer()
    stream = box.call(head(), b"1", True, answer)
    await asyncio.sleep(0)
    box.cancel(stream)
    error = await answer.end()
    assert isinstance(error, FunctionError)
    assert error.type == "Cancelled"


# --- ends -----------------------------------------------------------------------------------------------------------


async def test_code_that_does_not_load_names_file_and_line(anywhere: Place) -> None:
    box, events = anywhere.create("broken.handler")
    waiting = call(box, events=events)
    error = (await events.gone()).error
    assert isinstance(error, InitFailed)
    assert "KeyError" in error.detail
    assert error.members["line"] == 5
    assert str(error.members["file"]).endswith("broken.py")
    assert isinstance(await waiting.end(), InitFailed)
    assert not waiting.lost_after_exit


async def test_a_missing_handler_says_what_there_is(anywhere: Place) -> None:
    _, events = anywhere.create("handlers.nothing")
    error = (await events.gone()).error
    assert isinstance(error, InitFailed)
    assert "echo" in error.detail


async def test_a_handler_that_exits_ends_its_instance_alone(anywhere: Place) -> None:
    neighbour, _ = await anywhere.ready("echo")
    box, events = await anywhere.ready("exits")
    answer = call(box, events=events)
    error = (await events.gone()).error
    assert isinstance(error, InstanceDied)
    assert "exit status 3" in error.detail
    assert await answer.end() is error
    assert not answer.lost_after_exit
    assert await ask(neighbour, 1) == 1


async def test_destroy_stops_a_call_that_never_returns(anywhere: Place) -> None:
    for handler in ("waits", "sleeps"):
        box, events = await anywhere.ready(handler)
        answer = call(box, events=events)
        await box.destroy()
        assert events.exit.result().error is None
        assert isinstance(await answer.end(), InstanceDied)
        assert not answer.lost_after_exit


async def test_a_dead_box_is_harmless(anywhere: Place) -> None:
    box, events = await anywhere.ready("echo")
    await asyncio.gather(box.destroy(), box.destroy())
    box.send(1, b"x", True)
    box.cancel(1)
    box.hold()
    box.release()
    await box.pause()
    await box.resume()
    assert (await box.stats()).pids == 0
    assert isinstance(await call(box).end(), InstanceDied)
    await box.destroy()
    assert events.exit.done()


# --- other languages ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("runtime", [name for name in runtimes() if name.startswith("python3.")])
async def test_every_python_of_this_machine_serves(node: Place, runtime: str) -> None:
    box, _ = await node.ready("version", runtime=runtime)
    assert await ask(box) == [int(part) for part in runtime.removeprefix("python").split(".")]


@needs_node
async def test_node_serves_with_a_large_environment(node: Place) -> None:
    (node.data / "packages" / SOURCE / "hello.js").write_text(
        "exports.handler = (event) => { console.log('hi'); return [event, process.env.LONG.length, process.env.SHORT]; };"
    )
    env = {"LONG": "l" * 200_000, "SHORT": "s"}
    for number in range(3):
        box, _ = await node.ready("hello.handler", runtime="nodejs", env=env, memory_mb=256)
        assert await ask(box, number) == [number, 200_000, "s"]
    await node.log(lambda lines: [line.text for line in lines].count("hi") == 3)


@needs_node
async def test_a_node_that_was_started_ahead_of_need_is_like_any_other(node: Place) -> None:
    if node.name in WRAPPED:
        pytest.skip("a sandbox that another program makes is finished when it starts: nothing waits in one")
    (node.data / "packages" / SOURCE / "look.js").write_text(
        "const fs = require('fs');"
        "exports.handler = () => [process.env.SECRET ?? null, fs.existsSync('/code/handlers.py'), process.getuid()];"
    )
    first, _ = await node.ready("look.handler", runtime="nodejs", memory_mb=256, env={"SECRET": "one"})
    spare = await _program_that_waits(node)
    second, events = await node.ready("look.handler", runtime="nodejs", memory_mb=128)
    assert (await second.stats()).pids == 1
    assert _alive(spare)
    jailed = node.name == "namespace"
    assert await ask(second) == [None, jailed, 1000 if jailed else os.getuid()]
    assert await ask(first) == ["one", jailed, 1000 if jailed else os.getuid()]
    await second.destroy()
    assert events.exit.result().error is None
    assert not _alive(spare)  # it was that very process


async def _program_that_waits(node: Place) -> int:
    """Process id of the Node that was started after the one that runs."""
    async with asyncio.timeout(LIMIT):
        while True:
            programs = [pid for pid in family(node.sandbox.agent_pid) if _program(pid).endswith("node")]  # type: ignore[attr-defined]
            if len(programs) == 2:
                return max(programs)
            await asyncio.sleep(0.01)


def _program(pid: int) -> str:
    try:
        return os.readlink(f"/proc/{pid}/exe")
    except OSError:
        return ""


async def test_any_program_that_serves_http_is_a_function(node: Place) -> None:
    bootstrap = node.data / "packages" / SOURCE / "bootstrap"
    bootstrap.write_text(BOOTSTRAP)
    bootstrap.chmod(0o755)
    box, _ = await node.ready("", runtime="provided")
    assert await ask(box, {"a": 1}) == {"path": "/", "body": {"a": 1}}
    await box.destroy()
    assert len(family(node.sandbox.agent_pid)) == 2  # type: ignore[attr-defined]


# --- ends, with processes -------------------------------------------------------------------------------------------


async def test_a_hard_exit_is_told_in_words(node: Place) -> None:
    box, events = await node.ready("exits_hard")
    call(box)
    error = (await events.gone()).error
    assert isinstance(error, InstanceDied)
    assert "exit status 4" in error.detail


async def test_a_death_by_signal_is_told_in_words(node: Place) -> None:
    box, events = await node.ready("kills_itself")
    call(box)
    error = (await events.gone()).error
    assert isinstance(error, InstanceDied)
    assert "killed by SIG" in error.detail


async def test_out_of_memory_is_told_from_other_deaths(jailed: Place) -> None:
    box, events = await jailed.ready("eats")
    call(box)
    gone = await events.gone()
    assert gone.oom
    assert gone.error is not None
    assert "out of memory: more than 64 MiB" in gone.error.detail
    assert gone.peak_kb > 32 << 10


async def test_code_that_takes_too_long_to_load_is_ended(node: Place) -> None:
    _, events = node.create("lazy.handler", init_timeout_s=0.3)
    error = (await events.gone()).error
    assert isinstance(error, InitFailed)
    assert "0.3 seconds" in error.detail


async def test_destroy_leaves_no_process_socket_or_folder(node: Place) -> None:
    box, _ = await node.ready("forks")
    before = set(family(node.sandbox.agent_pid))  # type: ignore[attr-defined]
    left = await ask(box)
    assert len(left) == 3
    await box.destroy()
    after = set(family(node.sandbox.agent_pid))  # type: ignore[attr-defined]
    assert after < before  # zygotes, and nothing else
    if node.name == "process":
        assert [pid for pid in left if _alive(pid)] == []
    assert list((node.data / "run" / "i").iterdir()) == []
    assert groups(box.spec.id) == []


async def test_an_unknown_runtime_says_what_there_is(node: Place) -> None:
    _, events = node.create("echo", runtime="python3.7")
    error = (await events.gone()).error
    assert isinstance(error, Unavailable)
    assert "python3.7 is not on this machine" in error.detail


async def test_a_missing_package_says_so(node: Place) -> None:
    _, events = node.create("echo", mounts=(Mount("code/gone", "/code"),))
    error = (await events.gone()).error
    assert isinstance(error, Unavailable)
    assert "code/gone is missing" in error.detail


@pytest.mark.parametrize(
    "forged",
    [
        frames.HEADER.pack(frames.MAX_PAYLOAD + 1, 1, frames.DATA),
        frames.encode(frames.RESPONSE | frames.END, 77, b"{}"),
        frames.encode(frames.REQUEST, 1, b"{}"),
        frames.encode(frames.RESPONSE | frames.END, 1, b"{not json"),
        frames.encode(frames.DATA | frames.END, 1, b"no head"),
        frames.encode(frames.RESPONSE, 1, b"{}") * 2,
        b"GET / HTTP/1.1\r\n\r\n" * 100,
    ],
    ids=["oversize", "wrong stream", "wrong kind", "no JSON", "no head", "twice", "not ours at all"],
)
async def test_forged_frames_end_that_instance_alone(node: Place, forged: bytes) -> None:
    neighbour, _ = await node.ready("echo")
    box, events = await node.ready("forges")
    answer = call(box, list(forged))
    error = (await events.gone()).error
    assert isinstance(error, InstanceDied)
    assert "broke the protocol" in error.detail
    assert isinstance(await answer.end(), InstanceDied)
    assert await ask(neighbour, 1) == 1


async def test_an_instance_that_hangs_up_and_stays_is_ended(node: Place) -> None:
    box, events = await node.ready("hangs_up")
    answer = call(box)
    await events.gone()
    assert isinstance(await answer.end(), InstanceDied)


async def test_a_paused_instance_answers_after_it_is_resumed(node: Place) -> None:
    box, _ = await node.ready("echo")
    await box.pause()
    answer = call(box, 1)
    assert (await box.stats()).pids == 1 or node.name in OWN_KERNEL
    assert not answer.first.is_set()
    await box.resume()
    assert await answer.end() == b"1"


async def test_a_paused_instance_can_be_destroyed(node: Place) -> None:
    box, events = await node.ready("echo")
    await box.pause()
    await asyncio.wait_for(box.destroy(), LIMIT)
    assert events.exit.done()


async def test_stats_tell_memory_and_processes(node: Place) -> None:
    box, _ = await node.ready("echo")
    stats = await box.stats()
    if node.name in OWN_KERNEL:  # which is counted
        assert 500 < stats.memory_kb < 128 << 10
        assert 1 <= stats.pids < 16
    else:
        assert 500 < stats.memory_kb < 64 << 10
        assert stats.pids == 1


async def test_an_instance_inherits_no_descriptor_and_no_environment(node: Place) -> None:
    neighbour, _ = await node.ready("echo", env={"NEIGHBOUR": "secret"})
    box, _ = await node.ready("inherited", env={"MINE": "1"})
    seen = await ask(box)
    pipe = "host" if node.name in OWN_KERNEL else "pipe"
    assert seen["fds"] == ["/dev/null", pipe, pipe, "socket", "socket"]  # stdin, output, listener and connection
    assert "MINE" in seen["env"]
    assert not {"NEIGHBOUR", "VIRTUAL_ENV", "PYTHONPATH", "USER"} & set(seen["env"])
    assert await ask(neighbour, 1) == 1


# --- logs -----------------------------------------------------------------------------------------------------------


async def test_lines_are_tagged_with_their_call(node: Place) -> None:
    box, _ = await node.ready("prints")
    (first,), (second,) = await ask(box, 1), await ask(box, 2)
    lines = await node.log(lambda lines: len(lines) >= 5)
    assert {(line.stream, line.text, line.invocation) for line in lines} == {
        ("stdout", "loaded", ""),
        ("stdout", "out 1", first),
        ("stderr", "err 1", first),
        ("stdout", "out 2", second),
        ("stderr", "err 2", second),
    }
    assert {(line.namespace, line.function, line.revision, line.instance) for line in lines} == {
        ("default", "under-test", 1, box.spec.id)
    }


async def test_a_flood_is_capped_and_does_not_block_the_function(node: Place) -> None:
    box, _ = await node.ready("floods")
    assert await call(box, 12_000).end() == b"done"
    await box.destroy()
    lines = await node.log(lambda lines: any("dropped" in line.text for line in lines))
    kept = sum(len(line.text) for line in lines)
    assert kept < 8 << 20
    assert any(line.stream == "platform" and "bytes of output dropped" in line.text for line in lines)


async def test_a_long_line_is_cut_and_says_so(node: Place) -> None:
    box, _ = await node.ready("long_line")
    await ask(box, 100_000)
    lines = await node.log(lambda lines: any("cut" in line.text for line in lines))
    line = next(line for line in lines if "cut" in line.text)
    assert line.text == "y" * 8192 + f" ... [{100_000 - 8192} bytes of this line cut]"


# --- looking at the machine -----------------------------------------------------------------------------------------


def _alive(pid: int) -> bool:
    try:
        return ") Z " not in Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
