"""The Node runtime keeps the same contract as the Python one."""

from __future__ import annotations

import json
import os
import socket
import subprocess
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
from instance import NODE, Instance, Link, running, write_files

from dayfly.sandbox import frames
from dayfly.sandbox.node.interpreters import find
from tests.support.machine import needs_node

pytestmark = needs_node

_VERSION = [int(part) for part in find()["node"].version.split(".")] if "node" in find() else [0]
tells_modules_by_syntax = pytest.mark.skipif(_VERSION < [20, 19], reason="Node does so since 20.19 only")

JSON = "application/json"
TEXT = "text/plain; charset=utf-8"
OCTETS = "application/octet-stream"
LINES = "application/x-ndjson"


def node(root: Path, **work: Any) -> AbstractContextManager[Instance]:
    return running(NODE, root, **{"runtime": "nodejs", **work})


# --- loading ----------------------------------------------------------------------------------------------------------

ESM = "export const handler = async () => 'esm';\n"
CJS = "exports.handler = () => 'cjs';\n"


@pytest.mark.parametrize(
    ("files", "handler", "body"),
    [
        ({"handler.js": CJS}, "handler.handler", b"cjs"),
        ({"handler.cjs": CJS}, "handler.handler", b"cjs"),
        ({"handler.mjs": ESM}, "handler.handler", b"esm"),
        ({"handler.js": ESM, "package.json": '{"type": "module"}'}, "handler.handler", b"esm"),
        pytest.param({"handler.js": ESM}, "handler.handler", b"esm", marks=tells_modules_by_syntax),
        ({"src/api.v1/main.js": CJS}, "src/api.v1/main.handler", b"cjs"),
        ({"src/main.js": CJS}, "src.main.handler", b"cjs"),
        ({"src/index.js": CJS}, "src.handler", b"cjs"),
        ({"handler.js": "module.exports = { handler() { return 'method'; } };"}, "handler.handler", b"method"),
        ({"handler.mjs": "export default { handler: () => 'default' };"}, "handler.handler", b"default"),
        ({"handler.mjs": "export default () => 'itself';"}, "handler.default", b"itself"),
        (
            {"handler.mjs": "const x = await Promise.resolve('top');\nexport const handler = () => x;"},
            "handler.handler",
            b"top",
        ),
        (
            {
                "handler.mjs": "import d from 'dep';\nexport const handler = () => d;",
                "node_modules/dep/index.js": "module.exports = 'dep'",
            },
            "handler.handler",
            b"dep",
        ),
    ],
)
def test_a_handler_is_found(files: dict[str, str], handler: str, body: bytes, tmp_path: Path) -> None:
    write_files(tmp_path, files)
    with node(tmp_path, handler=handler) as instance:
        link = instance.connect()
        assert link.ready()["init_s"] > 0
        assert link.call().body == body


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        (
            {"handler.js": "const a = 1;\nexports.handler = 1 1;\n"},
            {"type": "SyntaxError", "file": "handler.js", "line": 2},
        ),
        (
            {"handler.mjs": "const a = 1;\nexport const handler = 1 1;\n"},
            {"type": "SyntaxError", "file": "handler.mjs", "line": 2},
        ),
        (
            {"handler.mjs": "import './lib/b.mjs';\n", "lib/a.js": "", "lib/b.mjs": "\n\nlet let = 1;\n"},
            {"type": "SyntaxError", "file": "lib/b.mjs", "line": 3},
        ),
        (
            {"handler.js": "\nrequire('nowhere');\n"},
            {"type": "Error", "file": "handler.js", "line": 2, "message": "Cannot find module 'nowhere'"},
        ),
        ({"handler.mjs": "import 'nowhere';\n"}, {"type": "Error", "file": "handler.mjs"}),
        (
            {"handler.js": "require('./lib/one');", "lib/one.js": "const x = 1;\nnull.x;\n"},
            {"type": "TypeError", "file": "lib/one.js", "line": 2},
        ),
        ({"handler.mjs": "throw new RangeError('early');\n"}, {"type": "RangeError", "line": 1, "message": "early"}),
        (
            {"main.js": "", "lib/x.js": ""},
            {
                "type": "HandlerError",
                "message": "the package has no module handler (handler.js, .mjs or .cjs); in that place it has: lib, main.js",
            },
        ),
        (
            {"handler.js": "exports.main = () => 1; exports.x = 1;"},
            {"file": "handler.js", "message": "handler.js exports no function 'handler'; it exports: main"},
        ),
        ({"handler.js": ""}, {"message": "handler.js exports no function 'handler'; it exports no function at all"}),
        ({"handler.js": "exports.handler = 7"}, {"message": "handler.handler is of type number, not a function"}),
    ],
)
def test_a_function_that_does_not_load_says_where(files: dict[str, str], expected: dict[str, Any], tmp_path: Path) -> None:
    write_files(tmp_path, files)
    with node(tmp_path) as instance:
        payload = instance.connect().failed()
        assert {key: payload.get(key) for key in expected} == expected
        assert not any("node:" in text or "runtime" in text for text in payload["trace"])
        assert instance.exit_status() == 1
        assert payload["message"] in instance.log("stderr")


