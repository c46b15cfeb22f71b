"""What functions of AWS Lambda run under: layers, environment, Node, and bootstraps on the Runtime API; and their URLs."""

from __future__ import annotations

import base64
import json
import shutil
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.aws import ROLE, Aws, serving, zipped
from tests.support.site import ISOLATION

needs_node = pytest.mark.skipif(shutil.which("node") is None, reason="there is no Node on this machine")
isolated = pytest.mark.skipif(ISOLATION != "namespace", reason="without isolation functions see the machine's own folders")


@pytest.fixture(scope="module")
def aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Aws]:
    with serving(tmp_path_factory.mktemp("lambda")) as made:
        yield made


@isolated
def test_the_environment_is_the_documented_one(aws: Aws) -> None:
    source = "import os, sys\ndef handler(event, context): return [dict(os.environ), os.getcwd(), sys.path[:3]]"
    aws.deploy("environment", source, Environment={"Variables": {"MINE": "yes"}}, MemorySize=256)
    env, folder, path = aws.call("environment")[0]
    assert set(env) == {
        "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_DEFAULT_REGION", "AWS_REGION", "AWS_EXECUTION_ENV",
        "AWS_LAMBDA_FUNCTION_NAME", "AWS_LAMBDA_FUNCTION_VERSION", "AWS_LAMBDA_FUNCTION_MEMORY_SIZE",
        "AWS_LAMBDA_INITIALIZATION_TYPE", "AWS_LAMBDA_LOG_GROUP_NAME", "AWS_LAMBDA_LOG_STREAM_NAME", "AWS_LAMBDA_RUNTIME_API",
        "AWS_XRAY_CONTEXT_MISSING", "AWS_XRAY_DAEMON_ADDRESS", "_AWS_XRAY_DAEMON_ADDRESS", "_AWS_XRAY_DAEMON_PORT",
        "LAMBDA_TASK_ROOT", "LAMBDA_RUNTIME_DIR", "LANG", "LC_CTYPE", "LD_LIBRARY_PATH", "PATH", "PYTHONPATH", "PWD", "SHLVL", "TZ",
        "_HANDLER", "_X_AMZN_TRACE_ID", "MINE", "AWS_ENDPOINT_URL",  # the last one is ours: it leads SDKs to this server
    }  # fmt: skip
    assert (env["AWS_EXECUTION_ENV"], env["AWS_LAMBDA_FUNCTION_MEMORY_SIZE"]) == ("AWS_Lambda_python3.12", "256")
    assert (folder, path[0], path[2]) == ("/var/task", "/var/task", "/opt/python")


@isolated
def test_layers_lie_in_opt_the_last_one_on_top(aws: Aws) -> None:
    client = aws.client()
    arns = []
    for name, files in (
        ("below", {"python/shared.py": "WHO = 'below'", "python/only.py": "X = 1"}),
        ("above", {"python/shared.py": "WHO = 'above'"}),
    ):
        made = client.publish_layer_version(
            LayerName=name, Content={"ZipFile": zipped(files)}, CompatibleRuntimes=["python3.12"]
        )
        assert made["Version"] == 1
        arns.append(made["LayerVersionArn"])
    aws.deploy("layered", "import shared, only\ndef handler(e, c): return [shared.WHO, only.X, shared.__file__]", Layers=arns)
    assert aws.call("layered")[0] == ["above", 1, "/opt/python/shared.py"]
    shown = client.get_function_configuration(FunctionName="layered")["Layers"]
    assert [layer["Arn"] for layer in shown] == arns
    client.delete_layer_version(LayerName="above", VersionNumber=1)
    with pytest.raises(client.exceptions.ResourceNotFoundException):
        client.get_layer_version(LayerName="above", VersionNumber=1)
    assert aws.call("layered")[0][0] == "above", "who uses it keeps it"


