"""The same Node handlers under AWS's plain runtime interface client and under Dayfly: answers, errors and logs are equal.

The client's part in C++, which compiles for minutes, is left out (`tests/support/rapid_client.cjs`): it carries bytes, and no handler sees it.
"""

from __future__ import annotations

import base64
import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support import ric
from tests.support.aws import Aws, serving
from tests.support.site import ISOLATION

CLIENT = Path(__file__).parents[1] / "clients" / "lambda" / "node_modules" / "aws-lambda-ric" / "bin" / "index.mjs"
COMMAND = ("node", "-r", str(Path(__file__).parents[1] / "support" / "rapid_client.cjs"), str(CLIENT))
pytestmark = [
    pytest.mark.skipif(ISOLATION != "namespace", reason="without isolation code does not lie in /var/task"),
    pytest.mark.skipif(shutil.which("node") is None, reason="there is no Node on this machine"),
    pytest.mark.skipif(not CLIENT.is_file(), reason="tests/clients/lambda is not installed (see scripts/install.sh)"),
]  # fmt: skip

# name: a module, CommonJS; what it exports as `handler` gets the event
CASES: dict[str, tuple[str, str]] = {
    "async_value": ("exports.handler = async (event) => event", '{"a": [1, null, "x"]}'),
    "async_nothing": ("exports.handler = async () => {}", "{}"),
    "async_undefined_inside": ("exports.handler = async () => ({ a: undefined, b: [undefined] })", "{}"),
    "sync_value_is_ignored": ("exports.handler = () => 'ignored'", "{}"),
    "sync_nothing": ("exports.handler = () => {}", "{}"),
    "never_calls_back": ("exports.handler = (event, context, done) => {}", "{}"),
    "promise_that_never_settles": ("exports.handler = () => new Promise(() => {})", "{}"),
    "callback": ("exports.handler = (event, context, done) => done(null, { ok: event })", "3"),
    "callback_later": ("exports.handler = (event, context, done) => { setTimeout(() => done(null, 'late'), 5) }", "{}"),
    "callback_waits": (
        "exports.handler = (event, context, done) => { setTimeout(() => console.log('timer'), 20); done(null, 'after the timer') }", "{}",
    ),
    "callback_does_not_wait": (
        "exports.handler = (event, context, done) => { context.callbackWaitsForEmptyEventLoop = false; setTimeout(() => {}, 60000); done(null, 1) }",
        "{}",
    ),
    "callback_error": ("exports.handler = (event, context, done) => done(new Error('told'))", "{}"),
    "callback_text_error": ("exports.handler = (event, context, done) => done('just text')", "{}"),
    "succeed": ("exports.handler = (event, context) => { context.succeed({ a: 1 }) }", "{}"),
    "fail": ("exports.handler = (event, context) => { context.fail(new TypeError('no')) }", "{}"),
    "fail_with_nothing": ("exports.handler = (event, context) => { context.fail() }", "{}"),
    "done": ("exports.handler = (event, context) => { context.done(null, 'done') }", "{}"),
    "throws": ("exports.handler = () => { throw new RangeError('at once') }", "{}"),
    "rejects": ("exports.handler = async () => { throw new Error('later') }", "{}"),
    "rejects_with_text": ("exports.handler = async () => { throw 'text' }", "{}"),
    "rejects_with_object": ("exports.handler = async () => { throw { code: 7 } }", "{}"),
    "own_error": (
        "class Own extends Error { constructor(m) { super(m); this.name = 'OwnName'; this.code = 'E1'; this.more = [1] } }\n"
        "exports.handler = async () => { throw new Own('mine') }", "{}",
    ),
    "uncaught": ("exports.handler = () => { setTimeout(() => { throw new Error('stray') }, 1) }", "{}"),
    "unhandled": ("exports.handler = () => { Promise.reject(new Error('nobody')); setTimeout(() => {}, 500) }", "{}"),
    "bigint_answer": ("exports.handler = async () => 10n", "{}"),
    "circular_answer": ("exports.handler = async () => { const a = {}; a.a = a; return a }", "{}"),
    "date_answer": ("exports.handler = async () => new Date(0)", "{}"),
    "text_event": ("exports.handler = async (event) => typeof event + event", '"h\u00e9llo \u2603"'),
    "context": (
        "exports.handler = async (event, context) => Object.keys(context).filter((name) => name !== 'tenantId').sort()", "{}"
    ),
    "context_values": (
        "exports.handler = async (event, c) => [c.functionVersion, c.memoryLimitInMB, c.invokedFunctionArn, c.awsRequestId.length, "
        "typeof c.getRemainingTimeInMillis()]", "{}",
    ),
    "prints": ("exports.handler = async () => { console.log('one', { a: 1 }); console.error('two'); console.warn('three\\nfour'); return 1 }", "{}"),
    "prints_error": ("exports.handler = async () => { console.log('it', new Error('shown').message, [1, 'x']); return 1 }", "{}"),
    "debug_and_trace": ("exports.handler = async () => { console.debug('d'); console.info('i'); return 1 }", "{}"),
    "writes": ("exports.handler = async () => { process.stdout.write('raw\\n'); return 1 }", "{}"),
    "load_throws": ("throw new TypeError('while loading')", "{}"),
    "load_missing": ("require('nowhere')", "{}"),
    "load_syntax": ("exports.handler = (", "{}"),
    "no_handler": ("exports.other = 1", "{}"),
    "handler_no_function": ("exports.handler = 3", "{}"),
}  # fmt: skip
MODULES = {
    "esm": ("index.mjs", "export const handler = async (event) => event", '"m"'),
    "esm_await": ("index.mjs", "const x = await Promise.resolve(4); export const handler = async () => x", "{}"),
    "esm_throws": ("index.mjs", "throw new Error('in esm')", "{}"),
}


