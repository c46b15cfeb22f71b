"""Where everything is answered."""

from __future__ import annotations

from typing import Any

from ..hook import Dialect, Handle, Route, View
from .actions import Actions
from .activations import Activations
from .info import Info
from .invoke import Calls
from .profile import PROFILE
from .users import authenticate

API = "/api/v1"
NAMESPACE = API + "/namespaces/{ns}"


def dialect(view: View) -> Dialect:
    """The dialect, over what this cell knows."""
    calls, actions, activations, info = Calls(view), Actions(view), Activations(view), Info()

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
        route("GET", NAMESPACE + "/activations", activations.listing),
        route("GET", NAMESPACE + "/activations/", activations.listing),
        route("GET", NAMESPACE + "/activations/{id}/{what...}", activations.get),
    )
    return Dialect(
        name="openwhisk",
        profile=PROFILE,
        routes=routes,
        fault=calls.fault,
        authenticate=authenticate,
        address=calls.address,
    )