@needs_node
def test_node_handlers_answer_and_fail_as_under_lambda(aws: Aws) -> None:
    def deploy(name: str, source: str, file: str = "index.js") -> None:
        options = {"Runtime": "nodejs22.x", "Handler": "index.handler", "Role": ROLE, "Timeout": 5}
        aws.client().create_function(FunctionName=name, Code={"ZipFile": zipped({file: source})}, **options)

    deploy(
        "js",
        "exports.handler = async (event, context) => { console.log('said'); if (event.boom) throw new TypeError('bad'); return [event, context.functionName]; }",
    )
    answer, whole = aws.call("js", {"a": 1}, LogType="Tail")
    assert answer == [{"a": 1}, "js"]
    request = whole["ResponseMetadata"]["RequestId"]
    assert f"\t{request}\tINFO\tsaid\n" in base64.b64decode(whole["LogResult"]).decode()
    failed = aws.call("js", {"boom": 1})[0]
    assert (failed["errorType"], failed["errorMessage"], failed["trace"][0]) == ("TypeError", "bad", "TypeError: bad")
    deploy("callback", "exports.handler = (event, context, done) => setTimeout(() => done(null, 'called'), 1)")
    assert aws.call("callback")[0] == "called"
    deploy("esm", "export const handler = async () => 'module'", "index.mjs")
    assert aws.call("esm")[0] == "module"
    deploy("missing", "exports.other = 1")
    assert aws.call("missing")[0] == {
        "errorType": "Runtime.HandlerNotFound",
        "errorMessage": "index.handler is undefined or not exported",
        "trace": ["Runtime.HandlerNotFound: index.handler is undefined or not exported"],
    }
    said, ended = streamed(aws, "missing", {})
    assert (said, ended["ErrorCode"]) == (b"", "Runtime.HandlerNotFound"), "a stream's client hears of it in a stream"
    deploy("unloadable", "require('nowhere')")
    failed = aws.call("unloadable")[0]
    assert (sorted(failed), failed["errorType"]) == (["errorMessage", "errorType", "trace"], "Runtime.ImportModuleError")
    assert failed["trace"][0] == "Runtime.ImportModuleError: Error: Cannot find module 'nowhere'"
    deploy("raises", "throw new TypeError('while loading')")
    failed = aws.call("raises")[0]
    assert (failed["errorType"], failed["trace"][0]) == ("TypeError", "TypeError: while loading")


def test_boto3_is_part_of_the_runtime(aws: Aws) -> None:
    source = """
import boto3, botocore
def handler(event, context):
    return [boto3.__file__, boto3.client("sqs", endpoint_url="http://127.0.0.1:9").meta.region_name]
"""
    aws.deploy("sdk", source)
    file, region = aws.call("sdk")[0]
    assert region == "us-east-1"
    assert file == "/var/runtime/boto3/__init__.py" or ISOLATION != "namespace"
    layer = aws.client().publish_layer_version(LayerName="own-boto3", Content={"ZipFile": zipped({"python/boto3.py": "X = 1"})})
    aws.deploy("own-sdk", "import boto3\ndef handler(event, context): return boto3.X", Layers=[layer["LayerVersionArn"]])
    assert aws.call("own-sdk")[0] == 1, "what a layer brings comes first"


@needs_node
@isolated
def test_a_layer_of_node_modules_lies_where_its_version_looks(aws: Aws) -> None:
    layer = aws.client().publish_layer_version(
        LayerName="modules",
        Content={"ZipFile": zipped({"nodejs/node22/node_modules/ours/index.js": "module.exports = 'of 22'"})},
    )
    source = "const ours = require('ours'); exports.handler = async () => [ours, process.env.NODE_PATH, process.env.AWS_EXECUTION_ENV]"
    options = {"Runtime": "nodejs22.x", "Handler": "index.handler", "Layers": [layer["LayerVersionArn"]]}
    aws.deploy("modules", {"index.js": source}, **options)
    ours, path, environment = aws.call("modules")[0]
    assert (ours, path.split(":")[0], environment) == ("of 22", "/opt/nodejs/node22/node_modules", "AWS_Lambda_nodejs22.x")


