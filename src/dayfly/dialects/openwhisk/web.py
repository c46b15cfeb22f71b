"""Web actions: calls by anybody, from a browser, with an answer that is no JSON unless the action wants it to be.

    ANY /web/NAMESPACE/PACKAGE/ACTION[.http|.json|.html|.svg|.text][/PATH]        `default` stands for no package

What the action gets and how its answer is read follow the project's WebActions.scala; see `rendering` for the latter.
"""

from __future__ import annotations

import base64
import hmac
from typing import Any
from urllib.parse import parse_qsl, unquote

import msgspec

from ... import errors as e
from ...actions import Invoke
from ...model.call import Mode, Result
from ..hook import Head, Params, Reply
from . import entities as en
from . import outcome as oc
from .faults import CORS, MALFORMED, NOT_ALLOWED, NOT_READY, PROCESSING, Rejected, fault, refuse, transaction
from .invoke import Bound, Calls
from .profile import LIMITS
from .rendering import EXTENSIONS, accepted, is_text, pretty, render
from .users import User, maybe

RESERVED = frozenset({"__ow_method", "__ow_headers", "__ow_path", "__ow_user", "__ow_query", "__ow_body"})
NO_ENTRY = "Authentication is possible but has failed or not yet been provided."
_METHODS = "OPTIONS, GET, DELETE, POST, PUT, HEAD, PATCH"


class Preflight(e.DayflyError):
    """The platform answers by itself that other origins may call"""


class Web:
    def __init__(self, calls: Calls) -> None:
        self._calls = calls

    def decode(self, head: Head, params: Params, body: bytes) -> Invoke:
        name, _, path = _split(params)
        bound = self._exported(params["ns"], name)
        action = bound.action
        custom = action.is_set("web-custom-options")
        if head.method == "OPTIONS" and not custom:
            raise Preflight("")
        who = None
        if head.method != "OPTIONS":
            who = self._entitled(head, bound)
        raw = action.is_set("raw-http")
        if len(body) > LIMITS.payload:
            raise en.too_big(len(body))
        given = _body(head, body, raw)
        args: dict[str, Any] = {
            "__ow_method": head.method.lower(),
            "__ow_headers": {key.decode("latin-1"): value.decode("latin-1") for key, value in head.headers},
            "__ow_path": path,
        }
        if who is not None:
            args["__ow_user"] = who.namespace
            args["__ow_headers"].pop("authorization", None)  # a key of the platform has done its work
        asked = en.query(head)
        if raw:
            args |= {"__ow_query": head.query, "__ow_body": "" if given is msgspec.UNSET else given}
        else:
            named = given if isinstance(given, dict) else {}
            closed = RESERVED | bound.final
            if not closed.isdisjoint(asked) or not closed.isdisjoint(named):
                raise Rejected(400, NOT_ALLOWED)
            args |= asked
            if isinstance(given, dict):
                args |= given
            elif given is not msgspec.UNSET:
                args["__ow_body"] = given
        return self._calls.invoke(bound, None, msgspec.json.encode(bound.parameters | args), mode=Mode.SYNC)

    def encode(self, head: Head, invoke: Invoke, result: Result) -> Reply:
        more = [*self._cors(head), ("x-openwhisk-activation-id", result.invocation), ("x-request-id", transaction(head))]
        if result.status == 202:
            return _refuse(head, 202, NOT_READY, more)
        outcome = oc.of_error(result.error) if result.error is not None else oc.of_answer(result.body, LIMITS.result)
        if outcome.code not in (oc.SUCCESS, oc.APPLICATION):
            return _refuse(head, 400, PROCESSING, more)
        value = outcome.value()
        if outcome.code == oc.APPLICATION:
            value = value["error"]
        _, extension, _ = _split_path(head)
        try:
            reply = render(extension, value)
        except Rejected as error:
            return _refuse(head, error.status_code, error.detail, more)
        reply.headers = more + reply.headers
        return accepted(head.get(b"accept"), reply)

    def fault(self, head: Head, error: e.DayflyError) -> Reply:
        if isinstance(error, Preflight):
            return Reply(200, [*self._cors(head), ("x-request-id", transaction(head))])
        ended = isinstance(error, e.InitFailed | e.InstanceDied | e.BadResponse | e.TimedOut | e.Cancelled)
        if ended and error.invocation:
            more = [*self._cors(head), ("x-openwhisk-activation-id", error.invocation), ("x-request-id", transaction(head))]
            return _refuse(head, 400, PROCESSING, more)
        return _for_people(fault(head, error))

    def _exported(self, namespace: str, name: str) -> Bound:
        """The action, if it is for the web. Otherwise nobody learns that it is there. Raises NotFound."""
        try:
            bound = self._calls.find(None, unquote(namespace), name)
        except Rejected:
            raise e.NotFound(name) from None
        if not bound.action.is_set("web-export"):
            raise e.NotFound(name)
        return bound

    def _entitled(self, head: Head, bound: Bound) -> User | None:
        """Who calls, if it says so. Raises Rejected (401) where the action wants to know, or wants its secret."""
        wanted = en.value_of(bound.action.annotations, "require-whisk-auth")
        try:
            who = maybe(head)
        except Rejected:
            who = None
        if isinstance(wanted, str | int) and not isinstance(wanted, bool) and wanted != "":
            if not hmac.compare_digest(str(wanted).encode(), head.get(b"x-require-whisk-auth").encode()):
                raise Rejected(401, NO_ENTRY)
        elif en.truthy(wanted) and who is None:
            raise Rejected(401, NO_ENTRY)
        return who

    def _cors(self, head: Head) -> list[tuple[str, str]]:
        name, _, _ = _split_path(head)
        try:
            bound = self._exported(_segments(head)[0], name)
        except e.DayflyError:
            return []
        if bound.action.is_set("web-custom-options"):
            return []
        headers = head.get(b"access-control-request-headers") or CORS[1][1]
        return [CORS[0], ("access-control-allow-methods", _METHODS), ("access-control-allow-headers", headers)]


