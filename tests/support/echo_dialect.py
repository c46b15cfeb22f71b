"""A dialect of a system that never was: it proves that the hook is enough.

    POST /echo/call/{function}         call it; `x-mode: later` makes the call asynchronous   -> 200 or 207 <<answer>>
    PUT  /echo/functions/{function}    deploy the body as handler.py                          -> 201
    GET  /echo/functions/{function}                                                           -> 200 name and revision
Errors are `E:<class>:<detail>` with the status plus 20.
"""

from __future__ import annotations

from dayfly.actions import Code, Deployed, GetFunction, Invoke, PutFunction
from dayfly.dialects.hook import Dialect, Head, Params, Reply, Route
from dayfly.errors import DayflyError
from dayfly.model.call import Mode, Result
from dayfly.model.function import Config, Function
from dayfly.model.profile import Profile

PROFILE = Profile(name="echo", timeout_s=3.0, payload_limit=1000, async_payload_limit=100, name_pattern=r"^[A-Z][a-z]{0,30}$")


def _call(head: Head, params: Params, body: bytes) -> Invoke:
    mode = Mode.ASYNC if head.get(b"x-mode") == "later" else Mode.SYNC
    return Invoke(namespace="default", function=params["function"], body=body, mode=mode)


def _answer(_: Head, invoke: Invoke, result: Result) -> Reply:
    if invoke.mode is Mode.ASYNC:
        return Reply(207, [("x-id", result.invocation)], b"<<later>>")
    if result.error is not None:
        return Reply(250, [("x-id", result.invocation)], f"<<!{result.error.type}>>".encode())
    return Reply(200, [("x-id", result.invocation)], b"<<" + result.body + b">>")


def _deploy(_: Head, params: Params, body: bytes) -> PutFunction:
    config = Config(runtime="python3.11", handler="handler.handler", timeout_s=PROFILE.timeout_s)
    return PutFunction(name=params["function"], code=Code(files={"handler.py": body.decode()}), config=config, profile="echo")


def _deployed(_: Head, __: PutFunction, outcome: Deployed) -> Reply:
    return Reply(201, [], str(outcome.revision.number).encode())


def _get(_: Head, params: Params, body: bytes) -> GetFunction:
    return GetFunction(name=params["function"])


def _got(_: Head, __: GetFunction, function: Function) -> Reply:
    return Reply(200, [], f"{function.name} {function.latest} {function.profile}".encode())


def _fault(_: Head, error: DayflyError) -> Reply:
    return Reply(error.status + 20, [("content-type", "text/plain")], f"E:{type(error).__name__}:{error.detail}".encode())


ECHO = Dialect(
    name="echo",
    profile=PROFILE,
    routes=(
        Route(method="POST", path="/call/{function}", decode=_call, encode=_answer, fast=True),
        Route(method="PUT", path="/functions/{function}", decode=_deploy, encode=_deployed),
        Route(method="GET", path="/functions/{function}", decode=_get, encode=_got),
    ),
    fault=_fault,
)