def test_unknown_contracts_and_malformed_handlers(tmp_path: Path) -> None:
    for work, message in (
        ({"contract": "other"}, "there is no contract 'other' for Node; there is: dayfly, lambda, whisk"),
        ({"handler": "handler"}, "the handler 'handler' is not of the form MODULE.FUNCTION"),
    ):
        with node(tmp_path, **work) as instance:
            assert instance.connect().failed()["message"] == message


@pytest.mark.parametrize(
    "source",
    {
        "handler.js": "exports.handler = () => require('dep');",
        "handler.mjs": "import d from 'dep';\nexport const handler = () => d;",
    }.items(),
)
def test_dependencies_may_lie_elsewhere(source: tuple[str, str], tmp_path: Path) -> None:
    write_files(tmp_path, {"code/" + source[0]: source[1], "deps/node_modules/dep/index.js": "module.exports = 'found';"})
    with node(tmp_path / "code", deps_roots=[str(tmp_path / "deps" / "node_modules")]) as instance:
        link = instance.connect()
        link.ready()
        assert link.call().body == b"found"


def test_a_process_started_ahead_waits_for_its_work(tmp_path: Path) -> None:
    write_files(tmp_path, {"handler.js": "exports.handler = () => process.env;"})
    work = {
        "id": "e" * 32,
        "namespace": "n",
        "function": "late",
        "revision": 1,
        "runtime": "nodejs",
        "handler": "handler.handler",
        "memory_mb": 64,
        "task_root": str(tmp_path),
        "tmp": "/tmp",
        "env": {"A": "x" * 100_000},
    }
    read_end, write_end = os.pipe()
    with socket.socket(socket.AF_UNIX) as listener:
        path = str(tmp_path / "s")
        listener.bind(path)
        listener.listen()
        redirect = f'exec "$@" 3<&{listener.fileno()} 4<&{read_end}'
        process = subprocess.Popen(
            ["/bin/bash", "-c", redirect, "bash", *NODE],
            env={"PATH": os.environ["PATH"], "INHERITED": "x"},
            pass_fds=[listener.fileno(), read_end],
            stdout=subprocess.DEVNULL,
        )
    try:
        os.close(read_end)
        link = Link(path)
        os.write(write_end, json.dumps(work).encode()[:50_000])  # in two halves
        os.write(write_end, json.dumps(work).encode()[50_000:] + b"\n")
        os.close(write_end)
        link.ready()
        environ = link.call().json
        assert (environ["DAYFLY_FUNCTION"], len(environ["A"])) == ("late", 100_000)
        assert "INHERITED" not in environ
        assert "DAYFLY_WORK" not in environ
        link.close()
    finally:
        process.kill()
        process.wait()


