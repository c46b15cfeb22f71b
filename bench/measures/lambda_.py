"""AWS Lambda's Invoke as raw HTTP load, signatures checked: Dayfly, MiniStack (PyPI) and the runtime interface client by itself, in turns;
then what functions with provisioned concurrency weigh.

MiniStack is looked for as the command `ministack` on PATH or in MINISTACK; without it its rows are left out.
"""

from __future__ import annotations

import base64
import io
import os
import shutil
import statistics
import subprocess
import tempfile
import time
import zipfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from .. import machine, ricbare, site, wrk
from ..model import Finding, Promise, Row, ratios
from ..run import Run

TOKEN = "dft_" + "b" * 43
BODY = b'{"name": "Ada"}'
PATH = "/2015-03-31/functions/hello/invocations"
SHARE = 8.0  # times MiniStack's throughput, at least
LATENCY = 1 / 20  # of MiniStack's p50 at one connection, at most
BARE = 5.0  # times the client's own round trip, at most
COLD = 1 / 6  # of MiniStack's cold p50, at most
WEIGHT = 1500.0  # MB of everything, at most
READY_LIMIT = 120.0  # seconds until provisioned concurrency stands
COMMAND = "python -m bench lambda"


def measure(run: Run) -> Iterator[Finding]:
    rates: dict[tuple[str, int], list[float]] = {}
    latencies: dict[tuple[str, int], list[float]] = {}
    bare: list[float] = []
    cold: dict[str, list[float]] = {}
    with ExitStack() as stack:
        port = site.free_port()
        server = stack.enter_context(site.running("--token", TOKEN, "--listen", f"lambda={port}"))
        sides = {"Dayfly": (f"http://127.0.0.1:{port}", "dayfly", TOKEN)}
        other = os.environ.get("MINISTACK") or shutil.which("ministack")
        if other:
            sides["MiniStack"] = (stack.enter_context(ministack(other)), "test", "test")
        else:
            run.say("MiniStack is left out: pip install ministack, or name it in MINISTACK")
        clients = {who: client(*side) for who, side in sides.items()}
        for each in clients.values():
            deploy(each, "hello")
            each.invoke(FunctionName="hello", Payload=BODY)["Payload"].read()
        for number in range(run.rounds):
            for connections in (1, 32):
                for who, (url, key, secret) in sides.items():
                    load = wrk.run(
                        url + PATH, connections=connections, seconds=run.seconds, body=BODY, headers=signed(url, key, secret)
                    )
                    if load.bad:
                        run.say(f"{load.bad} bad answers from {who} at {connections} connections")
                    rates.setdefault((who, connections), []).append(load.rate)
                    latencies.setdefault((who, connections), []).append(load.p50_ms)
            bare.append(1000 * statistics.median(ricbare.round_trips(site.HELLO, BODY, run.count(3000, 300))))
            for who, each in clients.items():
                cold.setdefault(who, []).append(colds(each, run.count(20, 3)))
            run.say(f"lambda: round {number + 1} of {run.rounds}")
        count = run.count(200, 5)
        megabytes, seconds = provisioned(server, clients["Dayfly"], count)
    for (who, connections), values in rates.items():
        yield Row("lambda", f"{who}, {connections} connections", "1/s", tuple(values))
        yield Row("lambda", f"{who}, {connections} connections, p50", "ms", tuple(latencies[who, connections]))
    yield Row("lambda", "the runtime interface client by itself, p50", "ms", tuple(bare))
    for who, values in cold.items():
        yield Row("lambda", f"{who}, first call of a function, boto3, p50", "ms", tuple(values))
    provision = f"{count} functions with provisioned concurrency 1"
    yield Row("lambda", f"PSS of everything with {provision}", "MB", (megabytes,), f"{seconds:.0f} s until all stood")
    yield Promise(f"Lambda: {provision}", "< 1.5 GB", f"{megabytes / 1000:.2f} GB", megabytes < WEIGHT, COMMAND)
    yield promise(
        "Lambda: p50 of an invoke", f"at most {BARE:g}x the client's own round trip", ratios(latencies["Dayfly", 1], bare), BARE
    )
    if "MiniStack" in sides:
        faster = ratios(rates["Dayfly", 32], rates["MiniStack", 32])
        median = statistics.median(faster)
        yield Promise("Lambda: invokes a second", f"at least {SHARE:g}x MiniStack", f"{median:.1f}x", median >= SHARE, COMMAND)
        shorter = ratios(latencies["Dayfly", 1], latencies["MiniStack", 1])
        yield promise("Lambda: p50 at one connection", "at most 1/20 of MiniStack", shorter, LATENCY)
        yield promise("Lambda: cold invoke", "at most 1/6 of MiniStack", ratios(cold["Dayfly"], cold["MiniStack"]), COLD)


