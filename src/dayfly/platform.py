"""The façade: `await perform(action, by) -> outcome`, and nothing else.

One table from action class to the one that performs it. What concerns every action (who may, who did) is middleware around the table:
a `Handler -> Handler`, so that no face can forget it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from .actions import Performers
from .errors import BadInput
from .model.identity import LOCAL, Identity

Handler = Callable[[Any, Identity], Awaitable[Any]]
Middleware = Callable[[Handler], Handler]


class Platform:
    """Performs every action of `dayfly.actions`."""

    def __init__(
        self,
        performers: Performers,
        middleware: Iterable[Middleware] = (),
        personal: dict[type, Handler] | None = None,
    ) -> None:
        """`personal` are performers that have to know for whom."""
        self._performers = performers
        self._personal = personal or {}
        handler: Handler = self._perform
        for wrap in middleware:
            handler = wrap(handler)
        self._handler = handler

    async def perform(self, action: Any, by: Identity = LOCAL) -> Any:
        """The outcome named in the action's docstring; raises from `dayfly.errors`."""
        return await self._handler(action, by)

    async def _perform(self, action: Any, by: Identity) -> Any:
        personal = self._personal.get(type(action))
        if personal is not None:
            return await personal(action, by)
        performer = self._performers.get(type(action))
        if performer is None:
            raise BadInput(f"nothing here performs {type(action).__name__}")
        return await performer(action)
