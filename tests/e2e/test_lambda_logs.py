"""What the log of a Lambda call says, whatever became of it: LogResult, the log group, Lambda's own lines and errors."""

from __future__ import annotations

import base64
import json
import re
import shutil
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.aws import Aws, serving, zipped
from tests.support.site import ISOLATION

needs_node = pytest.mark.skipif(shutil.which("node") is None, reason="there is no Node on this machine")

PYTHON = """
import ctypes, sys, time
def handler(event, context):
    print("before", flush=True)
    if event == "sleep": time.sleep(60)
    if event == "exit": sys.exit(3)
    if event == "kill": ctypes.string_at(0)
    if event == "memory": return len(b"x" * (1 << 29))
    if event == "large": return "x" * (7 << 20)
    return event
"""
NODE = """
exports.handler = (event, context, done) => {
  console.log('before');
  if (event === 'sleep') return setTimeout(() => {}, 60000);
  if (event === 'exit') process.exit(3);
  if (event === 'stray') return setTimeout(() => { throw new RangeError('nobody catches'); }, 1);
  done(null, event);
};
"""
BOOTSTRAP = """#!/usr/bin/env python3
import json, os, sys, time, urllib.request
api = "http://" + os.environ["AWS_LAMBDA_RUNTIME_API"] + "/2018-06-01/runtime/invocation/"
while True:
    answer = urllib.request.urlopen(api + "next")
    event = json.load(answer)
    print("before", flush=True)
    if event == "exit": sys.exit(3)
    while event == "sleep": time.sleep(1)
    urllib.request.urlopen(api + answer.headers["Lambda-Runtime-Aws-Request-Id"] + "/response", json.dumps(event).encode())
"""
RUNTIMES: dict[str, tuple[dict[str, str], str]] = {
    "python": ({"handler.py": PYTHON}, "python3.12"),
    "node": ({"handler.js": NODE}, "nodejs22.x"),
    "provided": ({"bootstrap": BOOTSTRAP}, "provided.al2023"),
}


@pytest.fixture(scope="module")
def aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Aws]:
    with serving(tmp_path_factory.mktemp("lambda")) as made:
        for name, (files, runtime) in RUNTIMES.items():
            made.client().create_function(
                FunctionName=name, Runtime=runtime, Handler="handler.handler", Role="arn:aws:iam::000000000000:role/r", Timeout=1,
                Code={"ZipFile": zipped(files, 0o755)},
            )  # fmt: skip
        yield made


def failing(aws: Aws, name: str, event: Any) -> tuple[dict[str, Any], list[str], str]:
    """The error, the lines of LogResult with the request's id as ID and times as TIME, and the id."""
    error, whole = aws.call(name, event, LogType="Tail")
    assert (whole["StatusCode"], whole["FunctionError"], whole["ExecutedVersion"]) == (200, "Unhandled", "$LATEST")
    request = whole["ResponseMetadata"]["RequestId"]
    return error, plain(base64.b64decode(whole["LogResult"]).decode(), request), request


def plain(text: str, request: str) -> list[str]:
    text = re.sub(r"\d{4}-\d\d-\d\dT[\d:]{8}\.\d+Z", "TIME", text.replace(request, "ID"))
    return re.sub(r"\d+\.\d\d ms|\d+ (?=ms|MB)", "N ", text).splitlines()


START = "START RequestId: ID Version: $LATEST"
END = "END RequestId: ID"
REPORT = "REPORT RequestId: ID\tDuration: N \tBilled Duration: N ms\tMemory Size: N MB\tMax Memory Used: N MB\t"
NODE_BEFORE = "TIME\tID\tINFO\tbefore"


@needs_node
@pytest.mark.parametrize(("runtime", "before"), [("python", "before"), ("node", NODE_BEFORE), ("provided", "before")])
def test_a_call_out_of_time_has_a_log(aws: Aws, runtime: str, before: str) -> None:
    aws.call(runtime)  # from here on it is warm
    error, lines, request = failing(aws, runtime, "sleep")
    assert error == {
        "errorType": "Sandbox.Timedout",
        "errorMessage": f"RequestId: {request} Error: Task timed out after 1.00 seconds",
    }
    assert lines == [START, before, "TIME ID Task timed out after 1.00 seconds", "", END, REPORT + "Status: timeout"]