BOOTSTRAP = """#!/usr/bin/env python3
import json, os, sys, urllib.request
api = "http://" + os.environ["AWS_LAMBDA_RUNTIME_API"] + "/2018-06-01/runtime/invocation/"
def post(path, value, **headers):
    request = urllib.request.Request(api + path, json.dumps(value).encode(), {k.replace("_", "-"): v for k, v in headers.items()})
    urllib.request.urlopen(request)
while True:
    answer = urllib.request.urlopen(api + "next")
    name, event = answer.headers["Lambda-Runtime-Aws-Request-Id"], json.load(answer)
    print("got", event, flush=True)
    if event == "error":
        post(name + "/error", {"errorMessage": "m", "errorType": "Own.Type", "more": 1}, Lambda_Runtime_Function_Error_Type="Own.Type")
    elif event == "exit":
        sys.exit(4)
    else:
        post(name + "/response", [event, answer.headers["Lambda-Runtime-Invoked-Function-Arn"]])
"""

EXTENSION = """#!/usr/bin/env python3
import json, os, urllib.request
api = "http://" + os.environ["AWS_LAMBDA_RUNTIME_API"] + "/2020-01-01/extension/"
request = urllib.request.Request(api + "register", b'{"events": ["INVOKE"]}', {"Lambda-Extension-Name": "beside"})
me = {"Lambda-Extension-Identifier": urllib.request.urlopen(request).headers["Lambda-Extension-Identifier"]}
while True:
    event = json.load(urllib.request.urlopen(urllib.request.Request(api + "event/next", headers=me)))
    print("extension", event["eventType"], flush=True)
"""


def test_a_bootstrap_pulls_its_calls_from_the_runtime_api(aws: Aws) -> None:
    client = aws.client()
    layer = client.publish_layer_version(
        LayerName="beside", Content={"ZipFile": zipped({"extensions/beside": EXTENSION}, 0o755)}
    )
    client.create_function(
        FunctionName="own", Runtime="provided.al2023", Handler="any", Role=ROLE, Timeout=5, Layers=[layer["LayerVersionArn"]],
        Code={"ZipFile": zipped({"bootstrap": BOOTSTRAP}, 0o755)},
    )  # fmt: skip
    answer, whole = aws.call("own", {"a": 1}, LogType="Tail")
    assert answer == [{"a": 1}, "arn:aws:lambda:us-east-1:000000000000:function:own"]
    assert "got {'a': 1}\n" in base64.b64decode(whole["LogResult"]).decode()
    assert aws.call("own", "error")[0] == {"errorMessage": "m", "errorType": "Own.Type", "more": 1}
    assert aws.call("own", "exit")[0]["errorMessage"].endswith("Error: Runtime exited with error: exit status 4")
    assert aws.call("own", {"b": 2})[0][0] == {"b": 2}
    client.create_function(
        FunctionName="empty", Runtime="provided.al2023", Handler="any", Role=ROLE, Code={"ZipFile": zipped({"other": "x"})}
    )
    assert aws.call("empty")[0]["errorType"] == "Runtime.InvalidEntrypoint"


STREAMING = """
exports.handler = awslambda.streamifyResponse(async (event, out, context) => {
  if (event.rawPath) {
    out = awslambda.HttpResponseStream.from(out, { statusCode: 207, headers: { 'Content-Type': 'text/html', 'X-Own': 'yes' }, cookies: ['a=1', 'b=2'] });
  }
  out.write('first ');
  await new Promise((resolve) => setTimeout(resolve, 50));
  if (event.boom) throw new RangeError('in the middle');
  out.write('second');
  out.end();
});
"""

