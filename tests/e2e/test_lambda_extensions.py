"""Extensions of Lambda functions, what they are told (Extensions, Telemetry and Logs API), and wrapper scripts, for every runtime."""

from __future__ import annotations

import base64
import json
import shutil
import time
from collections.abc import Iterator

import pytest

from tests.support.aws import Aws, serving, zipped

needs_node = pytest.mark.skipif(shutil.which("node") is None, reason="there is no Node on this machine")

PYTHON = "import sys\ndef handler(event, context):\n    if event == 'exit': sys.exit(3)\n    print('in the handler')\n    return event"
NODE = (
    "exports.handler = async (event) => { if (event === 'exit') process.exit(3); console.log('in the handler'); return event; }"
)
BOOTSTRAP = """#!/usr/bin/env python3
import json, os, sys, time, urllib.request
api = "http://" + os.environ["AWS_LAMBDA_RUNTIME_API"] + "/2018-06-01/runtime/invocation/"
while True:
    answer = urllib.request.urlopen(api + "next")
    event = answer.read()
    if event == b'"exit"': sys.exit(3)
    while event == b'"never"': time.sleep(1)
    print("in the handler", flush=True)
    urllib.request.urlopen(api + answer.headers["Lambda-Runtime-Aws-Request-Id"] + "/response", event)
"""
RUNTIMES = {
    "python": ({"handler.py": PYTHON}, {"Runtime": "python3.12"}),
    "node": ({"handler.js": NODE}, {"Runtime": "nodejs22.x"}),
    "provided": ({"bootstrap": BOOTSTRAP}, {"Runtime": "provided.al2023"}),
}

# It registers, subscribes to telemetry if it is told to, and tells what it hears in lines of its own.
EXTENSION = """#!/usr/bin/env python3
import http.server, json, os, sys, threading, urllib.request
ROOT = "http://" + os.environ["AWS_LAMBDA_RUNTIME_API"]
def ask(path, body=None, method=None, **headers):
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(ROOT + path, data, {k.replace("_", "-"): v for k, v in headers.items()}, method=method)
    return urllib.request.urlopen(request)
class Sink(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        records = json.loads(self.rfile.read(int(self.headers["content-length"])))
        for record in records:
            print("telemetry", json.dumps(record), flush=True)
        self.send_response(200)
        self.end_headers()
    def log_message(self, *args): pass
mode = os.environ.get("MODE", "")
if mode == "early": sys.exit(7)
answer = ask("/2020-01-01/extension/register", {"events": ["INVOKE", "SHUTDOWN"]}, Lambda_Extension_Name="watch",
             Lambda_Extension_Accept_Feature="accountId")
me = {"Lambda_Extension_Identifier": answer.headers["Lambda-Extension-Identifier"]}
print("registered", answer.read().decode(), flush=True)
if mode == "telemetry":
    server = http.server.HTTPServer(("sandbox.localdomain", 4243), Sink)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    ask("/2022-07-01/telemetry", {"schemaVersion": "2022-12-13", "types": ["platform", "function"],
        "buffering": {"maxItems": 1000, "maxBytes": 262144, "timeoutMs": 25},
        "destination": {"protocol": "HTTP", "URI": "http://sandbox.localdomain:4243"}}, "PUT", **me)
if mode == "init":
    ask("/2020-01-01/extension/init/error", {"errorMessage": "m", "errorType": "t"}, Lambda_Extension_Function_Error_Type="Own.Reason", **me)
while True:
    event = json.load(ask("/2020-01-01/extension/event/next", **me))
    print("heard", json.dumps(event), flush=True)
    if event["eventType"] == "SHUTDOWN": sys.exit()
    if mode == "crash": sys.exit(9)
"""


@pytest.fixture(scope="module")
def aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Aws]:
    with serving(tmp_path_factory.mktemp("lambda")) as made:
        yield made


@pytest.fixture(scope="module")
def layer(aws: Aws) -> str:
    """A layer with the extension, and a wrapper script."""
    wrapper = '#!/bin/sh\nexport WRAPPED=yes\necho "wrapped: $#" >&2\nexec "$@"\n'
    files = {"extensions/watch": EXTENSION, "wrapper": wrapper}
    made = aws.client().publish_layer_version(LayerName="watch", Content={"ZipFile": zipped(files, 0o755)})
    return str(made["LayerVersionArn"])


def deploy(aws: Aws, name: str, runtime: str, layer: str = "", **variables: str) -> None:
    files, options = RUNTIMES[runtime]
    layers = {"Layers": [layer]} if layer else {}
    options = {"Handler": "handler.handler", "Environment": {"Variables": variables}, **options, **layers}
    aws.client().create_function(
        FunctionName=name,
        Role="arn:aws:iam::000000000000:role/r",
        Timeout=10,
        Code={"ZipFile": zipped(files, 0o755)},
        **options,
    )


