"""Packages and bindings."""

from __future__ import annotations

from typing import Any
from urllib.parse import unquote

from ... import actions as a
from ...errors import NotFound
from ...model.document import Document
from ..hook import Do, Head, Params, Reply, View
from . import entities as en
from .actions import Actions, elsewhere, ensure, page, put_document, remove
from .catalog import on_demand
from .faults import EXISTS, MALFORMED, Rejected, answer
from .users import User, space, user


class Packages:
    def __init__(self, view: View, actions: Actions) -> None:
        self._view = view
        self._actions = actions

    async def put(self, head: Head, params: Params, body: bytes, do: Do) -> Reply:
        who, namespace, name = named(head, params)
        if name == "default":
            raise Rejected(400, f"Package name '{name}' is reserved.")
        given = en.content(head, body)
        await on_demand(self._view, do, body.decode("utf-8", "replace"))
        before = self._view.document(space(namespace), en.PACKAGE, name)
        if before is not None and not en.flag(en.query(head), "overwrite"):
            raise Rejected(409, EXISTS)
        elsewhere(self._view, namespace, name, en.PACKAGE)
        binding = self._binding(who, given.get("binding"))
        old = before.body if before is not None else None
        if old is not None and binding and not old["binding"]:
            raise Rejected(409, "Resource is a package and cannot be converted into a binding.")
        binding = binding or (old["binding"] if old else {})
        made = merged(given, old)
        made["annotations"] = [pair for pair in made["annotations"] if pair["key"] != "binding"]
        if binding:
            made["annotations"].append({"key": "binding", "value": binding})
        await ensure(namespace, do)
        document = await put_document(do, namespace, en.PACKAGE, name, made | {"binding": binding}, before)
        if old is not None and not binding and old["parameters"] != made["parameters"]:
            await self._actions.follow(head, namespace, name, do)
        return answer(head, _shown(document))

    async def get(self, head: Head, params: Params, body: bytes, do: Do) -> Reply:
        who, namespace, name = named(head, params, own=False)
        await on_demand(self._view, do, namespace)
        document = self._visible(who, namespace, name)
        elsewhere(self._view, namespace, name, en.PACKAGE)
        if document is None:
            raise Rejected(404, f"The requested resource '{namespace}/{name}' does not exist.")
        shown = _shown(document)
        provider, where = document, namespace
        if document.body["binding"]:
            bound = document.body["binding"]
            where = bound["namespace"]
            found = self._view.document(space(where), en.PACKAGE, bound["name"])
            if found is None:
                raise NotFound(name)
            provider = found
            both = {pair["key"]: pair for pair in (*provider.body["parameters"], *document.body["parameters"])}
            shown["parameters"] = list(both.values())
        inside = self._view.documents(space(where), en.ACTION, provider.name + "/")
        feeds = [action for action in inside if en.truthy(en.value_of(action.body["annotations"], "feed"))]
        shown["actions"] = [_part(action) for action in inside if action not in feeds]
        shown["feeds"] = [_part(action) for action in feeds]
        return answer(head, shown)

    async def delete(self, head: Head, params: Params, body: bytes, do: Do) -> Reply:
        _, namespace, name = named(head, params)
        elsewhere(self._view, namespace, name, en.PACKAGE)
        document = self._view.document(space(namespace), en.PACKAGE, name)
        if document is None:
            raise NotFound(name)
        inside = self._view.documents(space(namespace), en.ACTION, name + "/")
        if inside and not document.body["binding"]:
            if not en.flag(en.query(head), "force"):
                count = f"{len(inside)} {'entity' if len(inside) == 1 else 'entities'}"
                raise Rejected(409, f"Package not empty (contains {count}). Set force param or delete package contents.")
            for action in inside:
                await remove(do, self._view, namespace, action.name)
        await do(a.DeleteDocument(namespace=space(namespace), kind=en.PACKAGE, name=name))
        return answer(head, _shown(document))

    async def listing(self, head: Head, params: Params, body: bytes, do: Do) -> Reply:
        who = user(head)
        namespace = en.resolve_namespace(params["ns"], who)
        await on_demand(self._view, do, namespace)
        found = self._view.documents(space(namespace), en.PACKAGE)
        if not who.may(namespace):  # of others, what they share
            found = [document for document in found if document.body["publish"] and not document.body["binding"]]
        return page(head, "packages", found, _listed)

    def _visible(self, who: User, namespace: str, name: str) -> Document | None:
        document = self._view.document(space(namespace), en.PACKAGE, name)
        if not who.may(namespace) and (document is None or not document.body["publish"]):
            raise en.forbidden(f"{namespace}/{name}")
        if document is not None and document.body["binding"]:
            bound = document.body["binding"]
            provider = self._view.document(space(bound["namespace"]), en.PACKAGE, bound["name"])
            if not who.may(bound["namespace"]) and (provider is None or not provider.body["publish"]):
                raise en.forbidden(f"{bound['namespace']}/{bound['name']}")
        return document

    def _binding(self, who: User, given: Any) -> dict[str, str]:
        if not given:
            return {}
        if not isinstance(given, dict) or not isinstance(given.get("name"), str):
            raise Rejected(400, f"{MALFORMED}binding malformed")
        namespace = given.get("namespace", "_")
        namespace = who.namespace if namespace in ("_", "") else namespace
        name = given["name"]
        document = self._view.document(space(namespace), en.PACKAGE, name)
        if document is None:
            elsewhere_kinds = (en.ACTION, en.TRIGGER, en.RULE)
            if any(self._view.document(space(namespace), kind, name) for kind in elsewhere_kinds):
                raise Rejected(409, "Cannot bind to a resource that is not a package.")
            if not who.may(namespace):
                raise en.forbidden(f"{namespace}/{name}")
            raise Rejected(400, "Binding references a package that does not exist.")
        if not who.may(namespace) and not document.body["publish"]:
            raise en.forbidden(f"{namespace}/{name}")
        if document.body["binding"]:
            raise Rejected(400, "Cannot bind to another package binding.")
        return {"namespace": namespace, "name": name}


def named(head: Head, params: Params, *, own: bool = True) -> tuple[User, str, str]:
    """Caller, namespace and name of an entity outside of packages. Raises Rejected; with `own` also for other people's namespaces."""
    who = user(head)
    namespace = en.resolve_namespace(params["ns"], who)
    name = en.checked_name(unquote(params["name"]))
    if own and not who.may(namespace):
        raise en.forbidden(f"{namespace}/{name}")
    return who, namespace, name


def merged(given: dict[str, Any], old: dict[str, Any] | None) -> dict[str, Any]:
    """What every entity has, as a PUT makes it: what is not given stays."""
    made: dict[str, Any] = {
        "version": en.version(given.get("version"), old["version"] if old else ""),
        "publish": bool(given.get("publish", old["publish"] if old else False)),
    }
    for field in ("annotations", "parameters"):
        value = given.get(field)
        made[field] = en.key_values(value, field) if value is not None else list(old[field]) if old else []
    return made


def _shown(document: Document) -> dict[str, Any]:
    return en.base(document) | {"parameters": document.body["parameters"], "binding": document.body["binding"]}


def _listed(document: Document) -> dict[str, Any]:
    return en.base(document) | {"binding": document.body["binding"] or False}


def _part(action: Document) -> dict[str, Any]:
    body = action.body
    return {
        "name": action.name.rpartition("/")[2],
        "version": body["version"],
        "annotations": body["annotations"],
    }
