"""A dispatcher over scripted boxes."""

from __future__ import annotations

from dayfly.actions import Invoke
from dayfly.calls.dispatcher import Dispatcher
from dayfly.errors import (
    NotFound,
)
from dayfly.model.call import Invocation
from dayfly.model.function import Reservation, Revision
from dayfly.model.profile import NATIVE, Profile
from dayfly.pool.pool import Limits, Pool
from dayfly.testing.clock import FakeClock
from tests.support.boxes import ScriptedSandbox, Waiting, revision


class Desk:
    """A dispatcher over scripted boxes, one function, and the records it wrote."""

    def __init__(self, target: Revision | None = None, limits: Limits | None = None) -> None:
        self.revision = target or revision()
        self.clock = FakeClock()
        self.sandbox = ScriptedSandbox()
        self.pool = Pool(self.sandbox, self.clock, lambda r: r.config.env, limits or Limits())
        self.records: list[Invocation] = []
        self.dispatcher = Dispatcher(self, self.pool, self.records.append, self.clock)

    reservations: dict[tuple[str, str], Reservation] = {}  # noqa: RUF012

    def resolve(self, namespace: str, function: str, qualifier: str) -> Revision:
        if function != self.revision.function:
            raise NotFound("no such function")
        return self.revision

    def profile(self, name: str) -> Profile:
        return NATIVE

    def call(self, body: bytes = b"{}", **fields: object) -> Waiting:
        client = Waiting()
        self.dispatcher.begin(Invoke(namespace="default", function="hello", body=body, **fields), client)  # type: ignore[arg-type]
        return client

    @property
    def group(self):  # type: ignore[no-untyped-def]
        return self.pool.group(self.revision)
