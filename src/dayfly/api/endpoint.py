"""A row of the API's tables: one method on one path, as data.

Path parameters, query parameters and the members of the body are named like the fields of the action they fill, so a row needs no code.
The server (`serve`) and the description (`openapi`) read the same rows.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from ..actions import Action, Invoke
from ..clock import Clock
from ..errors import DayflyError, NotFound
from ..model.identity import Identity
from . import query
from .query import Parameter

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

Perform = Callable[[Action | Invoke, Identity], Awaitable[Any]]
Ask = Callable[[Action], Awaitable[Any]]  # `Perform` on behalf of the request's identity
Fields = dict[str, Any]  # what the request says, by the name of the action's field
Answer = Callable[["Endpoint", "Request", Fields, Ask, Clock], Awaitable["Response"]]

V1 = "/v1"
NAMESPACE = V1 + "/namespaces/{namespace}"
FUNCTION = NAMESPACE + "/functions/{name}"

_IN_PATH = re.compile(r"{(\w+)}")


def as_it_is(outcome: Any) -> Any:
    """The default view: an outcome is shown unchanged."""
    return outcome


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    method: str
    path: str
    summary: str
    action: type[Action]
    gives: Any = None  # type of the answer's JSON; None: 204 without a body
    view: Callable[[Any], Any] = as_it_is  # outcome -> a value of the type `gives`
    created: Callable[[Any], bool] | None = None  # given: 201 if true of the outcome, else 200
    query: tuple[str, ...] = ()  # names from the vocabulary
    body: type[Struct] | None = None  # a JSON document
    upload: str = ""  # the action's field that takes the body's bytes as they are
    raises: tuple[type[DayflyError], ...] = (NotFound,)  # besides those that any request may meet
    renamed: Mapping[str, Parameter] = field(default_factory=dict)  # parameters that differ from the vocabulary
    answer: Answer | None = None  # instead of "perform, then view"
    operation: str = ""  # name of the operation, where one action serves two rows
    events: type[Struct] | None = None  # also sends server-sent events, each with such a document
    event_name: str = "log"  # of those

    @property
    def tag(self) -> str:
        """The resource, for grouping in the description."""
        words = self.path.split("/")
        return next(word for word in reversed(words) if word in TAGS)

    @property
    def operation_id(self) -> str:
        """Unique and stable, for generated clients: `putFunction`."""
        name = self.operation or self.action.__name__
        return name[0].lower() + name[1:]

    @property
    def path_parameters(self) -> dict[str, Parameter]:
        return {name: self.parameter(name) for name in _IN_PATH.findall(self.path)}

    @property
    def query_parameters(self) -> dict[str, Parameter]:
        return {name: self.parameter(name) for name in self.query}

    def parameter(self, name: str) -> Parameter:
        return self.renamed.get(name) or query.VOCABULARY[name]


TAGS = {
    "namespaces": "Tenancy boundaries: names, secrets and usage are per namespace.",
    "packages": "Content-addressed code archives.",
    "functions": "A name, its traffic and its configuration.",
    "aliases": "Named pointers to revisions.",
    "revisions": "Immutable versions of functions.",
    "invocations": "Records of calls.",
    "logs": "What functions wrote, by invocation.",
    "secrets": "Values for functions' environments; never returned.",
    "keys": "Who may do what in the namespace.",
    "tokens": "For a short while, and stored nowhere.",
    "audit": "Who changed what, when, from where.",
    "usage": "What was used and what it costs.",
    "instances": "Sandboxes that run a revision now.",
    "brokers": "Take events and hand them to triggers. Events are published under /events, not here.",
    "events": "Accepted events.",
    "eventtypes": "What kinds of events have passed.",
    "triggers": "Source or broker + filter + target + delivery policy.",
    "async": "How asynchronous calls of a function are delivered.",
    "queues": "Messages that wait until they are dealt with.",
    "dead": "What could not be delivered.",
    "time": "The clock of a development server.",
    "redrive": "Another chance for what could not be delivered.",
    "purge": "The end of what could not be delivered.",
    "recordings": "What calls were given, to be looked at and given again.",
}
