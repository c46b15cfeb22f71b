"""APIs: addresses of their own for web actions, as `wsk api` makes them, and their gateway.

    GET, POST, DELETE /web/whisk.system/apimgmt/{getApi,createApi,deleteApi}[.http]     what wsk and the JavaScript client call
    ANY /api/NAMESPACE/BASE/PATH                                                        the gateway

An API is a document with its description in Swagger 2.0; its operations name their actions in `x-openwhisk`, as OpenWhisk's gateway
has it. A call of the gateway becomes one of the web action: parameters of the path are laid over those of the query.
"""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import quote, unquote, urlencode

import msgspec

from ... import actions as a
from ...actions import Invoke
from ...errors import NotFound
from ...model.document import Document
from ..hook import Do, Head, Params, Reply, View
from . import entities as en
from .actions import ensure, put_document
from .faults import MALFORMED, Rejected, answer
from .users import User, space, user
from .web import Web

_METHODS = ("get", "put", "post", "delete", "patch", "head", "options")
_TYPES = ("http", "json", "html", "svg", "text")
_PARAMETER = re.compile(r"\{([^/{}]+)\}")


class Apis:
    def __init__(self, view: View, web: Web) -> None:
        self._view = view
        self._web = web

    # --- management --------------------------------------------------------------------------------------------------------

    async def create(self, head: Head, params: Params, body: bytes, do: Do) -> Reply:
        who = user(head)
        given = en.content(head, body).get("apidoc")
        if not isinstance(given, dict):
            raise Rejected(400, f"{MALFORMED}'apidoc' must be an object")
        kind = en.query(head).get("responsetype", "")
        described = _from_swagger(given["swagger"]) if "swagger" in given else _from_route(who, given, kind)
        base = described["basePath"]
        before = self._view.document(who.space, en.API, base)
        if before is not None:
            described = _merged(before.body["apidoc"], described)
        await ensure(who.namespace, do)
        document = await put_document(do, who.namespace, en.API, base, {"apidoc": described}, before)
        return answer(head, _value(head, who, document))

    async def listing(self, head: Head, params: Params, body: bytes, do: Do) -> Reply:
        who = user(head)
        asked = en.query(head)
        path, operation = asked.get("relpath", ""), asked.get("operation", "").lower()
        found = []
        for document in self._view.documents(who.space, en.API):
            described = document.body["apidoc"]
            paths = {
                name: chosen
                for name, operations in described["paths"].items()
                if path in ("", name)
                and (chosen := {key: value for key, value in operations.items() if operation in ("", key)})
            }
            wanted = asked.get("basepath", "")
            if paths and wanted in ("", document.name, described["info"].get("title")):
                value = _value(head, who, document)
                value["apidoc"] = described | {"paths": paths}
                name = f"API:{who.namespace}:{document.name}"
                found.append({"id": name, "key": name, "value": value})
        return answer(head, {"apis": found})

    async def delete(self, head: Head, params: Params, body: bytes, do: Do) -> Reply:
        who = user(head)
        asked = en.query(head)
        wanted, path, operation = asked.get("basepath", ""), asked.get("relpath", ""), asked.get("operation", "").lower()
        if not wanted:
            raise Rejected(400, "basepath is required")
        document = next(
            (d for d in self._view.documents(who.space, en.API) if wanted in (d.name, d.body["apidoc"]["info"].get("title"))),
            None,
        )
        if document is None:
            raise Rejected(404, f"API '{wanted}' does not exist.")
        described = document.body["apidoc"]
        paths: dict[str, Any] = {}
        if path:
            if operation not in ("", *described["paths"].get(path, {})) or path not in described["paths"]:
                raise Rejected(404, f"API '{wanted}' has no {operation or 'path'} {path}.")
            paths = dict(described["paths"])
            kept = {key: value for key, value in paths.pop(path).items() if operation and key != operation}
            if kept:
                paths[path] = kept
        if paths:
            await put_document(do, who.namespace, en.API, document.name, {"apidoc": described | {"paths": paths}}, document)
        else:
            await do(a.DeleteDocument(namespace=who.space, kind=en.API, name=document.name))
        return answer(head, {})

    # --- the gateway ---------------------------------------------------------------------------------------------------------

    def decode(self, head: Head, params: Params, body: bytes) -> Invoke:
        """The call of the web action behind an address. The head is rewritten to the action's own."""
        path = "/" + params["rest"]
        found = self._route(unquote(params["ns"]), path, head.method.lower())
        if found is None:
            raise NotFound(path)
        target, given = found
        headers = [pair for pair in head.headers if pair[0] != b"x-require-whisk-auth"]
        if target.get("secureKey"):
            headers.append((b"x-require-whisk-auth", str(target["secureKey"]).encode("latin-1", "replace")))
        head.headers = headers
        if given:
            kept = [pair for pair in en.query(head).items() if pair[0] not in given]
            head.query = urlencode([*kept, *given.items()])
        package = target.get("package") or "default"
        name = f"{quote(target['action'])}.{target.get('responseType') or 'http'}"
        namespace = quote(target["namespace"])
        head.path = f"/api/v1/web/{namespace}/{quote(package)}/{name}"
        return self._web.decode(head, {"ns": namespace, "pkg": package, "rest": name}, body)

    def _route(self, namespace: str, path: str, method: str) -> tuple[dict[str, Any], dict[str, str]] | None:
        """The operation's `x-openwhisk` and the parameters in the path: of the longest base, literal paths first."""
        documents = self._view.documents(space(namespace), en.API)
        for document in sorted(documents, key=lambda document: -len(document.name)):
            base = document.name.rstrip("/")
            if not (path + "/").startswith(base + "/"):
                continue
            rest = path[len(base) :] or "/"
            paths = document.body["apidoc"]["paths"]
            for template in sorted(paths, key=lambda template: ("{" in template, -len(template))):
                operation = paths[template].get(method)
                matched = _match(template, rest) if operation is not None else None
                if matched is not None and "x-openwhisk" in operation:
                    return operation["x-openwhisk"], matched
        return None


