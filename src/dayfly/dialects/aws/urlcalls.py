"""Function URLs: an HTTP request as an event of payload format 2.0, and the function's answer as an HTTP response.

https://docs.aws.amazon.com/lambda/latest/dg/urls-invocation.html
"""

from __future__ import annotations

import base64
import binascii
import re
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl, unquote

import msgspec

from ...actions import Invoke
from ...errors import DayflyError
from ...model.call import Mode, Result
from ...model.identity import Identity, Role
from ...model.ids import new_id
from ...model.names import DEFAULT_NAMESPACE
from ..hook import Credentials, Dialect, Head, Params, Reply, Route, View
from . import sigv4
from .invoke import find_light, request_id
from .policies import allows_urls
from .profile import PROFILE
from .record import find
from .scope import Scope, now
from .urls import KIND

_encode = msgspec.json.encode
_decode = msgspec.json.decode
_TEXT = re.compile(r"text/|application/(json|javascript|xml|x-www-form-urlencoded|graphql)|.*\+(json|xml)(;|$)")
_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+\Z")
_UNPRINTABLE = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]|[^\x00-\xff]")
_HOP = frozenset("connection transfer-encoding keep-alive upgrade te trailer".split())  # of no matter beyond this connection
_OURS = _HOP | {"content-length", "date"}


class Answered(DayflyError):
    """The request is answered without a call"""

    def __init__(self, reply: Reply) -> None:
        super().__init__("answered")
        self.reply = reply


def function_urls(view: View) -> Dialect:
    """The dialect of the hosts `<id>.lambda-url.<region>.localhost`."""
    calls = _Calls(view)
    route = Route(method="*", path="/{path...}", decode=calls.decode, encode=calls.encode, whole=_buffered, fast=True)
    return Dialect(name="lambda-url", profile=PROFILE, routes=(route,), fault=calls.fault, authenticate=calls.authenticate)


class _Calls:
    def __init__(self, view: View) -> None:
        self._view = view

    def authenticate(self, head: Head, body: bytes | None, credentials: Credentials) -> Identity | None:
        """Whoever calls a public URL may call that function, and nothing else; others sign."""
        _, target, config = self._url(head)
        if config["AuthType"] == "NONE":
            return Identity(name="url", grants={target["namespace"]: (Role.INVOKER,)})
        if not head.get(b"authorization") and "X-Amz-Signature=" not in head.query:
            raise _refused("Forbidden")
        return sigv4.authenticate(head, body, credentials)

    def decode(self, head: Head, params: Params, body: bytes) -> Invoke:
        identifier, target, config = self._url(head)
        origin = head.get(b"origin")
        cors = config.get("Cors")
        if cors and head.method == "OPTIONS" and head.get(b"access-control-request-method"):
            raise Answered(Reply(200, _cors(cors, origin, preflight=True)))
        scope = Scope("", target["account"], target["region"], "lambda")
        record = find(self._view, scope, target["function"])
        if record is None:
            raise _refused(None)
        signed = head.get(b"authorization").startswith("AWS4-") or "X-Amz-Signature=" in head.query
        if config["AuthType"] == "AWS_IAM" and not signed:
            raise _refused("Forbidden")
        if config["AuthType"] == "NONE" and not allows_urls(record, target["qualifier"]):
            raise _refused("Forbidden. For troubleshooting Function URL authorization issues, see: "
                           "https://docs.aws.amazon.com/lambda/latest/dg/urls-auth.html")  # fmt: skip
        invocation = new_id()
        event = _event(head, body, identifier, invocation, target, config)
        client: dict[str, Any] = {"arn": record.arn(target["qualifier"]), "url": True}
        trace = head.get(b"x-amzn-trace-id")
        if trace:
            client["trace"] = trace[:512]
        return Invoke(
            namespace=target["namespace"],
            function=target["function"],
            qualifier=record.core_qualifier(target["qualifier"]) if target["qualifier"] else "",
            mode=Mode.SYNC,
            body=_encode(event),
            invocation=invocation,
            client=_encode(client).decode(),
        )

    def encode(self, head: Head, invoke: Invoke, result: Result) -> Reply:
        headers = [("x-amzn-requestid", request_id(result.invocation))]
        cors = self._url(head)[2].get("Cors")
        if cors:
            headers += _cors(cors, head.get(b"origin"), preflight=False)
        if result.error is not None:
            return Reply(502, [*headers, ("content-type", "application/json")], b"Internal Server Error")
        if not _buffered(result):
            given = [field for field in result.headers if field[0] not in _OURS]
            return Reply(result.status, headers + given, result.body)
        try:
            return _response(result.body, headers)
        except (ValueError, TypeError, binascii.Error):
            return Reply(502, [*headers, ("content-type", "application/json")], b"Internal Server Error")

    def fault(self, head: Head, error: DayflyError) -> Reply:
        headers = [("content-type", "application/json"), ("x-amzn-requestid", request_id(error.invocation or new_id()))]
        if isinstance(error, Answered):
            return error.reply
        if error.status in (401, 403):
            return Reply(403, [*headers, ("x-amzn-errortype", "AccessDeniedException")], _encode({"Message": "Forbidden"}))
        if error.status == 413:
            return Reply(413, headers, _encode({"Message": "Request Entity Too Large"}))
        if error.status in (429, 503):
            return Reply(
                429, [*headers, ("x-amzn-errortype", "TooManyRequestsException")], _encode({"Message": "Rate Exceeded."})
            )
        return Reply(502, headers, b"Internal Server Error")

    def _url(self, head: Head) -> tuple[str, dict[str, Any], dict[str, Any]]:
        """Id, target and configuration of the URL. Raises Answered: AWS says the same of every host it does not know."""
        identifier = head.host.partition(".")[0]
        document = self._view.document(DEFAULT_NAMESPACE, KIND, identifier)
        if document is None:
            raise _refused(None)
        target = document.body
        body = find_light(self._view, target["namespace"], target["function"])
        config = body["urls"].get(target["qualifier"]) if body is not None else None
        if config is None:
            raise _refused(None)
        return identifier, target, config