STREAMING_BOOTSTRAP = """#!/usr/bin/env python3
import http.client, json, os
while True:
    api = http.client.HTTPConnection(os.environ["AWS_LAMBDA_RUNTIME_API"])
    api.request("GET", "/2018-06-01/runtime/invocation/next")
    answer = api.getresponse()
    event = json.loads(answer.read())
    headers = {"Lambda-Runtime-Function-Response-Mode": "streaming", "Transfer-Encoding": "chunked"}
    pieces = [b"one ", b"two"]
    if "rawPath" in event:
        headers["Content-Type"] = "application/vnd.awslambda.http-integration-response"
        pieces.insert(0, json.dumps({"statusCode": 207, "headers": {"x-own": "yes"}, "cookies": ["a=1", "b=2"]}).encode() + bytes(8))
    path = "/2018-06-01/runtime/invocation/" + answer.headers["Lambda-Runtime-Aws-Request-Id"] + "/response"
    api.request("POST", path, iter(pieces), headers, encode_chunked=True)
    api.getresponse().read()
"""


def streamed(aws: Aws, name: str, event: Any) -> tuple[bytes, dict[str, Any]]:
    """The pieces of a streamed answer, put together, and how it ended."""
    payload = json.dumps(event)
    events = list(aws.client().invoke_with_response_stream(FunctionName=name, Payload=payload)["EventStream"])
    assert all("PayloadChunk" in each for each in events[:-1])
    return b"".join(each["PayloadChunk"]["Payload"] for each in events[:-1]), events[-1]["InvokeComplete"]


def over_http(aws: Aws, name: str) -> tuple[int, Any, bytes]:
    """What the streaming URL of that function answers."""
    client = aws.client()
    url = client.create_function_url_config(FunctionName=name, AuthType="NONE", InvokeMode="RESPONSE_STREAM")["FunctionUrl"]
    client.add_permission(
        FunctionName=name, StatementId="all", Action="lambda:InvokeFunctionUrl", Principal="*", FunctionUrlAuthType="NONE"
    )
    with urllib.request.urlopen(urllib.request.Request(aws.url + "/x", headers={"Host": url.split("/")[2]})) as answer:
        return answer.status, answer.headers, answer.read()


@needs_node
def test_a_streaming_node_handler_is_heard_piece_by_piece(aws: Aws) -> None:
    aws.deploy("flow", {"index.js": STREAMING}, Runtime="nodejs22.x", Handler="index.handler")
    assert streamed(aws, "flow", {}) == (b"first second", {})
    said, ended = streamed(aws, "flow", {"boom": 1})
    assert (said, ended["ErrorCode"]) == (b"first ", "RangeError")
    assert json.loads(ended["ErrorDetails"])["errorMessage"] == "in the middle"
    status, headers, body = over_http(aws, "flow")
    assert (status, headers["content-type"], headers["x-own"], body) == (207, "text/html", "yes", b"first second")
    assert headers.get_all("set-cookie") == ["a=1", "b=2"]


def test_a_bootstrap_may_stream(aws: Aws) -> None:
    aws.client().create_function(
        FunctionName="pours", Runtime="provided.al2023", Handler="any", Role=ROLE, Timeout=5,
        Code={"ZipFile": zipped({"bootstrap": STREAMING_BOOTSTRAP}, 0o755)},
    )  # fmt: skip
    assert streamed(aws, "pours", {}) == (b"one two", {})
    status, headers, body = over_http(aws, "pours")
    assert (status, headers["x-own"], headers.get_all("set-cookie"), body) == (207, "yes", ["a=1", "b=2"], b"one two")


def test_an_answer_of_many_pieces_is_whole_again_on_every_way(aws: Aws) -> None:
    aws.deploy("large", "def handler(event, context): return {'statusCode': 200, 'body': 'x' * 3_000_000}")
    assert len(aws.call("large")[0]["body"]) == 3_000_000
    assert len(json.loads(streamed(aws, "large", {})[0])["body"]) == 3_000_000
    assert len(over_http(aws, "large")[2]) == 3_000_000


