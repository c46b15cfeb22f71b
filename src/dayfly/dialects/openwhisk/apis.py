"""APIs: addresses of their own for web actions, as `wsk api` makes them, and their gateway.

    GET, POST, DELETE /web/whisk.system/apimgmt/{getApi,createApi,deleteApi}[.http]     what wsk and the JavaScript client call
    ANY /api/NAMESPACE/BASE/PATH                                                        the gateway

An API is a document with its description in Swagger 2.0, which may come from and go to other gateways of OpenWhisk: operations name their
actions in `x-openwhisk`, and `x-ibm-configuration` holds what is sent to which web action (`target-url`, the header with its secret). A
call of the gateway becomes one of that action: parameters of the path are laid over those of the query, the path is its `__ow_path`.

Messages and statuses follow the project's core/routemgmt.
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
from .faults import Rejected, answer
from .users import User, space, user
from .web import Web

_METHODS = ("get", "put", "post", "delete", "patch", "head", "options")
_TYPES = ("http", "json", "html", "svg", "text")
_PARAMETER = re.compile(r"\{([^/{}]+)\}")
_TARGET = re.compile(
    rf"\.({'|'.join(_TYPES)})(\$\(request\.path\))?\Z"
)  # the end of a target-url: how the answer is read, and whether
#                                                                         the path goes along
_SECRET = "message.headers.X-Require-Whisk-Auth"


class Apis:
    def __init__(self, view: View, web: Web) -> None:
        self._view = view
        self._web = web

    # --- management --------------------------------------------------------------------------------------------------------

    async def create(self, head: Head, params: Params, body: bytes, do: Do) -> Reply:
        who = user(head)
        given = _object(en.content(head, body).get("apidoc"), "apidoc")
        whole = bool(given.get("swagger"))
        if whole:
            described = _from_swagger(given)
        else:
            described = _from_route(head, who, given, en.query(head).get("responsetype", ""))
        base = described["basePath"]
        before = self._view.document(who.space, en.API, base)
        if before is not None and not whole:
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
            raise Rejected(502, f"API deletion failure: API '{wanted}' does not exist.")
        described = document.body["apidoc"]
        paths: dict[str, Any] = {}
        if path:
            if operation not in ("", *described["paths"].get(path, {})) or path not in described["paths"]:
                what = f"path {path} with operation {operation}" if operation else f"path {path}"
                raise Rejected(502, f"API deletion failure: {what} does not exist in the API")
            paths = dict(described["paths"])
            kept = {key: value for key, value in paths.pop(path).items() if operation and key != operation}
            if kept:
                paths[path] = kept
        if paths:
            left = described | {"paths": paths}
            known = {one.get("operationId") for operations in paths.values() for one in _operations(operations).values()}
            cases = [case for case in _cases(described) if not known.isdisjoint(_listed(case, "operations"))]
            if cases != _cases(described):
                left["x-ibm-configuration"] = _configuration(cases)
            await put_document(do, who.namespace, en.API, document.name, {"apidoc": left}, document)
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
        target, given, ending, whole, secret = found
        headers = [pair for pair in head.headers if pair[0] != b"x-require-whisk-auth"]
        if secret:
            headers.append((b"x-require-whisk-auth", secret.encode("latin-1", "replace")))
        head.headers = headers
        if given:
            kept = [pair for pair in en.query(head).items() if pair[0] not in given]
            head.query = urlencode([*kept, *given.items()])
        package = target.get("package") or "default"
        name = f"{quote(target['action'])}.{ending}{path if whole else ''}"
        namespace = quote(target["namespace"])
        head.path = f"/api/v1/web/{namespace}/{quote(package)}/{name}"
        return self._web.decode(head, {"ns": namespace, "pkg": package, "rest": name}, body)

    def _route(self, namespace: str, path: str, method: str) -> tuple[dict[str, Any], dict[str, str], str, bool, str] | None:
        """Of an operation: `x-openwhisk`, the parameters in the path, and see `_target`. The longest base counts, literal paths first."""
        documents = self._view.documents(space(namespace), en.API)
        for document in sorted(documents, key=lambda document: -len(document.name)):
            base = document.name.rstrip("/")
            if not (path + "/").startswith(base + "/"):
                continue
            rest = path[len(base) :] or "/"
            paths = document.body["apidoc"]["paths"]
            for template in sorted(paths, key=lambda template: ("{" in template, -len(template))):
                operation = _operations(paths[template]).get(method)
                matched = _match(template, rest) if operation is not None else None
                if operation is not None and matched is not None and operation.get("x-openwhisk"):
                    return operation["x-openwhisk"], matched, *_target(document.body["apidoc"], operation)
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


def _object(given: Any, what: str) -> dict[str, Any]:
    """Raises Rejected."""
    if not given:
        raise Rejected(502, f"{what} is required.")
    try:
        value = msgspec.json.decode(given) if isinstance(given, str) else given
    except (msgspec.DecodeError, UnicodeEncodeError):
        raise Rejected(502, f"{what} field cannot be parsed. Ensure it is valid JSON.") from None
    if not isinstance(value, dict):
        raise Rejected(502, f"{what} field is {type(value).__name__} and should be an object or a JSON string.")
    return value


def _from_route(head: Head, who: User, given: dict[str, Any], kind: str) -> dict[str, Any]:
    """One operation, as `wsk api create BASE PATH METHOD ACTION` sends it. Raises Rejected."""
    for name in ("namespace", "gatewayBasePath", "gatewayPath", "gatewayMethod"):
        if not isinstance(given.get(name), str) or not given[name]:
            raise Rejected(502, f"apidoc is missing the {name} field")
    action = given.get("action")
    if not isinstance(action, dict):
        raise Rejected(502, "apidoc is missing the action field.")
    for name in ("backendUrl", "namespace", "name"):
        if not isinstance(action.get(name), str) or not action[name]:
            raise Rejected(502, f"action is missing the {name} field.")
    base, path, method = given["gatewayBasePath"], given["gatewayPath"], given["gatewayMethod"].lower()
    if method not in _METHODS or not base.startswith("/") or not path.startswith("/"):
        raise Rejected(502, f"'{method} {base}{path}' is not the address of an API")
    namespace = who.namespace if action["namespace"] in ("_", given["namespace"]) else action["namespace"]
    package, _, name = action["name"].strip("/").rpartition("/")
    package = package.rpartition("/")[2] or "default"
    ending = kind or action["backendUrl"].rpartition(".")[2]
    url = f"{head.scheme}://{head.host}/api/v1/web/{namespace}/{package}/{name}.{ending if ending in _TYPES else 'http'}"
    identifier = method + "".join(part[:1].upper() + part[1:] for part in path.split("/"))
    operation: dict[str, Any] = {
        "operationId": identifier,
        "x-openwhisk": {"action": name, "namespace": namespace, "package": package, "url": url},
        "responses": {"default": {"description": "Default response"}},
    }
    if given.get("pathParameters"):
        operation["parameters"] = given["pathParameters"]
    target = url + "$(request.path)" if _PARAMETER.search(path) else url
    execute: list[dict[str, Any]] = [{"invoke": {"target-url": target, "verb": "keep"}}]
    if action.get("secureKey"):
        execute.insert(0, {"set-variable": {"actions": [{"set": _SECRET, "value": str(action["secureKey"])}]}})
    return {
        "swagger": "2.0",
        "basePath": base,
        "info": {"title": given.get("apiName") or base, "version": "1.0.0"},
        "paths": {path: {method: operation}},
        "x-ibm-configuration": _configuration([{"operations": [identifier], "execute": execute}]),
    }


def _from_swagger(given: dict[str, Any]) -> dict[str, Any]:
    """A whole description. Raises Rejected."""
    if given.get("gatewayBasePath"):
        raise Rejected(502, "swagger and gatewayBasePath are mutually exclusive and cannot be specified together.")
    described = _object(given["swagger"], "swagger")
    for name, kind in (("basePath", str), ("paths", dict), ("info", dict)):
        if not isinstance(described.get(name), kind):
            raise Rejected(502, f"swagger is missing the {name} field.")
    for operations in described["paths"].values():
        for operation in _operations(operations).values():
            target = operation.get("x-openwhisk", {})
            named = [target.get(name, "") for name in ("action", "namespace", "package")] if isinstance(target, dict) else [0]
            if not all(isinstance(text, str) for text in named) or (target and not (named[0] and named[1])):
                raise Rejected(502, "swagger has an operation whose x-openwhisk names no action.")
    return described


def _merged(old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    """An API with a further operation; that of the same path and method is replaced."""
    paths = {path: dict(operations) for path, operations in old["paths"].items()}
    for path, operations in new["paths"].items():
        paths[path] = paths.get(path, {}) | operations
    [case] = _cases(new)
    others = [one for one in _cases(old) if one.get("operations") != case["operations"]]
    named = new["info"].get("title") != new["basePath"]
    info = new["info"] if named else old["info"]
    return old | {"paths": paths, "info": info, "x-ibm-configuration": _configuration([*others, case])}


# --- descriptions, which anybody may have written ---------------------------------------------------------------------------


def _operations(operations: Any) -> dict[str, dict[str, Any]]:
    """Of a path, by method."""
    if not isinstance(operations, dict):
        return {}
    return {method: one for method, one in operations.items() if method in _METHODS and isinstance(one, dict)}


def _listed(value: Any, *names: str) -> list[Any]:
    """What stands there below `value`, if it is a list."""
    for name in names:
        value = value.get(name) if isinstance(value, dict) else None
    return value if isinstance(value, list) else []


def _cases(described: dict[str, Any]) -> list[dict[str, Any]]:
    steps = _listed(described, "x-ibm-configuration", "assembly", "execute")
    cases = [case for step in steps for case in _listed(step, "operation-switch", "case")]
    return [case for case in cases if isinstance(case, dict)]


def _configuration(cases: list[dict[str, Any]]) -> dict[str, Any]:
    return {"assembly": {"execute": [{"operation-switch": {"case": cases}}]}, "cors": {"enabled": True}}


def _target(described: dict[str, Any], operation: dict[str, Any]) -> tuple[str, bool, str]:
    """Of an operation: the extension that its action is called with, whether the path goes along, and the action's secret."""
    url, secret = str(operation["x-openwhisk"].get("url", "")), ""
    mine = (case for case in _cases(described) if operation.get("operationId") in _listed(case, "operations"))
    for step in _listed(next(mine, None), "execute"):
        for one in _listed(step, "set-variable", "actions"):
            if isinstance(one, dict) and one.get("set") == _SECRET:
                secret = str(one.get("value", ""))
        invoke = step.get("invoke") if isinstance(step, dict) else None
        url = str(invoke.get("target-url", url)) if isinstance(invoke, dict) else url
    found = _TARGET.search(url)
    return (found[1], found[2] is not None, secret) if found else ("http", False, secret)