# --- values -----------------------------------------------------------------------------------------------------------

HANDLER = """
const cycle = { a: [] };
cycle.a.push(cycle);
let deep = [];
for (let i = 0; i < 100_000; i++) deep = [deep];
const { Readable } = require('node:stream');

function* numbers() { yield { n: 1 }; yield [2]; }
async function* texts() { yield 'a'; yield ''; yield Buffer.from('b'); }
function* events() {
  yield new Response(null, { headers: { 'content-type': 'text/event-stream' } });
  yield 'two\\nlines';
  yield { event: 'tick', id: 7, data: { n: 1 } };
  yield { n: 2 };
}
function* breaks() { yield 'begun'; throw new RangeError('in the middle'); }
function* refused() { yield { n: 1 }; yield new Set(); }
function* empty() {}
const web = (...parts) => new ReadableStream({ start(c) { for (const p of parts) c.enqueue(p); c.close(); } });

exports.handler = (event, context) => eval(`(${typeof event === 'string' ? event : event.text()})`);
"""


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_files(tmp_path_factory.mktemp("node"), {"handler.js": HANDLER})


@pytest.fixture(scope="module")
def event(root: Path) -> Iterator[Link]:
    with node(root) as instance:
        link = instance.connect()
        link.ready()
        yield link


@pytest.fixture(scope="module")
def http(root: Path) -> Iterator[Link]:
    with node(root, flavour="http") as instance:
        link = instance.connect()
        link.ready()
        yield link


@pytest.mark.parametrize(
    ("expression", "content_type", "body"),
    [
        ("{a: [1, 2.5, null, true, 'ü'], b: undefined}", JSON, '{"a":[1,2.5,null,true,"ü"]}'),
        ("[]", JSON, "[]"),
        ("0", JSON, "0"),
        ("false", JSON, "false"),
        ("null", JSON, "null"),
        ("undefined", JSON, "null"),
        ("{status: 404, body: 'data'}", JSON, '{"status":404,"body":"data"}'),
        ("{at: new Date(0)}", JSON, '{"at":"1970-01-01T00:00:00.000Z"}'),
        ("'text ü'", TEXT, "text ü"),
        ("''", TEXT, ""),
        ("Buffer.from('raw')", OCTETS, "raw"),
        ("new Uint8Array([114, 97, 119]).buffer", OCTETS, "raw"),
        ("Promise.resolve({a: 1})", JSON, '{"a":1}'),
        ("new Response('x', {headers: {'content-type': 'a/b'}})", "a/b", "x"),
        ("new Response('x')", "text/plain;charset=UTF-8", "x"),
        ("Response.json({a: 1})", JSON, '{"a":1}'),
    ],
)
def test_values_become_bodies(event: Link, expression: str, content_type: str, body: str) -> None:
    answer = event.call(expression)
    assert (answer.refused, answer.error) == ("", None)
    assert (answer.content_type, answer.body.decode(), answer.status) == (content_type, body, 200)


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("NaN", "result is NaN, which JSON cannot hold"),
        ("{a: [1, {'b c': -Infinity}]}", 'result.a[1]["b c"] is -Infinity'),
        ("[1n]", "result[0] is a bigint"),
        ("{f: () => 1}", "result.f is a function"),
        ("[new Map()]", "result[0] is a Map"),
        ("{s: {t: new Set()}}", "result.s.t is a Set"),
        ("[Promise.resolve(1)]", "result[0] is a Promise"),
        ("cycle", "result.a[0] contains itself"),
        ("deep", "nested too deeply"),
        ("refused()", "result is a Set"),
    ],
)
def test_what_breaks_the_contract_is_refused_with_its_place(event: Link, expression: str, message: str) -> None:
    assert message in event.call(expression).refused
    assert event.call("1").json == 1


