"""One suite over every implementation of the sandbox port (`sandbox/port.py` states the guarantees)."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from dayfly.errors import Conflict, InitFailed, InstanceDied, Unavailable
from dayfly.model.call import FunctionError
from dayfly.model.function import Mount
from dayfly.runtime.python import landlock
from dayfly.sandbox import frames
from dayfly.sandbox.node.client import NodeSandbox
from dayfly.sandbox.node.interpreters import find, runtimes
from dayfly.sandbox.node.plans import FIRST_UID
from dayfly.sandbox.node.processes import family
from dayfly.sandbox.port import JobSpec
from tests.support.sandboxes import LIMIT, PYTHON, SOURCE, Answer, Events, Place, ask, call, head, place, why_not

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

# Those that another program makes start a Python for each instance: the whole suite over them takes minutes, so it is asked for
# (`make backends`); tests/contract/test_wraps.py runs what tells them from the others.
WRAPPED = tuple(name for name in os.environ.get("DAYFLY_TEST_BACKENDS", "").split(",") if name)
NODES = ("namespace", "process", *WRAPPED)
ALL = (*NODES, "memory")


def _skip_if_impossible(name: str) -> None:
    if reason := why_not(name):
        pytest.skip(reason)


@pytest.fixture(params=ALL)
async def anywhere(request: pytest.FixtureRequest) -> AsyncIterator[Place]:
    _skip_if_impossible(request.param)
    async with place(request.param) as found:
        yield found


@pytest.fixture(params=NODES)
async def node(request: pytest.FixtureRequest) -> AsyncIterator[Place]:
    """Implementations with processes."""
    _skip_if_impossible(request.param)
    async with place(request.param) as found:
        yield found


@pytest.fixture(params=[name for name in NODES if name != "process"])
async def jailed(request: pytest.FixtureRequest) -> AsyncIterator[Place]:
    """Implementations that isolate."""
    _skip_if_impossible(request.param)
    async with place(request.param) as found:
        yield found


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


@pytest.mark.skipif("nodejs" not in runtimes(), reason="there is no Node on this machine")
async def test_node_serves_with_a_large_environment(node: Place) -> None:
    (node.data / "packages" / SOURCE / "hello.js").write_text(
        "exports.handler = (event) => { console.log('hi'); return [event, process.env.LONG.length, process.env.SHORT]; };"
    )
    env = {"LONG": "l" * 200_000, "SHORT": "s"}
    for number in range(3):
        box, _ = await node.ready("hello.handler", runtime="nodejs", env=env, memory_mb=256)
        assert await ask(box, number) == [number, 200_000, "s"]
    await node.log(lambda lines: [line.text for line in lines].count("hi") == 3)


@pytest.mark.skipif("nodejs" not in runtimes(), reason="there is no Node on this machine")
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
    assert _groups(box.spec.id) == []


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
    assert (await box.stats()).pids == 1
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
    assert 500 < stats.memory_kb < 64 << 10
    assert stats.pids == 1


async def test_an_instance_inherits_no_descriptor_and_no_environment(node: Place) -> None:
    neighbour, _ = await node.ready("echo", env={"NEIGHBOUR": "secret"})
    box, _ = await node.ready("inherited", env={"MINE": "1"})
    seen = await ask(box)
    assert seen["fds"] == ["/dev/null", "pipe", "pipe", "socket", "socket"]  # stdin, output, listener and connection
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


# --- the agent's life -----------------------------------------------------------------------------------------------


async def test_a_second_server_is_refused_clearly(node: Place) -> None:
    second = NodeSandbox(node.data, isolation=node.name)
    with pytest.raises(Conflict, match=f"process id {os.getpid()}"):
        await second.open()
    box, _ = await node.ready("echo")
    assert await ask(box, 1) == 1


async def test_an_agent_of_another_isolation_makes_room(jailed: Place) -> None:
    await jailed.ready("echo")
    before = family(jailed.sandbox.agent_pid)  # type: ignore[attr-defined]
    await jailed.sandbox.close(keep=True)  # type: ignore[call-arg]
    jailed.sandbox = NodeSandbox(jailed.data, isolation="process")
    await jailed.sandbox.open()
    assert await jailed.sandbox.adopt(lambda spec: Events()) == []
    await asyncio.gather(*map(_ended, before))
    box, _ = await jailed.ready("echo")
    assert await ask(box, 1) == 1


async def test_instances_outlive_their_server_and_are_adopted(node: Place) -> None:
    kept, _ = await node.ready("pid")
    dropped, _ = await node.ready("pid")
    pid = await ask(kept)
    await node.sandbox.close(keep=True)  # type: ignore[call-arg]

    node.sandbox = NodeSandbox(node.data, isolation=node.name, on_logs=node.on_logs)
    await node.sandbox.open()
    events = Events()
    adopted = await node.sandbox.adopt(lambda spec: events if spec.id == kept.spec.id else None)
    assert [box.spec for box in adopted] == [kept.spec]
    assert await ask(adopted[0]) == pid
    assert events.ready.done()
    assert not (node.data / "run" / "i" / f"{dropped.spec.id}.sock").exists()


async def test_an_adopted_instance_first_finishes_the_call_of_the_dead_server(node: Place) -> None:
    kept, _ = await node.ready("takes_a_while")
    lost = call(kept, 0.3)
    await node.log(lambda lines: any(line.text == "begun" for line in lines))
    await node.sandbox.close(keep=True)  # type: ignore[call-arg]
    assert isinstance(await lost.end(), Unavailable)
    node.sandbox = NodeSandbox(node.data, isolation=node.name)
    await node.sandbox.open()
    events = Events()
    (box,) = await node.sandbox.adopt(lambda spec: events)
    assert await ask(box, 0) == [0]
    assert events.ready.done()


async def test_without_a_next_server_everything_ends(request: pytest.FixtureRequest) -> None:
    _skip_if_impossible("namespace")
    async with place("namespace", grace=0.05) as found:
        await found.ready("sleeps")
        agent = found.sandbox.agent_pid  # type: ignore[attr-defined]
        everything = family(agent)
        assert len(everything) == 3  # agent, zygote, instance
        await found.sandbox.close(keep=True)  # type: ignore[call-arg]
        await asyncio.gather(*map(_ended, everything))


async def test_killing_the_agent_leaves_nothing_and_the_next_one_serves(node: Place) -> None:
    box, events = await node.ready("forks")
    await ask(box)
    everything = family(node.sandbox.agent_pid)  # type: ignore[attr-defined]
    assert len(everything) >= 6
    os.kill(everything[0], signal.SIGKILL)
    error = (await events.gone()).error
    assert isinstance(error, InstanceDied)
    assert "node agent died" in error.detail
    await asyncio.gather(*map(_ended, everything))
    fresh, _ = await node.ready("echo")
    assert await ask(fresh, 1) == 1
    assert _groups(box.spec.id) == []


async def test_killing_the_zygote_ends_its_instances_and_the_next_one_serves(node: Place) -> None:
    _, events = await node.ready("echo")
    _, zygote, *instances = family(node.sandbox.agent_pid)  # type: ignore[attr-defined]
    os.kill(zygote, signal.SIGKILL)
    assert isinstance((await events.gone()).error, InstanceDied)
    await asyncio.gather(*map(_ended, instances))
    fresh, _ = await node.ready("echo")
    assert await ask(fresh, 1) == 1


async def test_what_is_asked_for_while_the_agent_is_down_is_started_or_let_go(node: Place) -> None:
    _, victim = await node.ready("echo")
    os.kill(node.sandbox.agent_pid, signal.SIGKILL)  # type: ignore[attr-defined]
    await victim.gone()
    wanted, _ = node.create("echo")
    unwanted, events = node.create("echo")
    await unwanted.destroy()
    assert events.exit.result().error is None
    assert await ask(wanted, 1) == 1


async def test_after_close_nothing_is_started(node: Place) -> None:
    await node.sandbox.close()
    _, events = node.create("echo")
    assert isinstance((await events.gone()).error, Unavailable)
    assert node.sandbox.agent_pid == 0  # type: ignore[attr-defined]


async def test_a_shut_down_node_leaves_nothing(node: Place) -> None:
    _, events = await node.ready("sleeps")
    everything = family(node.sandbox.agent_pid)  # type: ignore[attr-defined]
    await node.sandbox.close()
    assert events.exit.result().error is None
    await asyncio.gather(*map(_ended, everything))
    assert not (node.data / "run" / "node.sock").exists()


# --- jobs -----------------------------------------------------------------------------------------------------------


def _job(node: Place, script: str, **options: object) -> JobSpec:
    folder = node.data / "packages" / "scratch"
    folder.mkdir(exist_ok=True)
    given: dict[str, object] = {
        "argv": ("sh", "-c", script),
        "env": {"PATH": "/usr/bin:/bin"},
        "writable": ((str(folder), "/build"),),
        **options,
    }
    return JobSpec(**given)  # type: ignore[arg-type]


async def test_a_job_writes_its_folder_and_its_output_is_streamed(node: Place) -> None:
    said: list[str] = []
    result = await node.sandbox.run(_job(node, "echo hello; echo made > /build/it; echo bad >&2; exit 7"), said.append)
    assert result.status == 7
    assert sorted(result.output.split()) == ["bad", "hello"]
    assert "".join(said) == result.output
    made = node.data / "packages" / "scratch" / "it"
    assert made.read_text() == "made\n"
    assert made.stat().st_uid == os.geteuid()


async def test_a_job_that_takes_too_long_is_killed_with_what_it_started(node: Place) -> None:
    result = await node.sandbox.run(_job(node, "sleep 3600 & sleep 3600", timeout_s=0.3))
    assert result.status == 124
    assert "killed after 0.3 seconds" in result.output
    assert len(family(node.sandbox.agent_pid)) == 2  # type: ignore[attr-defined]


async def test_a_talkative_job_keeps_beginning_and_end(node: Place) -> None:
    script = "echo begin; head -c 3000000 /dev/zero | tr '\\0' z; echo; echo end"
    result = await node.sandbox.run(_job(node, script, output_limit=10_000))
    assert result.output.startswith("begin\n")
    assert result.output.endswith("end\n")
    assert "bytes cut" in result.output
    assert len(result.output) < 11_000


async def test_a_cancelled_job_ends(node: Place) -> None:
    began = asyncio.Event()
    task = asyncio.create_task(node.sandbox.run(_job(node, "echo on; exec sleep 3600"), lambda text: began.set()))
    await asyncio.wait_for(began.wait(), LIMIT)
    everything = family(node.sandbox.agent_pid)[2:]  # type: ignore[attr-defined]
    assert everything
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await asyncio.gather(*map(_ended, everything))


async def test_a_job_sees_nothing_but_its_folders(jailed: Place) -> None:
    script = f"cat /etc/shadow; ls {jailed.data}; touch /code/x; echo; id -u"
    result = await jailed.sandbox.run(_job(jailed, script))
    assert "root:" not in result.output
    assert "node.sock" not in result.output
    assert int(result.output.split()[-1]) == 1000 or (jailed.name in WRAPPED and int(result.output.split()[-1]) >= FIRST_UID)


@pytest.mark.parametrize("bounded", [False, True])
async def test_a_job_with_a_network_connects_to_the_ports_it_was_given(jailed: Place, bounded: bool) -> None:
    if landlock.abi() < landlock.ABI_PORTS:
        pytest.skip("this kernel cannot restrict TCP by port (Landlock of Linux 6.7)")
    code = (
        "import socket, sys\n"
        "for port in sys.argv[1:]:\n"
        "    try: print(socket.create_connection(('127.0.0.1', int(port))).getpeername()[1])\n"
        "    except OSError as error: print(error.strerror)\n"
    )
    with socket.create_server(("127.0.0.1", 0)) as index, socket.create_server(("127.0.0.1", 0)) as control:
        ports = [listener.getsockname()[1] for listener in (index, control)]
        argv = (find()[PYTHON].executable, "-c", code, *map(str, ports))
        result = await jailed.sandbox.run(_job(jailed, "", argv=argv, network=True, tcp_ports=(ports[0],) if bounded else None))
    assert result.output.splitlines() == [str(ports[0]), "Permission denied" if bounded else str(ports[1])]


# --- looking at the machine -----------------------------------------------------------------------------------------


def _alive(pid: int) -> bool:
    try:
        return ") Z " not in Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False


async def _ended(pid: int) -> None:
    """Wait until a process is gone; its parent may be anybody."""
    try:
        fd = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    done = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_reader(fd, done.set)
    try:
        await asyncio.wait_for(done.wait(), LIMIT)
    finally:
        loop.remove_reader(fd)
        os.close(fd)


def _groups(instance: str) -> list[Path]:
    # Not `glob`: it raises where a folder goes while it looks, and others on this machine come and go.
    return [Path(at, instance) for at, below, _ in os.walk("/sys/fs/cgroup") if instance in below]
