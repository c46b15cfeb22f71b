"""What Lambda's users build their handlers on runs unchanged: Powertools for AWS Lambda (Python, TypeScript), Mangum."""

from __future__ import annotations

import base64
import importlib.util
import io
import json
import shutil
import urllib.request
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.aws import Aws, serving

CLIENTS = Path(__file__).parents[1] / "clients" / "lambda" / "node_modules"
needs_node = pytest.mark.skipif(
    shutil.which("node") is None or not (CLIENTS / "@aws-lambda-powertools").is_dir(),
    reason="there is no Node on this machine, or tests/clients/lambda is not installed (see scripts/install.sh)",
)


@pytest.fixture(scope="module")
def aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Aws]:
    with serving(tmp_path_factory.mktemp("lambda")) as made:
        yield made


def layer(aws: Aws, name: str, folders: dict[str, Path]) -> str:
    """A layer with these files and folders at these places."""
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        for place, root in folders.items():
            for file in [root] if root.is_file() else sorted(root.rglob("*")):
                if file.is_file() and "__pycache__" not in file.parts:
                    archive.write(file, f"{place}/{file.relative_to(root)}" if root.is_dir() else place)
    published = aws.client().publish_layer_version(LayerName=name, Content={"ZipFile": made.getvalue()})
    return str(published["LayerVersionArn"])


def modules(*names: str) -> dict[str, Path]:
    """Installed Python modules, as a layer has them."""
    found = {}
    for name in names:
        spec = importlib.util.find_spec(name)
        assert spec is not None
        assert spec.origin is not None
        origin = Path(spec.origin)
        found[f"python/{name}" if spec.submodule_search_locations else f"python/{origin.name}"] = (
            origin.parent if spec.submodule_search_locations else origin
        )
    return found


def over_http(aws: Aws, name: str, path: str, body: bytes | None = None) -> tuple[int, Any, bytes]:
    client = aws.client()
    url = client.create_function_url_config(FunctionName=name, AuthType="NONE")["FunctionUrl"]
    client.add_permission(
        FunctionName=name, StatementId="all", Action="lambda:InvokeFunctionUrl", Principal="*", FunctionUrlAuthType="NONE"
    )
    headers = {"Host": url.split("/")[2], "Content-Type": "application/json"}
    with urllib.request.urlopen(urllib.request.Request(aws.url + path, body, headers)) as answer:
        return answer.status, answer.headers, answer.read()


def tail(whole: Any) -> list[dict[str, Any]]:
    """The JSON lines of LogResult."""
    lines = base64.b64decode(whole["LogResult"]).decode().splitlines()
    return [json.loads(line) for line in lines if line.startswith("{")]


POWERTOOLS = """
from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.event_handler import LambdaFunctionUrlResolver
from aws_lambda_powertools.metrics import MetricUnit
from aws_lambda_powertools.utilities.batch import BatchProcessor, EventType, process_partial_response
logger, metrics = Logger(service="shop"), Metrics(namespace="tests", service="shop")
app, processor = LambdaFunctionUrlResolver(), BatchProcessor(event_type=EventType.SQS)

@app.post("/orders/<number>")
def order(number):
    return {"number": number, "item": app.current_event.json_body["item"]}

def record_handler(record):
    if record.body == "bad": raise ValueError("on purpose")

@logger.inject_lambda_context(correlation_id_path="id")
@metrics.log_metrics(capture_cold_start_metric=True)
def handler(event, context):
    if "Records" in event:
        return process_partial_response(event=event, record_handler=record_handler, processor=processor, context=context)
    if "rawPath" in event:
        return app.resolve(event, context)
    logger.info("told", extra={"more": 1})
    metrics.add_metric(name="Orders", unit=MetricUnit.Count, value=1)
    return "done"
"""


