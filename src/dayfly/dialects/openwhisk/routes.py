"""Where everything is answered."""

from __future__ import annotations

from typing import Any

from ...errors import DayflyError
from ..hook import Dialect, Handle, Head, Reply, Route, View
from .actions import Actions
from .activations import Activations
from .info import Info
from .invoke import Calls
from .packages import Packages
from .profile import PROFILE
from .triggers import Rules, Triggers
from .users import authenticate
from .web import Web

API = "/api/v1"
NAMESPACE = API + "/namespaces/{ns}"


def dialect(view: View) -> Dialect:
    """The dialect, over what this cell knows."""
    calls, actions, activations, info = Calls(view), Actions(view), Activations(view), Info()

    packages, triggers, rules, web = Packages(view), Triggers(view, calls), Rules(view), Web(calls)

    def route(method: str, path: str, handle: Handle, **options: Any) -> Route:
        return Route(method=method, path=path, handle=handle, **options)

    routes = (
        route("GET", "/", info.home, own=True),
        route("GET", "/ping", info.ping, own=True),
        route("GET", API, info.version),
        route("GET", API + "/", info.version),
        route("GET", API + "/namespaces", info.namespaces),
        route("GET", API + "/namespaces/", info.namespaces),
        route("GET", NAMESPACE + "/limits", info.limits),
        route("OPTIONS", API + "/namespaces/{rest...}", info.options),
        route("GET", NAMESPACE + "/actions", actions.listing),
        route("GET", NAMESPACE + "/actions/", actions.listing),
        route("GET", NAMESPACE + "/actions/{name...}", actions.get),
        route("PUT", NAMESPACE + "/actions/{name...}", actions.put),
        route("DELETE", NAMESPACE + "/actions/{name...}", actions.delete),
        Route(method="POST", path=NAMESPACE + "/actions/{name...}", decode=calls.decode, encode=calls.encode, fast=True),
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
        Route(method="*", path=API + "/web/{ns}/{pkg}/{rest...}", decode=web.decode, encode=web.encode, fast=True),
        route("GET", NAMESPACE + "/activations", activations.listing),
        route("GET", NAMESPACE + "/activations/", activations.listing),
        route("GET", NAMESPACE + "/activations/{id}/{what...}", activations.get),
    )

    def fault(head: Head, error: DayflyError) -> Reply:
        return web.fault(head, error) if head.path.startswith(API + "/web/") else calls.fault(head, error)

    return Dialect(
        name="openwhisk",
        profile=PROFILE,
        routes=routes,
        fault=fault,
        authenticate=authenticate,
        parts=calls,
    )