@pytest.mark.parametrize(
    ("expression", "content_type", "pieces"),
    [
        ("numbers()", LINES, [b'{"n":1}\n', b"[2]\n"]),
        ("texts()", TEXT, [b"a", b"b"]),
        ("empty()", OCTETS, []),
        ("web('a', 'b')", TEXT, [b"a", b"b"]),
        ("Readable.from([Buffer.from('a'), Buffer.from('b')])", OCTETS, [b"a", b"b"]),
        ("new Response(web(new Uint8Array([97])), {status: 201})", OCTETS, [b"a"]),
        (
            "events()",
            "text/event-stream",
            [b"data: two\ndata: lines\n\n", b'event: tick\nid: 7\ndata: {"n":1}\n\n', b'data: {"n":2}\n\n'],
        ),
    ],
)
def test_generators_stream_item_by_item(event: Link, expression: str, content_type: str, pieces: list[bytes]) -> None:
    answer = event.call(expression)
    assert answer.content_type == content_type
    assert [piece for piece in answer.pieces if piece] == pieces


def test_a_stream_that_throws_breaks_off_with_an_error(event: Link) -> None:
    answer = event.call("breaks()")
    assert answer.pieces == [b"begun"]
    assert answer.error is not None
    assert (answer.error["type"], answer.error["message"]) == ("RangeError", "in the middle")


@pytest.mark.parametrize(
    ("expression", "status", "content_type", "body"),
    [
        ("null", 204, JSON, b""),
        ("{status: 404, body: 'gone'}", 404, TEXT, b"gone"),
        ("{statusCode: 201, headers: {'Content-Type': 'a/b'}, body: Buffer.from('x')}", 201, "a/b", b"x"),
        ("{statusCode: 500}", 500, JSON, b""),
        ("{status: 200}", 200, JSON, b'{"status":200}'),
        ("{status: 200, body: numbers()}", 200, OCTETS, b'{"n":1}\n[2]\n'),
        ("new Response(null, {status: 304})", 304, JSON, b""),
        ("{status: 418, body: {tea: true}}", 418, JSON, b'{"tea":true}'),
        ("Response.redirect('http://x.example/', 302)", 302, JSON, b""),
    ],
)
def test_the_http_flavour_answers_with_responses(
    http: Link, expression: str, status: int, content_type: str, body: bytes
) -> None:
    answer = http.http("POST", body=expression.encode())
    assert (answer.status, answer.content_type, answer.body) == (status, content_type, body)


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("{status: 99, body: ''}", "status is 99; it must be a whole number from 200 to 599"),
        ("{status: '200', body: ''}", "status is 200"),
        ("{status: 200, headers: {'a b': 'c'}}", 'header name "a b"'),
        ("{status: 200, headers: {a: 'b\\r\\nset-cookie: c'}}", "it must be one line"),
        ("{status: 200, headers: {a: '\\u20ac'}}", "latin-1"),
        ("{status: 200, headers: {a: 'b\\x7f'}}", "it must be one line"),
        ("{status: 200, headers: Array(201).fill(['a', 'b'])}", "has 201 headers; at most 200"),
        ("{status: 200, headers: 7}", "must be an object or a list"),
        ("{status: 200, headers: {a: 'x'.repeat(100000)}}", "are longer than the 65536 bytes"),
    ],
)
def test_malformed_responses_are_refused(http: Link, expression: str, message: str) -> None:
    assert message in http.http("POST", body=expression.encode()).refused


def test_a_request_has_all_of_http(http: Link) -> None:
    def ask(expression: str, **request: Any) -> Any:
        return http.http(body=expression.encode(), **request).json

    headers = [("accept", "a"), ("cookie", "x=1"), ("cookie", "y=2"), ("content-type", "Text/HTML; charset=x")]
    assert ask("[event.method, event.path, event.query]", method="PURGE", path="/a%2Fb/", query="x=1&x=%20") == [
        "PURGE",
        "/a%2Fb/",
        "x=1&x=%20",
    ]
    assert ask("event.queryParams.getAll('x')", query="x=1&x=%20&y") == ["1", " "]
    assert ask("[event.headers.get('ACCEPT'), event.headers.getAll('Cookie')]", headers=headers) == ["a", ["x=1", "y=2"]]
    assert ask("[event.headers.get('no'), event.headers.has('Accept'), event.contentType]", headers=headers) == [
        None,
        True,
        "text/html",
    ]
    assert ask("[event.body.length, event.text().length]") == [40, 40]
    assert http.call(b"[event.method, event.path]").json == ["POST", "/"]