def _segments(head: Head) -> list[str]:
    return head.path.removeprefix("/api/v1/web/").split("/")


def _split_path(head: Head) -> tuple[str, str, str]:
    parts = _segments(head)
    return _split({"pkg": unquote(parts[1]), "rest": "/".join(parts[2:])})


def _split(params: Params) -> tuple[str, str, str]:
    """(action with its package, extension, the rest of the path)."""
    first, slash, rest = params["rest"].partition("/")
    name = unquote(first)
    extension = next((ending for ending in EXTENSIONS if name.endswith(ending)), "")
    name = name.removesuffix(extension)
    package = params["pkg"]
    return f"{package}/{name}" if package != "default" else name, extension or ".http", unquote(slash + rest)


def _body(head: Head, body: bytes, raw: bool) -> Any:
    """What becomes of a request's body: a JSON value, the fields of a form, text, or base64; UNSET if there is none."""
    if not body:
        return msgspec.UNSET
    kind = head.get(b"content-type").partition(";")[0].strip().lower()
    if en.is_json(kind) and not raw:
        try:
            return msgspec.json.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise Rejected(400, f"{MALFORMED}{error}") from None
    if kind == "application/x-www-form-urlencoded" and not raw:
        return dict(parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True))
    if kind == "application/json" or not is_text(head.get(b"content-type")):
        return base64.b64encode(body).decode()
    return body.decode("utf-8", "replace")


def _refuse(head: Head, status: int, message: str, more: list[tuple[str, str]]) -> Reply:
    reply = _for_people(refuse(head, status, message))
    return Reply(status, [*more, ("content-type", "application/json")], reply.body)


def _for_people(reply: Reply) -> Reply:
    """An error on several lines, as web actions print all JSON."""
    reply.body = pretty(msgspec.json.decode(reply.body)).encode()
    return reply