def log_of(aws: Aws, name: str) -> list[str]:
    events = aws.client("logs").filter_log_events(logGroupName=f"/aws/lambda/{name}")["events"]
    return [event["message"].rstrip("\n") for event in events]


def eventually(aws: Aws, name: str, part: str, *, again: bool = False) -> list[str]:
    """The log, once it holds a line with this part. `again`: with further calls meanwhile."""
    for _ in range(200):
        if again:
            aws.call(name)
        lines = log_of(aws, name)
        if any(part in line for line in lines):
            break
    assert any(part in line for line in lines), (part, lines)
    return lines


@needs_node
@pytest.mark.parametrize("runtime", RUNTIMES)
def test_an_extension_lives_beside_every_runtime(aws: Aws, layer: str, runtime: str) -> None:
    name = f"beside-{runtime}"
    deploy(aws, name, runtime, layer)
    answer, whole = aws.call(name, {"a": 1}, LogType="Tail")
    assert answer == {"a": 1}
    assert "in the handler" in base64.b64decode(whole["LogResult"]).decode()
    assert aws.call(name, {"b": 2})[0] == {"b": 2}, "and the next call reaches it after the extension is done with the first"
    request = whole["ResponseMetadata"]["RequestId"]
    lines = eventually(aws, name, '"eventType": "INVOKE"')
    registered = {"functionName": name, "functionVersion": "$LATEST", "handler": "handler.handler", "accountId": "000000000000"}
    assert f"registered {json.dumps(registered)}" in lines
    assert "EXTENSION\tName: watch\tState: Ready\tEvents: [INVOKE, SHUTDOWN]" in lines
    heard = json.loads(next(line for line in lines if line.startswith("heard")).removeprefix("heard "))
    assert (heard["requestId"], heard["invokedFunctionArn"].split(":")[-1]) == (request, name)
    failed = aws.call(name, "exit")[0]
    assert failed["errorType"] == "Runtime.ExitError"
    assert failed["errorMessage"].endswith("Error: Runtime exited with error: exit status 3")
    eventually(aws, name, '"shutdownReason": "failure"')
    assert aws.call(name, {"c": 3})[0] == {"c": 3}, "in a new instance"
    aws.client().update_function_configuration(FunctionName=name, MemorySize=256)
    aws.call(name)
    eventually(aws, name, '"shutdownReason": "spindown"')


def test_who_subscribes_is_told_what_happens(aws: Aws, layer: str) -> None:
    deploy(aws, "told", "python", layer, MODE="telemetry")
    request = aws.call("told", {"a": 1})[1]["ResponseMetadata"]["RequestId"]
    lines = eventually(aws, "told", '"type": "platform.report"', again=True)  # it may have been frozen before all was told
    records = [json.loads(line.removeprefix("telemetry ")) for line in lines if line.startswith("telemetry ")]
    kinds = [record["type"] for record in records]
    order = [
        "initStart",
        "telemetrySubscription",
        "initRuntimeDone",
        "initReport",
        "extension",
        "start",
        "runtimeDone",
        "report",
    ]
    assert [kind for kind in kinds if kind != "function"][:8] == [f"platform.{each}" for each in order]
    told = {record["type"]: record["record"] for record in reversed(records)}
    assert told["function"] == "in the handler"
    assert told["platform.start"]["requestId"] == told["platform.report"]["requestId"] == request
    assert told["platform.runtimeDone"]["status"] == "success"
    assert told["platform.telemetrySubscription"] == {
        "name": "watch", "state": "Subscribed", "types": ["platform", "function"]
    }  # fmt: skip
    assert told["platform.report"]["metrics"]["memorySizeMB"] == 128


@pytest.mark.parametrize(
    ("mode", "kind", "message"),
    [("early", "Extension.Crash", "exit code 7"), ("init", "Extension.InitError", "Own.Reason"), ("crash", "Extension.Crash", "exit code 9")],
)  # fmt: skip
def test_an_extension_that_fails_fails_the_function(aws: Aws, layer: str, mode: str, kind: str, message: str) -> None:
    deploy(aws, f"fails-{mode}", "provided", layer, MODE=mode)
    failed, whole = aws.call(f"fails-{mode}", "never")
    request = whole["ResponseMetadata"]["RequestId"]
    assert failed == {"errorType": kind, "errorMessage": f"RequestId: {request} Error: {message}"}


@needs_node
@pytest.mark.parametrize("runtime", ["python", "node"])
def test_a_wrapper_script_starts_the_runtime(aws: Aws, layer: str, runtime: str) -> None:
    name = f"wrapped-{runtime}"
    deploy(aws, name, runtime, layer, AWS_LAMBDA_EXEC_WRAPPER="/opt/wrapper", MODE="")
    assert aws.call(name, [1])[0] == [1]
    eventually(aws, name, "wrapped: ")
    deploy(aws, name + "-not", runtime, AWS_LAMBDA_EXEC_WRAPPER="/opt/nothing")
    refused = aws.call(name + "-not", [1])[0]
    assert refused["errorType"] == "Runtime.ExitError"
    assert refused["errorMessage"].endswith("Error: Runtime exited with error: exit status 127")