# --- life -------------------------------------------------------------------------------------------------------------

LIFE = """
const { EventEmitter } = require('node:events');
const waiting = [];
console.log('loading');
exports.handler = async (event, context) => {
  switch (event.what) {
    case 'context':
      return [context.invocationId, context.function, context.namespace, context.revision, context.memoryLimitMb,
        context.traceParent, context.attempt, context.cause, context.depth, context.remaining() > 50,
        context.getRemainingTimeInMillis() > 50000, context.signal.aborted];
    case 'throw':
      throw new TypeError('no étoile', { cause: new Error('because') });
    case 'throw text':
      throw 'plain \\ud800';
    case 'later':
      setTimeout(() => { throw new Error('stray'); });
      return new Promise(() => {});
    case 'rejected':
      Promise.reject(new Error('unheard'));
      return new Promise(() => {});
    case 'exit':
      process.exit(3);
    case 'long':
      throw new Error('x'.repeat(1_000_000));
    case 'meet':
      console.log('meet', event.n);
      process.stdout.write('half ');
      return new Promise((resolve) => {
        waiting.push(resolve);
        if (waiting.length === 2) setImmediate(() => waiting.splice(0).forEach((r) => r()));
      }).then(() => { console.log('met', event.n); return event.n; });
    case 'wait':
      await new Promise((resolve) => context.signal.addEventListener('abort', resolve));
      console.log('aborted');
      return 1;
    case 'print':
      console.log('a'); console.error('b'); context.logger.info('c', { d: 1 }); context.logger.debug('no');
      process.stdout.write('unfinished');
      return 1;
    case 'outside':
      setTimeout(() => { throw new Error('after the answer'); });
      return 1;
  }
  return event;
};
"""


@pytest.fixture
def life(tmp_path: Path) -> Path:
    return write_files(tmp_path, {"handler.js": LIFE})


def test_the_context_tells_all_about_the_call(life: Path) -> None:
    with node(life) as instance:
        link = instance.connect()
        link.ready()
        answer = link.call({"what": "context"}, id="a" * 32, trace="00-1-2-01", attempt=2, cause="c", depth=3)
        assert answer.json == ["a" * 32, "demo", "default", 7, 256, "00-1-2-01", 2, "c", 3, True, True, False]
        assert answer.head is not None
        assert answer.head["cpu_us"] > 0
        assert answer.head["rss_kb"] > 1000


def test_errors_carry_the_users_frames(life: Path) -> None:
    with node(life) as instance:
        link = instance.connect()
        link.ready()
        error = link.call({"what": "throw"}).error
        assert error is not None
        assert (error["type"], error["message"]) == ("TypeError", "no étoile")
        assert error["trace"][0].startswith("at exports.handler (handler.js:12:13)\n    throw new TypeError")
        assert error["trace"][-1].startswith("caused by Error: because at handler.js:12:")
        assert len(error["trace"]) == 2
        assert link.call({"what": "throw text"}).error == {"type": "Error", "message": "plain \ufffd", "trace": []}
        assert len(link.call({"what": "long"}).error["message"]) < 9000  # type: ignore[index]
        for what, message in (("later", "stray"), ("rejected", "unheard")):
            error = link.call({"what": what}).error
            assert error is not None
            assert (error["type"], error["message"]) == ("Error", message)
        assert link.call({"still": "here"}).json == {"still": "here"}
        assert f"\x1e{1:032x}\nTypeError: no étoile\n    at exports.handler (handler.js:12:13)" in instance.log("stderr")