JSON_LOGS = {
    "json_prints": (
        "exports.handler = async () => { console.log('one', { a: 1 }); console.warn({ b: [1] }); console.error('it', new TypeError('bad')); "
        "console.debug('hidden'); console.info('two\\nlines'); return 1 }", "{}",
    ),
    "json_error": ("exports.handler = async () => { console.error(new RangeError('shown')); throw new TypeError('raised') }", "{}"),
    "json_not_loaded": ("exports.handler = (", "{}"),
    "json_circular": ("exports.handler = async () => { const a = {}; a.a = a; console.info(a); console.info(10n); return 1 }", "{}"),
}  # fmt: skip


@pytest.fixture(scope="module")
def aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Aws]:
    with serving(tmp_path_factory.mktemp("lambda")) as made:
        yield made


@pytest.mark.parametrize("name", [*CASES, *MODULES, *JSON_LOGS])
def test_a_call_is_the_same(aws: Aws, tmp_path: Path, name: str) -> None:
    file, source, event = MODULES[name] if name in MODULES else ("index.js", *(CASES | JSON_LOGS)[name])
    as_json = name in JSON_LOGS
    (tmp_path / file).write_text(source)
    environment = {
        "AWS_EXECUTION_ENV": "AWS_Lambda_nodejs20.x", "AWS_LAMBDA_FUNCTION_NAME": "same", "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "128", "AWS_LAMBDA_LOG_GROUP_NAME": "g", "AWS_LAMBDA_LOG_STREAM_NAME": "s",
    }  # fmt: skip
    environment |= {"AWS_LAMBDA_LOG_FORMAT": "JSON", "AWS_LAMBDA_LOG_LEVEL": "INFO"} if as_json else {}
    plain = ric.run(tmp_path, "index.handler", event.encode(), environment, COMMAND)
    client = aws.client()
    aws.deploy("same", {file: source}, Runtime="nodejs20.x", Handler="index.handler", Timeout=20, LoggingConfig={"LogFormat": "JSON" if as_json else "Text"})  # fmt: skip
    answer = client.invoke(FunctionName="same", Payload=event.encode(), LogType="Tail")
    client.delete_function(FunctionName="same")
    payload = answer["Payload"].read()
    request = answer["ResponseMetadata"]["RequestId"]
    assert told(payload, request, "/var/task") == told(plain.payload, ric.REQUEST, str(tmp_path))
    assert ("FunctionError" in answer) == plain.failed
    log = base64.b64decode(answer["LogResult"]).decode()
    ours = [line for line in lines(log, request, "/var/task") if not PLATFORM.match(line)]
    assert ours == lines(plain.log, ric.REQUEST, str(tmp_path))


PLATFORM = re.compile(r'(START|END|REPORT) |RequestId: REQUEST Error: |Runtime\.ExitError$|.*"type": "platform\.')


def told(payload: bytes, request: str, root: str) -> Any:
    """A payload, with what differs by nature made equal: of traces, what is not the function's own."""
    text = payload.replace(request.encode(), b"REQUEST").replace(root.encode(), b"ROOT")
    value = ric.decoded(text.replace(bytes(CLIENT.parents[1] / "dist"), b"/var/runtime"))
    if isinstance(value, dict) and "trace" in value:
        value["trace"] = own(value["trace"])
    return value


def own(trace: list[str]) -> list[str]:
    """The head of a trace, and the frames in the function's code."""
    return [line for line in trace if not line.startswith("    at ") or "ROOT/" in line]


def own_traces(value: dict[str, Any]) -> dict[str, Any]:
    traces = {name: own(value[name]) for name in ("stack", "stackTrace") if isinstance(value.get(name), list)}
    message = {"message": "\n".join(own(value["message"].split("\n")))} if isinstance(value.get("message"), str) else {}
    return value | traces | message


def lines(text: str, request: str, root: str) -> list[str]:
    text = (
        text.replace(root, "ROOT")
        .replace(request, "REQUEST")
        .replace("\r", "\n")
        .replace(f"{CLIENT.parents[1]}/dist", "/var/runtime")
    )
    text = re.sub(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z", "TIME", text)
    made = []
    for line in text.split("\n"):
        if not line or "Executing '" in line:  # which the client says when it is started by hand
            continue
        head, tab, last = line.rpartition("\t")
        if last.startswith("{"):
            line = head + tab + json.dumps(json.loads(last, object_hook=own_traces))
        made.append(line)
    return made