INTERNAL = """
import json, os, threading, urllib.request, urllib.error
ROOT = "http://" + os.environ["AWS_LAMBDA_RUNTIME_API"]
def ask(path, body=None, **headers):
    data = None if body is None else json.dumps(body).encode()
    return urllib.request.urlopen(urllib.request.Request(ROOT + path, data, {k.replace("_", "-"): v for k, v in headers.items()}))
def register(name):
    answer = ask("/2020-01-01/extension/register", {"events": ["INVOKE"]}, Lambda_Extension_Name=name)
    return {"Lambda_Extension_Identifier": answer.headers["Lambda-Extension-Identifier"]}
heard = []
def listen(me):
    while True:
        heard.append(json.load(ask("/2020-01-01/extension/event/next", **me)))
me = register("inside")
threading.Thread(target=listen, args=(me,), daemon=True).start()
def handler(event, context):
    if event == "late":
        try: register("late")
        except urllib.error.HTTPError as error: return [error.code, json.load(error)["errorType"]]
    if event == "next":
        try: ask("/2018-06-01/runtime/invocation/next")
        except urllib.error.HTTPError as error: return [error.code, json.load(error)["errorType"]]
    return [each["requestId"] for each in heard]
"""


def test_a_function_may_be_its_own_extension(aws: Aws) -> None:
    aws.deploy("inside", INTERNAL)
    _, first = aws.call("inside", {})
    heard = aws.call("inside", {})[0]
    assert heard[0] == first["ResponseMetadata"]["RequestId"]
    assert aws.call("inside", "late")[0] == [403, "Extension.RegistrationClosed"]
    assert aws.call("inside", "next")[0] == [403, "InvalidStateTransition"]
    eventually(aws, "inside", "EXTENSION\tName: inside\tState: Ready\tEvents: [INVOKE]")


INTERNAL_NODE = """
const root = 'http://' + process.env.AWS_LAMBDA_RUNTIME_API;
const heard = [];
async function listen() {
  const made = await fetch(root + '/2020-01-01/extension/register', {
    method: 'POST', headers: { 'Lambda-Extension-Name': 'inside' }, body: JSON.stringify({ events: ['INVOKE'] }) });
  const headers = { 'Lambda-Extension-Identifier': made.headers.get('Lambda-Extension-Identifier') };
  (async () => { for (;;) heard.push(await (await fetch(root + '/2020-01-01/extension/event/next', { headers })).json()); })();
}
const listening = listen();
exports.handler = async (event) => {
  await listening;
  if (event === 'next') return (await fetch(root + '/2018-06-01/runtime/invocation/next')).status;
  return heard.map((each) => each.requestId);
};
"""


@needs_node
def test_a_node_function_may_be_its_own_extension(aws: Aws) -> None:
    files = {"index.mjs": INTERNAL_NODE.replace("exports.handler =", "await listening;\nexport const handler =")}
    aws.deploy("inside-node", files, Runtime="nodejs22.x", Handler="index.handler")
    _, whole = aws.call("inside-node", {})
    second = aws.call("inside-node", {})[0]
    assert second[0] == whole["ResponseMetadata"]["RequestId"]
    assert aws.call("inside-node", "next")[0] == 403


TICKING = """
import threading, time
ticks = []
def tick():
    while True:
        ticks.append(time.monotonic())
        time.sleep(0.005)
threading.Thread(target=tick, daemon=True).start()
def handler(event, context):
    until = len(ticks) + 3
    while len(ticks) < until: time.sleep(0.001)
    return [ticks[-1], max(b - a for a, b in zip(ticks, ticks[1:]))]
"""


@pytest.mark.parametrize("wrapper", ["", "/opt/wrapper"])
def test_nothing_runs_between_calls(aws: Aws, layer: str, wrapper: str) -> None:
    """Given a function with a thread in the background, when calls are further apart than the instance may be idle, then the thread
    stood still meanwhile; a handler sees its time jump."""
    variables = {"AWS_LAMBDA_EXEC_WRAPPER": wrapper} if wrapper else {}
    aws.deploy("ticks" + str(len(wrapper)), TICKING, Layers=[layer] if wrapper else [], Environment={"Variables": variables})
    last, _ = aws.call("ticks" + str(len(wrapper)))[0]
    deploy(aws, f"other-{len(wrapper)}", "provided")
    while time.monotonic() < last + 2:  # the same clock there
        aws.call(f"other-{len(wrapper)}")
    now, gap = aws.call("ticks" + str(len(wrapper)))[0]
    assert gap > (now - last) / 2, "one gap is most of what lies between"
