"""`replay --here`: a handler gets in this process what its own contract would give it in a sandbox."""

from __future__ import annotations

import io
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dayfly.cli import here
from dayfly.cli.errors import Failure

ID = "01a213d594ee7be88b3a4136f4ea9033"
INPUT: dict[str, Any] = {
    "function": "ship", "qualifier": "", "content_type": "application/json", "method": "", "path": "", "query": "", "headers": [],
    "client": "", "body": '{"n": 1}', "encoding": "utf-8", "event": None,
}  # fmt: skip


@pytest.fixture(autouse=True)
def as_it_was() -> Iterator[None]:
    environment, path = dict(os.environ), list(sys.path)
    yield
    os.environ.clear()
    os.environ.update(environment)
    sys.path[:] = path


def ran(tmp_path: Path, source: str, recording: dict[str, Any], *, debug: bool = False, **config: Any) -> Any:
    file = tmp_path / f"mine_{tmp_path.name}.py"
    file.write_text(source)
    return here.run(INPUT | recording, config, ID, file, "", "default", debug=debug)


def test_a_handler_of_lambda_gets_the_context_of_awss_client(tmp_path: Path) -> None:
    source = (
        "import os\n\n\ndef handler(event, context):\n"
        "    return [event, type(context).__name__, context.aws_request_id, context.function_name, context.memory_limit_in_mb,\n"
        "            context.invoked_function_arn, context.client_context.custom, context.get_remaining_time_in_millis() > 1000,\n"
        "            os.environ['AWS_REGION']]\n"
    )
    options = {"account": "123456789012", "region": "eu-central-1"}
    client = json.dumps({"context": '{"custom": {"shop": "1"}}'})
    answer = ran(tmp_path, source, {"client": client}, contract="lambda", handler="app.handler", memory_mb=256, options=options)
    arn = "arn:aws:lambda:eu-central-1:123456789012:function:ship"
    request = "01a213d5-94ee-7be8-8b3a-4136f4ea9033"
    assert answer == [{"n": 1}, "LambdaContext", request, "ship", "256", arn, {"shop": "1"}, True, "eu-central-1"]


def test_an_action_of_openwhisk_gets_a_dictionary_with_its_parameters(tmp_path: Path) -> None:
    source = "import os\n\n\ndef main(args):\n    return {'args': args, 'activation': os.environ['__OW_ACTIVATION_ID']}\n"
    options = {"parameters": '{"greeting": "hello"}'}
    answer = ran(tmp_path, source, {}, contract="whisk", handler="", options=options)
    assert answer == {"args": {"greeting": "hello", "n": 1}, "activation": ID}


def test_a_handler_of_http_gets_the_request(tmp_path: Path) -> None:
    source = "async def handler(request, context):\n    return [request.method, request.path, request.query, request.body]\n"
    http = {"method": "PUT", "path": "/a", "query": "b=c", "headers": [["x-color", "red"]]}
    assert ran(tmp_path, source, http, flavour="http") == ["PUT", "/a", "b=c", b'{"n": 1}']


@pytest.mark.parametrize("kind", ["def", "async def"])
def test_the_debugger_stands_in_the_handler_also_in_one_that_awaits(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO('event["n"] += 41\ncontinue\n'))
    source = f"{kind} handler(event, context):\n    answer = event\n    return answer\n"
    assert ran(tmp_path, source, {}, debug=True) == {"n": 42}
    assert "-> answer = event" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"runtime": "nodejs"}, "ship is written for nodejs, and --here calls Python."),
        ({"contract": "actionloop"}, "--here cannot call as the contract actionloop does."),
        ({"contract": "whisk"}, "has no function main."),
    ],
)
def test_what_cannot_be_called_here_says_so(tmp_path: Path, config: dict[str, Any], message: str) -> None:
    with pytest.raises(Failure, match=message.replace(".", r"\.")):
        ran(tmp_path, "def handler(event, context):\n    return 1\n", {}, **config)
