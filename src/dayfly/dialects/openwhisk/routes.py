"""Where everything is answered."""

from __future__ import annotations

from typing import Any

from ...errors import DayflyError
from ...model.call import Result
from ..hook import Dialect, Do, Handle, Head, Params, Reply, Route, View
from .actions import Actions
from .activations import Activations
from .alarms import Alarms
from .apis import Apis
from .catalog import System
from .info import Info
from .invoke import Calls
from .packages import Packages
from .profile import PROFILE, SYSTEM
from .triggers import SHAPE, Rules, Triggers
from .users import authenticate
from .web import Web

API = "/api/v1"
NAMESPACE = API + "/namespaces/{ns}"


def of_system(handle: Handle) -> Handle:
    """The same in the system's namespace, whose paths are spelled out: calls take another way there."""

    async def handled(head: Head, params: Params, body: bytes, do: Do) -> Reply:
        return await handle(head, {**params, "ns": SYSTEM}, body, do)

    return handled


def _always(_: Result) -> bool:
    """Long answers come in pieces; the record around them, or a web action's status, needs all of them."""
    return True


def dialect(view: View) -> Dialect:
    """The dialect, over what this cell knows."""
    calls, actions, activations, info = Calls(view), Actions(view), Activations(view), Info()

    alarms, packages, web = Alarms(view), Packages(view, actions), Web(calls)
    triggers, rules = Triggers(view, calls, alarms), Rules(view)

    apis, system = Apis(view, web), System(view, calls, alarms)

    def route(method: str, path: str, handle: Handle, **options: Any) -> Route:
        return Route(method=method, path=path, handle=handle, **options)

    routes: tuple[Route, ...] = (
        route("GET", "/", info.home, own=True),
        route("GET", "/ping", info.ping, own=True),
        route("GET", API, info.version),
        route("GET", API + "/", info.version),
        route("GET", API + "/namespaces", info.namespaces),
        route("GET", API + "/namespaces/", info.namespaces),
        route("GET", NAMESPACE + "/limits", info.limits),
        route("GET", NAMESPACE + "/limits/", info.limits),
        route("GET", NAMESPACE + "/limits/{entity}", info.no_limit),
        route("GET", NAMESPACE + "/actions", actions.listing),
        route("GET", NAMESPACE + "/actions/", actions.listing),
        route("GET", NAMESPACE + "/actions/{name...}", actions.get),
        route("PUT", NAMESPACE + "/actions/{name...}", actions.put),
        route("DELETE", NAMESPACE + "/actions/{name...}", actions.delete),
        Route(
            method="POST",
            path=NAMESPACE + "/actions/{name...}",
            decode=calls.decode,
            encode=calls.encode,
            whole=_always,
            fast=True,
        ),
        *(
            route(method, NAMESPACE + path, handle)
            for plural, api in (("packages", packages), ("triggers", triggers), ("rules", rules))
            for method, path, handle in (
                ("GET", f"/{plural}", api.listing),
                ("GET", f"/{plural}/", api.listing),
                ("GET", f"/{plural}/{{name}}", api.get),
                ("PUT", f"/{plural}/{{name}}", api.put),
                ("DELETE", f"/{plural}/{{name}}", api.delete),
            )
        ),
        route("POST", NAMESPACE + "/triggers/{name}", triggers.fire),
        route("POST", NAMESPACE + "/rules/{name}", rules.toggle),
        Route(
            method="*", path=API + "/web/{ns}/{pkg}/{rest...}", decode=web.decode, encode=web.encode, whole=_always, fast=True
        ),
        *(
            route(method, API + "/web/whisk.system/apimgmt/" + name + ending, handle)
            for method, name, handle in (
                ("GET", "getApi", apis.listing),
                ("POST", "createApi", apis.create),
                ("DELETE", "deleteApi", apis.delete),
            )
            for ending in ("", ".http", ".json")
        ),
        route("*", API + "/{rest...}", info.missing),
        Route(method="*", path="/api/{ns}/{rest...}", decode=apis.decode, encode=web.encode, whole=_always, fast=True),
        *(
            route(method, API + "/namespaces/whisk.system/actions/{name...}", of_system(handle))
            for method, handle in (
                ("POST", system.call),
                ("GET", actions.get),
                ("PUT", actions.put),
                ("DELETE", actions.delete),
            )
        ),
        route("GET", NAMESPACE + "/activations", activations.listing),
        route("GET", NAMESPACE + "/activations/", activations.listing),
        route("GET", NAMESPACE + "/activations/{id}/{what...}", activations.get),
    )
    paths = sorted({path.path for path in routes if path.method != "*" and not path.own})
    routes += tuple(route("OPTIONS", path, info.options) for path in paths)

    def fault(head: Head, error: DayflyError) -> Reply:
        return web.fault(head, error) if head.path.startswith(API + "/web/") else calls.fault(head, error)

    return Dialect(
        name="openwhisk",
        profile=PROFILE,
        routes=routes,
        fault=fault,
        authenticate=authenticate,
        parts=calls,
        shapes={SHAPE: triggers.shape},
    )
