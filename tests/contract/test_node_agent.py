"""The sandbox port where instances are processes: the life of the node agent that holds them, and the jobs it runs."""

from __future__ import annotations

import asyncio
import os
import signal
import socket

import pytest

from dayfly.errors import Conflict, InstanceDied, Unavailable
from dayfly.runtime.python import landlock
from dayfly.sandbox.node.client import NodeSandbox
from dayfly.sandbox.node.interpreters import find
from dayfly.sandbox.node.plans import FIRST_UID
from dayfly.sandbox.node.processes import ended, family
from dayfly.sandbox.port import JobSpec
from tests.support.sandboxes import (
    LIMIT,
    PYTHON,
    WRAPPED,
    Events,
    Place,
    ask,
    call,
    groups,
    members,
    place,
    skip_if_impossible,
)

pytestmark = pytest.mark.anyio


async def all_ended(pids: list[int]) -> None:
    assert all(await asyncio.gather(*(ended(pid, patience=LIMIT) for pid in pids)))


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
    await all_ended(before)
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
    skip_if_impossible("namespace")
    async with place("namespace", grace=0.05) as found:
        await found.ready("sleeps")
        agent = found.sandbox.agent_pid  # type: ignore[attr-defined]
        everything = family(agent)
        assert len(everything) == 3  # agent, zygote, instance
        await found.sandbox.close(keep=True)  # type: ignore[call-arg]
        await all_ended(everything)


async def test_killing_the_agent_leaves_nothing_and_the_next_one_serves(node: Place) -> None:
    box, events = await node.ready("forks")
    await ask(box)
    everything = family(node.sandbox.agent_pid)  # type: ignore[attr-defined]
    everything += [pid for pid in members(box.spec.id) if pid not in everything]  # a sandbox's maker may leave its parents
    assert len(everything) >= 6
    os.kill(everything[0], signal.SIGKILL)
    error = (await events.gone()).error
    assert isinstance(error, InstanceDied)
    assert "node agent died" in error.detail
    await all_ended(everything)
    fresh, _ = await node.ready("echo")
    assert await ask(fresh, 1) == 1
    assert groups(box.spec.id) == []


async def test_killing_the_zygote_ends_its_instances_and_the_next_one_serves(node: Place) -> None:
    _, events = await node.ready("echo")
    _, zygote, *instances = family(node.sandbox.agent_pid)  # type: ignore[attr-defined]
    os.kill(zygote, signal.SIGKILL)
    assert isinstance((await events.gone()).error, InstanceDied)
    await all_ended(instances)
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
    await all_ended(everything)
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
    await all_ended(everything)


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