@needs_node
@pytest.mark.parametrize(("runtime", "before"), [("python", "before"), ("node", NODE_BEFORE), ("provided", "before")])
def test_a_call_whose_runtime_ends_has_a_log(aws: Aws, runtime: str, before: str) -> None:
    aws.call(runtime)
    error, lines, request = failing(aws, runtime, "exit")
    message = "Error: Runtime exited with error: exit status 3"
    assert error == {"errorType": "Runtime.ExitError", "errorMessage": f"RequestId: {request} {message}"}
    ending = [f"RequestId: ID {message}", "Runtime.ExitError", END, REPORT + "Status: error\tError Type: Runtime.ExitError"]
    assert lines == [START, before, *ending]


@pytest.mark.parametrize(
    ("event", "kind", "message"),
    [
        ("kill", "Runtime.ExitError", "signal: segmentation fault (core dumped)"),
        pytest.param(
            "memory", "Runtime.OutOfMemory", "signal: killed",
            marks=pytest.mark.skipif(ISOLATION != "namespace", reason="memory is bounded by cgroups alone"),
        ),
    ],
)  # fmt: skip
def test_a_runtime_that_is_killed_is_told_with_its_signal(aws: Aws, event: str, kind: str, message: str) -> None:
    aws.call("python")
    error, lines, request = failing(aws, "python", event)
    told = f"Error: Runtime exited with error: {message}"
    assert error == {"errorType": kind, "errorMessage": f"RequestId: {request} {told}"}
    assert lines[:4] == [START, "before", f"RequestId: ID {told}", kind]


def test_an_answer_that_is_too_large_is_an_error_of_the_function(aws: Aws) -> None:
    aws.call("python")
    error, lines, _ = failing(aws, "python", "large")
    assert error == {
        "errorType": "Function.ResponseSizeTooLarge",
        "errorMessage": "Response payload size exceeded maximum allowed payload size (6291556 bytes).",
    }
    assert lines[:2] == [START, "before"]
    assert lines[-1].endswith("Status: error\tError Type: Function.ResponseSizeTooLarge")


@needs_node
def test_an_error_that_nobody_catches_is_in_the_log(aws: Aws) -> None:
    aws.call("node")
    error, lines, _ = failing(aws, "node", "stray")
    assert (error["errorType"], error["errorMessage"]) == ("RangeError", "nobody catches")
    assert lines[:2] == [START, NODE_BEFORE]
    assert lines[2].startswith("TIME\tID\tERROR\tUncaught Exception \t")


def test_code_that_does_not_load_has_a_log(aws: Aws) -> None:
    aws.deploy("unloadable", "print('loading')\nimport nowhere\ndef handler(event, context): pass")
    error, lines, _ = failing(aws, "unloadable", {})
    assert error["errorType"] == "Runtime.ImportModuleError"
    assert lines[:2] == [START, "loading"]
    assert lines[-2:] == [END, REPORT + "Status: error\tError Type: Runtime.ImportModuleError"]
    events = aws.client("logs").filter_log_events(logGroupName="/aws/lambda/unloadable")["events"]
    assert len({event["logStreamName"] for event in events}) == 1
    told = [event["message"].rstrip("\n") for event in events]
    assert told[0].startswith(
        "INIT_START Runtime Version: python:3.12.v1\tRuntime Version ARN: arn:aws:lambda:us-east-1::runtime:"
    )
    assert any(re.fullmatch(r"INIT_REPORT Init Duration: [\d.]+ ms\tPhase: init\tStatus: error\tError Type: Runtime.ImportModuleError", line)
               for line in told)  # fmt: skip


def test_a_stream_of_answers_ends_with_its_log(aws: Aws) -> None:
    events = aws.client().invoke_with_response_stream(FunctionName="python", Payload='"exit"', LogType="Tail")["EventStream"]
    (ended,) = (event["InvokeComplete"] for event in events)
    assert ended["ErrorCode"] == "Runtime.ExitError"
    assert "\nbefore\n" in base64.b64decode(ended["LogResult"]).decode()


SAYING = """
import logging
log = logging.getLogger()
def handler(event, context):
    log.warning("careful")
    log.info("told")
    log.debug("hidden")
    if event == "exit": raise SystemExit(3)
"""