def promise(what: str, limit: str, values: tuple[float, ...], most: float) -> Promise:
    median = statistics.median(values)
    return Promise(what, limit, f"{median:.2f}x" if most >= 1 else f"1/{1 / median:.0f}", median <= most, COMMAND)


def client(url: str, key: str, secret: str) -> Any:
    import botocore.session

    return botocore.session.get_session().create_client(
        "lambda", endpoint_url=url, region_name="us-east-1", aws_access_key_id=key, aws_secret_access_key=secret
    )


def deploy(each: Any, name: str) -> None:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        archive.writestr("handler.py", site.HELLO)
    each.create_function(
        FunctionName=name,
        Runtime="python3.11",
        Handler="handler.handler",
        Role="arn:aws:iam::000000000000:role/bench",
        Code={"ZipFile": made.getvalue()},
    )
    each.get_waiter("function_active_v2").wait(FunctionName=name, WaiterConfig={"Delay": 1})


def colds(each: Any, count: int) -> float:
    """The median of the first calls of new functions, in milliseconds, by the same client."""
    seconds = []
    for _ in range(count):
        name = "cold-" + base64.b32encode(os.urandom(5)).decode().lower()
        deploy(each, name)
        began = time.perf_counter()
        each.invoke(FunctionName=name, Payload=BODY)["Payload"].read()
        seconds.append(time.perf_counter() - began)
        each.delete_function(FunctionName=name)
    return 1000 * statistics.median(seconds)


def provisioned(server: site.Site, each: Any, count: int) -> tuple[float, float]:
    """Give that many functions provisioned concurrency 1, and see each ready and answering.

    Returns (proportional set size of server, node and all instances in MB, seconds from the first function to the last instance).
    """
    names = [f"provisioned-{number}" for number in range(count)]
    began = time.monotonic()
    for name in names:
        deploy(each, name)
        version = each.publish_version(FunctionName=name)["Version"]
        each.put_provisioned_concurrency_config(FunctionName=name, Qualifier=version, ProvisionedConcurrentExecutions=1)
    while waiting := [name for name in names if not stands(each, name)]:
        if time.monotonic() - began > READY_LIMIT:
            raise RuntimeError(f"{len(waiting)} of {count} functions have no provisioned instance after {READY_LIMIT:.0f} s")
        time.sleep(0.2)
    took = time.monotonic() - began
    weight = sum(machine.memory_kb(pid) for pid in server.processes()) * 1024 / 1e6
    for name in names:
        each.invoke(FunctionName=f"{name}:1", Payload=BODY)["Payload"].read()
    return weight, took


def stands(each: Any, name: str) -> bool:
    config = each.get_provisioned_concurrency_config(FunctionName=name, Qualifier="1")
    return bool(config["Status"] == "READY" and config["AvailableProvisionedConcurrentExecutions"] == 1)


def signed(url: str, key: str, secret: str) -> dict[str, str]:
    """Headers of a signed request, good for a quarter of an hour at most."""
    from botocore.auth import SigV4Auth
    from botocore.awsrequest import AWSRequest
    from botocore.credentials import Credentials

    request = AWSRequest("POST", url + PATH, data=BODY, headers={"Content-Type": "application/json"})
    SigV4Auth(Credentials(key, secret), "lambda", "us-east-1").add_auth(request)
    return {name: request.headers[name] for name in ("Authorization", "X-Amz-Date")}


@contextmanager
def ministack(command: str) -> Iterator[str]:
    """MiniStack with its local executor, on a free port of loopback."""
    import urllib.request

    port = site.free_port()
    with tempfile.TemporaryDirectory() as folder:
        env = os.environ | {"GATEWAY_PORT": str(port), "LAMBDA_EXECUTOR": "local", "HOME": folder}
        process = subprocess.Popen([command], env=env, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            for _ in range(200):
                try:
                    urllib.request.urlopen(f"http://127.0.0.1:{port}/_localstack/health", timeout=2).read()
                    break
                except OSError:
                    time.sleep(0.1)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()
            process.wait(20)
