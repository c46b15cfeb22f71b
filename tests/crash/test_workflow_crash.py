"""SIGKILL in the middle of sequences and conductors: the next server goes on where the journal ends."""

from __future__ import annotations

import threading
import urllib.error
from collections.abc import Iterator
from typing import Any

import pytest

from dayfly.dialects.openwhisk.profile import GUEST_KEY
from tests.crash.test_server_crash import wait_for
from tests.support.process import Process
from tests.support.whisk import basic

API = "/api/v1/namespaces/_"
STEP = "import time\ndef main(args):\n    time.sleep(args.get('nap', 0))\n    return {**args, 'n': args.get('n', 0) + 1}\n"
CONDUCTOR = """
def main(args):
    left = args.get('left', 3)
    return {'action': 'step', 'params': {'n': args.get('n', 0), 'nap': 0.3}, 'state': {'left': left - 1}} if left else {'params': {'n': args['n']}}
"""

FORKS = """
def main(args):
    if 'branches' in args:
        return {'params': {'n': sum(answer['n'] for answer in args['branches'])}}
    return {'action': 'inner', 'branches': [{'n': n, 'nap': 0.3} for n in range(3)]}
"""


@pytest.fixture
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    made = Process(tmp_path_factory.mktemp("c") / "d", dialects=("openwhisk",))
    made.start()
    yield made
    made.stop()
    made.wait_gone()


def ask(server: Process, method: str, path: str, body: Any = None) -> tuple[int, Any]:
    status, answer, _ = server.request(method, API + path, body, **basic(GUEST_KEY))
    return status, answer


@pytest.fixture
def deployed(server: Process) -> Process:
    for name, code in (("step", STEP), ("conductor", CONDUCTOR), ("forks", FORKS)):
        notes = [{"key": "conductor", "value": code is not STEP}]
        body = {"exec": {"kind": "python:3", "code": code}, "annotations": notes}
        assert ask(server, "PUT", f"/actions/{name}", body)[0] == 200
    for name, parts in (("inner", ["step", "step"]), ("outer", ["step", "inner", "step"])):
        body = {"exec": {"kind": "sequence", "components": [f"/_/{part}" for part in parts]}}
        assert ask(server, "PUT", f"/actions/{name}", body)[0] == 200
    return server


def records(server: Process, name: str) -> list[Any]:
    status, found = ask(server, "GET", f"/activations?name={name}&limit=100")
    assert status == 200
    return list(found)


@pytest.mark.parametrize(("name", "answer", "parts"), [("outer", 4, 3), ("conductor", 3, 7), ("forks", 9, 5)])
def test_an_accepted_composition_survives_kills_in_its_middle(deployed: Process, name: str, answer: int, parts: int) -> None:
    server = deployed
    status, accepted = ask(server, "POST", f"/actions/{name}", {"nap": 0.3})
    assert status == 202
    for _ in range(2):
        before = len(records(server, "step"))
        wait_for(lambda before=before: len(records(server, "step")) > before)
        server.kill()
        server.start()
    record = wait_for(lambda: _done(server, accepted["activationId"]))
    assert record["response"]["result"]["n"] == answer
    assert len(set(record["logs"])) == parts


def test_one_whose_caller_waited_ends_on_record(deployed: Process) -> None:
    server = deployed

    def call() -> None:
        with_error = None
        try:
            ask(server, "POST", "/actions/outer?blocking=true", {"nap": 0.3})
        except (OSError, urllib.error.URLError) as error:
            with_error = error
        assert with_error is not None, "the server is killed while the caller waits"

    caller = threading.Thread(target=call)
    caller.start()
    wait_for(lambda: records(server, "step"))
    server.kill()
    caller.join()
    server.start()
    [record] = wait_for(lambda: records(server, "outer"))
    whole = _done(server, record["activationId"])
    assert (whole["response"]["result"]["n"], len(whole["logs"])) == (4, 3)


def _done(server: Process, identifier: str) -> Any:
    status, record = ask(server, "GET", f"/activations/{identifier}")
    return record if status == 200 else None