def _match(template: str, path: str) -> dict[str, str] | None:
    wanted, given = template.strip("/").split("/"), path.strip("/").split("/")
    if len(wanted) != len(given):
        return None
    found: dict[str, str] = {}
    for part, text in zip(wanted, given, strict=True):
        named = _PARAMETER.fullmatch(part)
        if named is not None:
            found[named[1]] = unquote(text)
        elif part != unquote(text):
            return None
    return found


def _value(head: Head, who: User, document: Document) -> dict[str, Any]:
    return {
        "namespace": who.namespace,
        "gwApiUrl": f"{head.scheme}://{head.host}/api/{quote(who.namespace)}{document.name.rstrip('/')}",
        "gwApiActivated": True,
        "tenantId": who.namespace,
        "apidoc": document.body["apidoc"],
    }


def _from_route(who: User, given: dict[str, Any], kind: str) -> dict[str, Any]:
    """One operation, as `wsk api create BASE PATH METHOD ACTION` sends it."""
    action = given.get("action")
    texts = [given.get(name) for name in ("gatewayBasePath", "gatewayPath", "gatewayMethod")]
    if not isinstance(action, dict) or not isinstance(action.get("name"), str) or not all(isinstance(t, str) for t in texts):
        raise Rejected(400, "apidoc is missing one of gatewayBasePath, gatewayPath, gatewayMethod and action")
    base, path, method = (str(text) for text in texts)
    if method.lower() not in _METHODS or not base.startswith("/") or not path.startswith("/"):
        raise Rejected(400, f"'{method} {base}{path}' is not the address of an API")
    namespace = action.get("namespace", "_")
    package, _, name = action["name"].strip("/").rpartition("/")
    ending = str(action.get("backendUrl", "")).rpartition(".")[2]
    target = {
        "action": name,
        "namespace": who.namespace if namespace in ("_", "") else namespace,
        "package": package or "default",
        "url": action.get("backendUrl", ""),
        "responseType": kind or (ending if ending in _TYPES else "http"),
    } | ({"secureKey": action["secureKey"]} if action.get("secureKey") else {})
    operation: dict[str, Any] = {
        "operationId": f"{method.lower()}{path.title().replace('/', '')}",
        "x-openwhisk": target,
        "responses": {"default": {"description": "Default response"}},
    }
    if given.get("pathParameters"):
        operation["parameters"] = given["pathParameters"]
    return {
        "swagger": "2.0",
        "basePath": base,
        "info": {"title": given.get("apiName") or base, "version": "1.0.0"},
        "paths": {path: {method.lower(): operation}},
    }


def _from_swagger(given: Any) -> dict[str, Any]:
    """A whole description. Raises Rejected."""
    try:
        described = msgspec.json.decode(given) if isinstance(given, str) else given
    except (msgspec.DecodeError, UnicodeEncodeError) as error:
        raise Rejected(400, f"swagger field cannot be parsed. Ensure it is valid JSON: {error}") from None
    if not isinstance(described, dict):
        raise Rejected(400, "swagger field cannot be parsed. Ensure it is valid JSON")
    for name, kind in (("basePath", str), ("paths", dict), ("info", dict)):
        if not isinstance(described.get(name), kind):
            raise Rejected(400, f"swagger is missing the {name} field.")
    for operations in described["paths"].values():
        if not isinstance(operations, dict) or not all(isinstance(value, dict) for value in operations.values()):
            raise Rejected(400, "swagger has a path that is not an object of operations.")
        for operation in operations.values():
            target = operation.get("x-openwhisk", {})
            if not isinstance(target, dict) or not all(
                isinstance(target.get(k, ""), str) for k in ("action", "namespace", "package")
            ):
                raise Rejected(400, "swagger has an operation whose x-openwhisk names no action.")
            if target and not (target.get("action") and target.get("namespace")):
                raise Rejected(400, "swagger has an operation whose x-openwhisk names no action.")
    return described


def _merged(old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    """An API with further operations; those of the same path and method are replaced."""
    paths = {path: dict(operations) for path, operations in old["paths"].items()}
    for path, operations in new["paths"].items():
        paths[path] = paths.get(path, {}) | operations
    named = new["info"].get("title") != new["basePath"]
    return old | {"paths": paths, "info": new["info"] if named else old["info"]}
