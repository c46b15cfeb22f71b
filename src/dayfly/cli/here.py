"""`replay --here`: a handler of one's own called with a recorded input, in this process, as its contract has it.

What an instance would set up around the code (a sandbox, limits, its environment and secrets) is not there: the developer's own machine is.
Of AWS Lambda's environment the names that say which function runs are set; credentials are the developer's own.
"""

from __future__ import annotations

import ast
import asyncio
import base64
import importlib.util
import inspect
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from .errors import Failure
from .output import note

_LAMBDA = ("AWS_LAMBDA_FUNCTION", "AWS_LAMBDA_LOG", "AWS_EXECUTION_ENV")  # how the names begin that are set


def run(
    recording: dict[str, Any], config: dict[str, Any], id: str, file: Path, handler: str, namespace: str, *, debug: bool
) -> Any:
    """What the handler answers. `config` is the revision's, or empty; `debug` stops at the handler's first line."""
    if not file.is_file():
        raise click.UsageError(f"There is no file {file}.")
    runtime = str(config.get("runtime", "python"))
    if not runtime.startswith("python"):
        raise Failure(
            f"{recording['function']} is written for {runtime}, and --here calls Python.",
            hint="See its input with --show, and hand that to a debugger of its own.",
        )
    contract = str(config.get("contract", "dayfly"))
    if contract not in _CONTRACTS:
        raise Failure(f"--here cannot call as the contract {contract} does.", hint=f"It can as {', '.join(_CONTRACTS)} do.")
    http = config.get("flavour") == "http"
    name = handler or str(config.get("handler", "")).rpartition(".")[2] or ("main" if contract == "whisk" else "handler")
    folder = file.absolute().parent
    sys.path.insert(0, str(folder))
    work = {
        "id": id,
        "handler": f"{file.stem}.{name}",
        "file": str(file.absolute()),
        "task_root": str(folder),
        "flavour": "http" if http else "event",
        "function": recording["function"] or file.stem,
        "namespace": namespace,
        "runtime": runtime,
        "revision": 0,
        "memory_mb": config.get("memory_mb", 0),
        "options": config.get("options", {}),
    }
    head: dict[str, Any] = {"id": id, "deadline": time.time() + 86400, "attempt": 1}
    if http and recording["method"]:
        head["http"] = {part: recording[part] for part in ("method", "path", "query", "headers")}
    if recording.get("client"):
        head["client"] = recording["client"]
    call = _CONTRACTS[contract](work)
    note(f"{file.name}: {name} with the input of {id}")
    if debug:
        import pdb

        debugger = pdb.Pdb()
        debugger.rcLines += [f"tbreak {file}:{_first_line(file, name)}", "continue"]
        return debugger.runcall(_called, call, head, _body(recording))
    return _called(call, head, _body(recording))


def _called(call: Call, head: dict[str, Any], body: bytes) -> Any:
    answer = call(head, body)
    return asyncio.run(_awaited(answer)) if inspect.isawaitable(answer) else answer


async def _awaited(answer: Any) -> Any:
    return await answer


def _body(recording: dict[str, Any]) -> bytes:
    if recording["event"] is not None:
        return json.dumps(recording["event"]).encode()
    return base64.b64decode(recording["body"]) if recording["encoding"] == "base64" else str(recording["body"]).encode()


Call = Callable[[dict[str, Any], bytes], Any]  # with the head and the body of a call


def _dayfly(work: dict[str, Any]) -> Call:
    from ..runtime.python.contract import load

    entry = load(work)
    return lambda head, body: entry.invoke(head, body, None)


def _whisk(work: dict[str, Any]) -> Call:
    from ..runtime.python import whisk

    main = getattr(_module(work), work["handler"].rpartition(".")[2], None)
    if not callable(main):
        raise Failure(f"{work['file']} has no function {work['handler'].rpartition('.')[2]}.", hint="Name one with --handler.")
    invoke = whisk.invoker(main, whisk.defaults(work))
    return lambda head, body: invoke(head, body, None)


def _lambda(work: dict[str, Any]) -> Call:
    try:
        from awslambdaric.lambda_context import LambdaContext
    except ImportError:
        raise Failure(
            "Handlers of AWS Lambda get the context of AWS's own client, which is not installed here.",
            hint="Install it: pip install 'dayfly[lambda]'",
        ) from None
    from ..runtime.python import awsenv

    there = awsenv.environment(work)
    os.environ.update({name: value for name, value in there.items() if name.startswith(_LAMBDA)})
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION"):
        os.environ.setdefault(name, there[name])
    name = work["handler"].rpartition(".")[2]
    handler = getattr(_module(work), name, None)
    if not callable(handler):
        raise Failure(f"{work['file']} has no function {name}.", hint="Name one with --handler.")
    arn = f"arn:aws:lambda:{there['AWS_REGION']}:{work['options'].get('account', awsenv.ACCOUNT)}:function:{work['function']}"

    def call(head: dict[str, Any], body: bytes) -> Any:
        told = json.loads(head.get("client", "{}"))
        context = LambdaContext(
            awsenv.request_id(head["id"]),
            json.loads(told["context"]) if told.get("context") else None,
            json.loads(told["identity"]) if told.get("identity") else None,
            int(head["deadline"] * 1000),
            told.get("arn") or arn,
            told.get("tenant"),
        )
        return handler(json.loads(body or b"{}"), context)

    return call


_CONTRACTS: dict[str, Callable[[dict[str, Any]], Call]] = {"dayfly": _dayfly, "lambda": _lambda, "whisk": _whisk}


def _module(work: dict[str, Any]) -> Any:
    """The file as a module, under its own name."""
    name = Path(work["file"]).stem
    spec = importlib.util.spec_from_file_location(name, work["file"])
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _first_line(file: Path, handler: str) -> int:
    """The line of the handler's first statement."""
    for node in ast.walk(ast.parse(file.read_bytes())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name == handler:
            return node.body[0].lineno
    return 1