def _refused(message: str | None) -> Answered:
    headers = [("content-type", "application/json"), ("x-amzn-errortype", "AccessDeniedException")]
    return Answered(Reply(403, headers, _encode({"Message": message})))


def _event(
    head: Head, body: bytes, identifier: str, invocation: str, target: dict[str, Any], config: dict[str, Any]
) -> dict[str, Any]:
    headers: dict[str, str] = {}
    cookies: list[str] = []
    for raw_name, raw_value in head.headers:
        name, text = raw_name.decode("latin-1"), raw_value.decode("latin-1")
        if name in _HOP:
            continue
        if name == "cookie":
            cookies += [cookie.strip() for cookie in text.split(";") if cookie.strip()]
        else:
            headers[name] = f"{headers[name]},{text}" if name in headers else text
    port = head.host.rpartition(":")[2] if ":" in head.host else ("443" if head.scheme == "https" else "80")
    headers |= {"x-forwarded-for": head.peer or "127.0.0.1", "x-forwarded-proto": head.scheme, "x-forwarded-port": port}
    headers.setdefault(
        "x-amzn-trace-id", f"Root=1-{invocation[:8]}-{invocation[8:]}"
    )  # the root that the runtime gives the call
    moment = now()
    signed = config["AuthType"] == "AWS_IAM"
    context: dict[str, Any] = {
        "accountId": target["account"] if signed else "anonymous",
        "apiId": identifier,
        "domainName": head.host.partition(":")[0],
        "domainPrefix": identifier,
        "http": {
            "method": head.method,
            "path": unquote(head.path),
            "protocol": "HTTP/1.1",
            "sourceIp": head.peer or "127.0.0.1",
            "userAgent": head.get(b"user-agent"),
        },
        "requestId": request_id(invocation),
        "routeKey": "$default",
        "stage": "$default",
        "time": datetime.fromtimestamp(moment, UTC).strftime("%d/%b/%Y:%H:%M:%S +0000"),
        "timeEpoch": int(moment * 1000),
    }
    event: dict[str, Any] = {
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": unquote(head.path),
        "rawQueryString": head.query,
        "headers": headers,
        "requestContext": context,
        "isBase64Encoded": False,
    }
    if cookies:
        event["cookies"] = cookies
    if head.query:
        parameters: dict[str, str] = {}
        for name, value in parse_qsl(head.query, keep_blank_values=True):
            parameters[name] = f"{parameters[name]},{value}" if name in parameters else value
        event["queryStringParameters"] = parameters
    if body:
        readable = _TEXT.match(headers.get("content-type", "")) is not None
        try:
            event["body"] = body.decode() if readable else base64.b64encode(body).decode()
        except UnicodeDecodeError:
            readable, event["body"] = False, base64.b64encode(body).decode()
        event["isBase64Encoded"] = not readable
    return event


def _buffered(result: Result) -> bool:
    """Whether the answer is JSON that holds status, headers and body. Only one that streams has a content type."""
    return all(name != "content-type" for name, _ in result.headers)


def _response(body: bytes, headers: list[tuple[str, str]]) -> Reply:
    """The function's answer. Raises ValueError or TypeError for one that is no response."""
    answer = _decode(body) if body else None
    if not isinstance(answer, dict) or "statusCode" not in answer:
        return Reply(200, [*headers, ("content-type", "application/json")], body if answer is not None else b"null")
    status = int(answer["statusCode"])
    if not 200 <= status <= 599:
        raise ValueError(status)
    given: dict[str, str] = {}
    for name, value in (answer.get("headers") or {}).items():
        lower = str(name).lower()
        text = str(value).lower() if isinstance(value, bool) else str(value)
        if not _TOKEN.match(lower) or _UNPRINTABLE.search(text):
            raise ValueError(name)
        if lower not in _OURS:
            given[lower] = text
    given.setdefault("content-type", "application/json")
    cookies = [str(cookie) for cookie in answer.get("cookies") or ()]
    if any(_UNPRINTABLE.search(cookie) for cookie in cookies):
        raise ValueError("cookies")
    content = answer.get("body")
    if content is None:
        data = b""
    elif answer.get("isBase64Encoded"):
        data = base64.b64decode(content)
    else:
        data = content.encode() if isinstance(content, str) else _encode(content)
    return Reply(status, [*headers, *given.items(), *(("set-cookie", cookie) for cookie in cookies)], data)


def _cors(cors: dict[str, Any], origin: str, *, preflight: bool) -> list[tuple[str, str]]:
    """The headers that a CORS configuration adds for this origin."""
    allowed = cors.get("AllowOrigins") or []
    if not origin or not ("*" in allowed or origin in allowed):
        return []
    found = [
        ("access-control-allow-origin", "*" if allowed == ["*"] and not cors.get("AllowCredentials") else origin),
        ("vary", "Origin"),
    ]
    if cors.get("AllowCredentials"):
        found.append(("access-control-allow-credentials", "true"))
    if cors.get("ExposeHeaders"):
        found.append(("access-control-expose-headers", ",".join(cors["ExposeHeaders"])))
    if preflight:
        found.append(("access-control-allow-methods", ",".join(cors.get("AllowMethods") or ["*"])))
        found.append(("access-control-allow-headers", ",".join(cors.get("AllowHeaders") or ["*"])))
        if cors.get("MaxAge"):
            found.append(("access-control-max-age", str(cors["MaxAge"])))
    return found