def test_provisioned_instances_are_there_before_the_call(aws: Aws) -> None:
    client = aws.client()
    aws.deploy("ready", "import os\ndef handler(e, c): return os.environ['AWS_LAMBDA_INITIALIZATION_TYPE']", Publish=True)
    made = client.put_provisioned_concurrency_config(FunctionName="ready", Qualifier="1", ProvisionedConcurrentExecutions=2)
    assert made["Status"] == "IN_PROGRESS"
    for _ in range(400):
        state = client.get_provisioned_concurrency_config(FunctionName="ready", Qualifier="1")
        if state["Status"] == "READY":
            break
    assert (state["Status"], state["AvailableProvisionedConcurrentExecutions"]) == ("READY", 2)
    assert aws.call("ready", Qualifier="1")[0] == "provisioned-concurrency"
    assert aws.call("ready")[0] == "on-demand"
    client.delete_provisioned_concurrency_config(FunctionName="ready", Qualifier="1")
    with pytest.raises(client.exceptions.ProvisionedConcurrencyConfigNotFoundException):
        client.get_provisioned_concurrency_config(FunctionName="ready", Qualifier="1")


def test_reserved_concurrency_of_zero_stops_a_function(aws: Aws) -> None:
    client = aws.client()
    aws.deploy("stopped", "def handler(e, c): return 1")
    client.put_function_concurrency(FunctionName="stopped", ReservedConcurrentExecutions=0)
    with pytest.raises(client.exceptions.TooManyRequestsException) as caught:
        aws.call("stopped")
    response = caught.value.response
    assert (response["Reason"], response["message"]) == ("ReservedFunctionConcurrentInvocationLimitExceeded", "Rate Exceeded.")
    client.delete_function_concurrency(FunctionName="stopped")
    assert aws.call("stopped")[0] == 1


def test_a_function_url_speaks_http(aws: Aws) -> None:
    client = aws.client()
    source = """
import json
def handler(event, context):
    if event["rawPath"] == "/raise": raise ValueError("no")
    if event["rawPath"] == "/plain": return {"just": "json"}
    return {"statusCode": 201, "headers": {"x-own": "yes"}, "cookies": ["a=1", "b=2"], "body": json.dumps(event)}
"""
    aws.deploy("web", source)
    made = client.create_function_url_config(FunctionName="web", AuthType="NONE", Cors={"AllowOrigins": ["http://page.test"]})
    host = made["FunctionUrl"].split("/")[2]

    def ask(path: str, **options: Any) -> tuple[int, Any, bytes]:
        headers = {"Host": host, **options.pop("headers", {})}
        request = urllib.request.Request(aws.url + path, headers=headers, **options)
        try:
            with urllib.request.urlopen(request) as answer:
                return answer.status, answer.headers, answer.read()
        except urllib.error.HTTPError as error:
            return error.code, error.headers, error.read()

    status, _, body = ask("/")
    assert status == 403, "without a permission nobody may call it"
    client.add_permission(
        FunctionName="web", StatementId="all", Action="lambda:InvokeFunctionUrl", Principal="*", FunctionUrlAuthType="NONE"
    )
    status, headers, body = ask(
        "/a/b?x=1&x=2", data=b"\xff\x00", method="POST", headers={"Cookie": "k=v", "Content-Type": "image/png"}
    )
    event = json.loads(body)
    assert (status, headers["x-own"], headers.get_all("set-cookie")) == (201, "yes", ["a=1", "b=2"])
    assert (event["version"], event["rawPath"], event["rawQueryString"]) == ("2.0", "/a/b", "x=1&x=2")
    assert (event["queryStringParameters"], event["cookies"]) == ({"x": "1,2"}, ["k=v"])
    assert (event["isBase64Encoded"], base64.b64decode(event["body"])) == (True, b"\xff\x00")
    assert event["requestContext"]["http"]["method"] == "POST"
    assert ask("/plain")[2] == b'{"just": "json"}'
    assert ask("/raise")[::2] == (502, b"Internal Server Error")
    preflight = {"Origin": "http://page.test", "Access-Control-Request-Method": "GET"}
    assert ask("/", method="OPTIONS", headers=preflight)[1]["access-control-allow-origin"] == "http://page.test"
    client.delete_function_url_config(FunctionName="web")
    status, _, body = ask("/")
    assert (status, json.loads(body)) == (403, {"Message": None})