@pytest.mark.parametrize("concurrency", [1, 4])
def test_an_error_outside_of_any_call_ends_the_instance(concurrency: int, life: Path) -> None:
    with node(life, concurrency=concurrency) as instance:
        link = instance.connect()
        link.ready()
        assert link.call({"what": "outside"}).json == 1
        assert instance.exit_status() == 1
        assert "outside of any call: Error: after the answer" in instance.log("stderr")


def test_leaving_in_the_middle_ends_the_instance(life: Path) -> None:
    with node(life) as instance:
        link = instance.connect()
        link.ready()
        link.begin(b'{"what": "exit"}')
        with pytest.raises(EOFError):
            link.frame()
        assert instance.exit_status() == 3


def test_output_is_tagged(life: Path) -> None:
    with node(life) as instance:
        link = instance.connect()
        link.ready()
        link.call({})
        link.call({"what": "print"})
        link.call({"what": "print"})
        out, err = instance.log(), instance.log("stderr")
    assert out == "loading\n" + "".join(f"\x1e{n:032x}\na\nunfinished\n" for n in (2, 3))
    assert err == "".join(f"\x1e{n:032x}\nb\nINFO c {{ d: 1 }}\n" for n in (2, 3))


def test_calls_overlap_and_their_lines_stay_apart(life: Path) -> None:
    with node(life, concurrency=2) as instance:
        link = instance.connect()
        link.ready()
        one, two = link.answer(*(link.begin(json.dumps({"what": "meet", "n": n}).encode()) for n in (1, 2)))
        assert (one.json, two.json) == (1, 2)
        stray = link.begin(b'{"what": "wait"}')
        failing = link.call({"what": "later"})
        assert failing.error is not None
        assert failing.error["message"] == "stray"
        link.cancel(stray)
        assert link.answer(stray).error["type"] == "Cancelled"
        link.call({})
        out = instance.log()
    for n in (1, 2):
        assert f"\x1e{n:032x}\nmeet {n}\n" in out
        assert f"half met {n}\n" in out
    assert f"\x1e{3:032x}\naborted\n" in out


def test_bodies_of_any_size_and_a_restarted_gateway(life: Path) -> None:
    with node(life) as instance:
        link = instance.connect()
        ready = link.ready()
        for size in (1, 65_000, 300_000, 3_000_000):
            assert link.call(["x" * size]).json == ["x" * size]
        stream = link.begin(b"[1,", end=False)
        link.send(stream, b"2", end=False)
        link.send(stream, b"]", end=True)
        assert link.answer(stream).json == [1, 2]
        link.begin(b'{"what": "later"}', end=False)
        link.close()
        link = instance.connect()
        assert link.ready() == ready
        assert link.call([3]).json == [3]


def test_malformed_json_is_the_callers_fault(life: Path) -> None:
    with node(life) as instance:
        link = instance.connect()
        link.ready()
        for body in (b"{", b"\xff", b"NaN", b'{"a":1}}'):
            answer = link.call(body)
            assert (answer.status, answer.content_type) == (400, "application/problem+json")
            assert "the event is not JSON" in answer.json["detail"]


def test_each_item_of_a_stream_is_sent_before_the_next_is_made(tmp_path: Path) -> None:
    source = (
        "exports.handler = async function* (event, context) {\n"
        "  yield 'begun';\n"
        "  await new Promise((resolve) => context.signal.addEventListener('abort', resolve));\n"
        "  yield 'never seen';\n};\n"
    )
    write_files(tmp_path, {"handler.js": source})
    with node(tmp_path) as instance:
        link = instance.connect()
        link.ready()
        stream = link.begin()
        assert link.frame()[0] == frames.RESPONSE
        assert link.frame() == (frames.DATA, stream, b"begun")
        link.cancel(stream)
        kind, _, payload = link.frame()
        assert (kind, json.loads(payload)["type"]) == (frames.ERROR | frames.END, "Cancelled")
        again = link.begin()
        assert link.frame()[:2] == (frames.RESPONSE, again)