def test_powertools_for_python_logs_measures_routes_and_takes_batches(aws: Aws) -> None:
    arn = layer(aws, "powertools", modules("aws_lambda_powertools", "typing_extensions"))
    aws.deploy("shop", POWERTOOLS, Layers=[arn], Timeout=20)
    answer, whole = aws.call("shop", {"id": "c-1"}, LogType="Tail")
    assert answer == "done"
    told = tail(whole)
    line = next(one for one in told if one.get("message") == "told")
    assert (line["service"], line["correlation_id"], line["more"], line["function_name"]) == ("shop", "c-1", 1, "shop")
    assert (line["function_request_id"], line["cold_start"]) == (whole["ResponseMetadata"]["RequestId"], True)
    measured = [one for one in told if "_aws" in one]
    assert {name for one in measured for name in ("Orders", "ColdStart") if name in one} == {"Orders", "ColdStart"}
    status, _, body = over_http(aws, "shop", "/orders/7", b'{"item": "tea"}')
    assert (status, json.loads(body)) == (200, {"number": "7", "item": "tea"})
    records = [{"messageId": each, "body": each, "eventSource": "aws:sqs"} for each in ("good", "bad")]
    assert aws.call("shop", {"Records": records})[0] == {"batchItemFailures": [{"itemIdentifier": "bad"}]}


MANGUM = """
from mangum import Mangum
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route
async def greet(request):
    return JSONResponse({"hello": request.path_params["name"], "sent": (await request.json())["x"]}, 201, {"x-own": "yes"})
handler = Mangum(Starlette(routes=[Route("/hello/{name}", greet, methods=["POST"])]), lifespan="off")
"""


def test_an_asgi_application_answers_over_a_function_url(aws: Aws) -> None:
    arn = layer(aws, "asgi", modules("mangum", "starlette", "anyio", "idna", "typing_extensions"))
    aws.deploy("asgi", MANGUM, Layers=[arn], Timeout=20)
    status, headers, body = over_http(aws, "asgi", "/hello/ann", b'{"x": 3}')
    assert (status, headers["x-own"], json.loads(body)) == (201, "yes", {"hello": "ann", "sent": 3})


POWERTOOLS_NODE = """
const { Logger } = require('@aws-lambda-powertools/logger');
const { Metrics, MetricUnit } = require('@aws-lambda-powertools/metrics');
const { BatchProcessor, EventType, processPartialResponse } = require('@aws-lambda-powertools/batch');
const logger = new Logger({ serviceName: 'shop' });
const metrics = new Metrics({ namespace: 'tests', serviceName: 'shop' });
const processor = new BatchProcessor(EventType.SQS);
exports.handler = async (event, context) => {
  logger.addContext(context);
  if (event.Records) {
    return processPartialResponse(event, async (record) => { if (record.body === 'bad') throw new Error('on purpose'); }, processor, { context });
  }
  logger.info('told', { more: 1 });
  metrics.addMetric('Orders', MetricUnit.Count, 1);
  metrics.publishStoredMetrics();
  return 'done';
};
"""


@needs_node
def test_powertools_for_typescript_logs_measures_and_takes_batches(aws: Aws) -> None:
    names = [each.name for each in CLIENTS.iterdir() if each.name.startswith("@aws")]
    folders = {
        f"nodejs/node_modules/{name}": CLIENTS / name for name in [*names, "@standard-schema"] if (CLIENTS / name).is_dir()
    }
    arn = layer(aws, "powertools-node", folders)
    aws.deploy(
        "shop-node", {"index.js": POWERTOOLS_NODE}, Runtime="nodejs22.x", Handler="index.handler", Layers=[arn], Timeout=20
    )
    answer, whole = aws.call("shop-node", {}, LogType="Tail")
    assert answer == "done", answer
    told = tail(whole)
    line = next(one for one in told if one.get("message") == "told")
    assert (line["service"], line["more"], line["function_name"]) == ("shop", 1, "shop-node")
    assert line["function_request_id"] == whole["ResponseMetadata"]["RequestId"]
    assert any(one.get("Orders") == 1 for one in told)
    records = [{"messageId": each, "body": each, "eventSource": "aws:sqs"} for each in ("good", "bad")]
    assert aws.call("shop-node", {"Records": records})[0] == {"batchItemFailures": [{"itemIdentifier": "bad"}]}
