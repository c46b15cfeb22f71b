"""Pull the plug: SIGKILL the server, the node process, an instance, and look for what was lost and what was left behind."""

from __future__ import annotations

import os
import random
import signal
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.process import Process


@pytest.fixture
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    made = Process(tmp_path_factory.mktemp("c") / "d")
    made.start()
    yield made
    made.stop()
    made.wait_gone()


def wait_for(what: Any, seconds: float = 30.0) -> Any:
    until = time.monotonic() + seconds
    while True:
        found = what()
        if found:
            return found
        assert time.monotonic() < until, "it did not happen"
        time.sleep(0.02)


def test_a_killed_server_loses_nothing_and_its_instances_are_adopted(server: Process) -> None:
    server.deploy(
        "keep",
        "import os\nstate = []\ndef handler(event, context):\n    state.append(1)\n    return [os.environ['DAYFLY_INSTANCE'], len(state)]\n",
    )
    server.api("PUT", "/functions/keep/aliases/prod", {"targets": [{"revision": 1}]})
    _, before, _ = server.call("keep")
    server.kill()
    server.start()
    assert server.api("GET", "/functions/keep")["aliases"]["prod"]
    _, after, headers = server.call("keep")
    assert after == [before[0], 2], "the same warm instance answers"
    assert headers["dayfly-cold"] == "false"
    assert len(server.api("GET", "/instances?function=keep")["items"]) == 1


def test_accepted_calls_survive_kills_at_random_moments(server: Process) -> None:
    """Every 202 is a promise; the ledger equals the records after each crash."""
    server.deploy("work", "def handler(event, context):\n    return event['n']\n", max_instances=4)
    rng = random.Random(7)
    accepted: list[str] = []
    for _ in range(4):
        for n in range(rng.randint(5, 40)):
            status, answer, _ = server.call("work", {"n": n}, prefer="respond-async")
            assert status == 202
            accepted.append(answer["invocation"])
        time.sleep(rng.random() * 0.05)
        server.kill()
        server.start()

    states: dict[str, str] = {}

    def settled() -> bool:
        for identifier in accepted:
            if states.get(identifier) != "ok":
                states[identifier] = server.request("GET", f"/v1/namespaces/default/invocations/{identifier}")[1].get("status")
        return set(states.values()) == {"ok"}

    try:
        wait_for(settled)
    except AssertionError:
        raise AssertionError({k: v for k, v in states.items() if v != "ok"}) from None
    usage = server.api("GET", "/usage?function=work")
    records: list[Any] = []
    cursor = ""
    while True:
        page = server.api("GET", f"/invocations?function=work&limit=100&cursor={cursor}")
        records += page["items"]
        cursor = page["cursor"]
        if not cursor:
            break
    assert usage["requests"] == len(records)
    assert usage["billed_ms"] == sum(record["billed_ms"] for record in records)


def test_a_server_that_never_comes_back_leaves_no_orphan(server: Process) -> None:
    server.deploy("orphan", "def handler(event, context):\n    return 1\n", min_instances=3)
    wait_for(lambda: len(server.api("GET", "/instances?function=orphan")["items"]) >= 3)
    server.kill()
    assert server.descendants(), "they wait for the next server"
    server.wait_gone(60)


def test_a_killed_node_takes_its_instances_along_and_the_next_call_works(server: Process) -> None:
    server.deploy("phoenix", "import os\ndef handler(event, context):\n    return [os.environ['DAYFLY_INSTANCE']]\n")
    _, before, _ = server.call("phoenix")
    agents = [pid for pid in server.descendants() if b"node.agent" in Path(f"/proc/{pid}/cmdline").read_bytes()]
    for pid in agents:
        os.kill(pid, signal.SIGKILL)
    wait_for(lambda: (answer := server.call("phoenix"))[0] == 200 and answer[1] != before)


def test_a_stopped_server_leaves_nothing_behind_and_keeps_nobody_waiting(server: Process) -> None:
    server.deploy("brief", "def handler(event, context):\n    return 1\n")
    assert server.call("brief")[0] == 200
    logs = f"http://127.0.0.1:{server.port}/v1/namespaces/default/logs?function=brief&follow=true"
    with urllib.request.urlopen(logs, timeout=30) as followed:
        server.kill(signal.SIGTERM)
        assert b"event: end" in followed.read()
    assert server.process is not None
    assert server.process.returncode == 0
    server.wait_gone(10)
    if os.geteuid() == 0:
        groups = [
            Path(at, name)
            for at, below, _ in os.walk("/sys/fs/cgroup")
            for name in below
            if name.startswith("dayfly") and str(os.getpid()) in name
        ]
        assert groups == []


def test_a_data_folder_may_have_a_long_path(tmp_path: Path) -> None:
    server = Process(tmp_path / ("long" * 20) / ("name" * 10) / "d")
    server.start()
    server.deploy("deep", "def handler(event, context):\n    return [1]\n")
    assert server.call("deep")[0] == 200
    server.kill()
    server.start()
    assert server.call("deep")[2]["dayfly-cold"] == "false"
    server.kill(signal.SIGTERM)
    server.wait_gone(10)