def json_lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def test_a_json_log_has_the_levels_that_its_configuration_says(aws: Aws) -> None:
    aws.deploy("json", SAYING, LoggingConfig={"LogFormat": "JSON"})
    _, whole = aws.call("json", LogType="Tail")
    request = whole["ResponseMetadata"]["RequestId"]
    start, warning, info, report = json_lines(base64.b64decode(whole["LogResult"]).decode())
    assert (start["type"], start["record"]) == ("platform.start", {"requestId": request, "version": "$LATEST"})
    assert (warning["level"], warning["message"], warning["requestId"]) == ("WARNING", "careful", request)
    assert info["level"] == "INFO"
    assert (report["type"], report["record"]["status"]) == ("platform.report", "success")
    assert set(report["record"]["metrics"]) == {
        "durationMs", "billedDurationMs", "memorySizeMB", "maxMemoryUsedMB", "initDurationMs"
    }  # fmt: skip
    aws.client().update_function_configuration(
        FunctionName="json", LoggingConfig={"LogFormat": "JSON", "ApplicationLogLevel": "WARN", "SystemLogLevel": "WARN"}
    )
    _, whole = aws.call("json", LogType="Tail")
    assert [line["message"] for line in json_lines(base64.b64decode(whole["LogResult"]).decode())] == ["careful"]
    _, whole = aws.call("json", "exit", LogType="Tail")
    _, done, report = json_lines(base64.b64decode(whole["LogResult"]).decode())
    assert (done["type"], done["record"]["status"]) == ("platform.runtimeDone", "error")
    assert (report["type"], report["record"]["errorType"]) == ("platform.report", "Runtime.ExitError")
    aws.client().update_function_configuration(
        FunctionName="json", LoggingConfig={"LogFormat": "JSON", "ApplicationLogLevel": "TRACE", "SystemLogLevel": "DEBUG"}
    )
    logs = aws.client("logs")
    _, whole = aws.call("json", LogType="Tail")
    request = whole["ResponseMetadata"]["RequestId"]
    events = logs.filter_log_events(logGroupName="/aws/lambda/json")["events"]
    stream = next(event["logStreamName"] for event in events if request in event["message"])
    kinds = [json.loads(event["message"]).get("type", "said") for event in events if event["logStreamName"] == stream]
    whole_life = ["initStart", "initRuntimeDone", "initReport", "start", "runtimeDone", "report"]
    assert [kind for kind in kinds if kind != "said"] == [f"platform.{each}" for each in whole_life]


SLOW = """
import os, time
time.sleep(float(os.environ["SLOW"]))
print("loaded")
def handler(event, context): return context.get_remaining_time_in_millis() > 0
"""


def test_code_that_loads_too_slowly_is_loaded_again_within_its_call(aws: Aws, monkeypatch: pytest.MonkeyPatch) -> None:
    """Given code that takes longer to load than it may, then its first call has all of its own time for loading it again."""
    monkeypatch.setattr("dayfly.dialects.aws.versions.INIT", 0.2)  # seconds
    aws.deploy("slow", SLOW, Timeout=10, Environment={"Variables": {"SLOW": "0.5"}})
    answer, whole = aws.call("slow", LogType="Tail")
    assert answer is True
    log = plain(base64.b64decode(whole["LogResult"]).decode(), whole["ResponseMetadata"]["RequestId"])
    assert log[-1] == REPORT, "without Init Duration: it is within the call's own"
    assert aws.call("slow")[0] is True, "the same instance, warm"
    told = [
        event["message"].rstrip("\n")
        for event in aws.client("logs").filter_log_events(logGroupName="/aws/lambda/slow")["events"]
    ]
    assert sum(line.startswith("INIT_START") for line in told) == 1
    assert any(re.fullmatch(r"INIT_REPORT Init Duration: [\d.]+ ms\tPhase: init\tStatus: timeout", line) for line in told)


def test_code_that_takes_too_long_the_second_time_is_out_of_time(aws: Aws, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dayfly.dialects.aws.versions.INIT", 0.2)  # seconds
    aws.deploy("slower", SLOW, Timeout=1, Environment={"Variables": {"SLOW": "20"}})
    error, lines, request = failing(aws, "slower", {})
    assert error["errorMessage"] == f"RequestId: {request} Error: Task timed out after 1.00 seconds"
    assert lines[-1] == REPORT + "Status: timeout"
    told = [
        event["message"].rstrip("\n")
        for event in aws.client("logs").filter_log_events(logGroupName="/aws/lambda/slower")["events"]
    ]
    phases = [re.sub(r"[\d.]+ ms", "N ms", line) for line in told if line.startswith("INIT_REPORT")]
    assert phases == [f"INIT_REPORT Init Duration: N ms\tPhase: {phase}\tStatus: timeout" for phase in ("init", "invoke")]
