"""This cell's own copy of what is deployed, so that a call is routed by two dictionary look-ups.

The truth is in the store. Changes reach the copy through the store's feed alone, own changes too: `refresh` reads again what a note
names and swaps it in one assignment, which is what makes a route change atomic for the calls around it.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Mapping

import msgspec

from ..errors import NotFound
from ..model.function import Artifact, Function, Reservation, Revision, Target
from ..model.profile import NATIVE, Profile
from ..store.port import Store
from .shared import Shared, named

_function = msgspec.json.Decoder(Function).decode
_revision = msgspec.json.Decoder(Revision).decode


class Route:
    """A function, its revisions, and where its calls go."""

    __slots__ = ("function", "only", "revisions")

    def __init__(self, function: Function, revisions: dict[int, Revision]) -> None:
        self.function = function
        self.revisions = revisions
        # The usual case, all calls to one revision, is decided here once.
        self.only = revisions[function.traffic[0].revision] if len(function.traffic) == 1 else None

    def pick(self, targets: tuple[Target, ...]) -> Revision:
        """One of the targets, at random by weight."""
        if len(targets) == 1:
            return self.revisions[targets[0].revision]
        at = random.random() * sum(target.weight for target in targets)
        for target in targets:
            at -= target.weight
            if at < 0:
                break
        return self.revisions[target.revision]


class Registry:
    """All routes of this cell, by (namespace, function)."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._routes: dict[tuple[str, str], Route] = {}
        self._shared = Shared()
        self.namespaces: dict[str, float] = {}
        self.reservations: dict[tuple[str, str], Reservation] = {}  # of those functions that have one
        self.profiles: dict[str, Profile] = {NATIVE.name: NATIVE}  # those of the dialects join them

    async def load(self) -> None:
        """Read everything once, at start."""
        for name, created in await self._store.fetch("namespaces_all"):
            self.namespaces[name] = created
        revisions: dict[tuple[str, str], list[bytes]] = {}
        for space, name, *_, body, _created in await self._store.fetch("revisions_all"):
            revisions.setdefault((space, name), []).append(body)
        for space, name, body, _updated in await self._store.fetch("functions_all"):
            self._add(body, revisions.pop((space, name), []))

    async def refresh(self, namespace: str, name: str) -> None:
        """Read one function again and swap it in (or out, if it is gone)."""
        rows = await self._store.fetch("function_one", namespace=namespace, name=name)
        if not rows:
            self._routes.pop((namespace, name), None)
            self.reservations.pop((namespace, name), None)
            return
        revisions = await self._store.fetch("revisions_of", namespace=namespace, function=name)
        self._add(rows[0][2], [row[4] for row in revisions])

    def _add(self, body: bytes, revisions: Iterable[bytes]) -> None:
        function = named(_function(body))
        shared = [self._shared.revision(_revision(one), function) for one in revisions]
        self._routes[function.namespace, function.name] = Route(function, {revision.number: revision for revision in shared})
        if function.reserved is None:
            self.reservations.pop((function.namespace, function.name), None)
        else:
            live = reachable(function, {revision.number: revision for revision in shared})
            held = {one.number: one.config.min_instances * one.config.concurrency for one in live if one.config.min_instances}
            self.reservations[function.namespace, function.name] = Reservation(function.reserved, held)

    def resolve(self, namespace: str, function: str, qualifier: str) -> Revision:
        """The revision that takes this call: by the traffic split, or by number, alias or tag. Raises NotFound."""
        route = self._routes.get((namespace, function))
        if route is None:
            raise self._missing(namespace, function)
        if not qualifier:
            return route.only or route.pick(route.function.traffic)
        if qualifier.isdigit():
            revision = route.revisions.get(int(qualifier[:18]))
            if revision is not None:
                return revision
        else:
            targets = route.function.aliases.get(qualifier)
            if targets is not None:
                return route.pick(targets)
            for target in route.function.traffic:
                if target.tag == qualifier:
                    return route.revisions[target.revision]
        raise NotFound(
            f"{namespace}/{function} has no revision, alias or tag {qualifier!r}",
            hint=f"It has the revisions {_few(sorted(route.revisions))} and the aliases {_few(sorted(route.function.aliases))}.",
        )

    def _missing(self, namespace: str, function: str) -> NotFound:
        known = [name for space, name in self._routes if space == namespace]
        hint = f"The namespace has: {_few(sorted(known))}." if known else "Deploy it: dayfly deploy PATH --name NAME."
        return NotFound(f"there is no function {function[:100]!r} in the namespace {namespace[:100]!r}", hint=hint)

    def require_namespace(self, name: str) -> None:
        """Raises NotFound if it does not exist."""
        if name not in self.namespaces:
            raise NotFound(f"there is no namespace {name[:100]!r}", hint="See: dayfly namespace ls")

    def profile(self, name: str) -> Profile:
        """The profile of that name; the native one if a dialect is not installed any more."""
        return self.profiles.get(name, NATIVE)

    def route(self, namespace: str, name: str) -> Route:
        """The route of a function; raises NotFound."""
        route = self._routes.get((namespace, name))
        if route is None:
            raise self._missing(namespace, name)
        return route

    def find(self, namespace: str, name: str) -> Route | None:
        return self._routes.get((namespace, name))

    def revision(self, namespace: str, function: str, number: int) -> Revision | None:
        route = self._routes.get((namespace, function))
        return route.revisions.get(number) if route is not None else None

    def functions(self, namespace: str) -> list[Function]:
        """All functions of a namespace, by name."""
        found = [route.function for (space, _), route in self._routes.items() if space == namespace]
        return sorted(found, key=lambda function: function.name)

    def artifacts(self, namespace: str = "") -> list[Artifact]:
        """What the revisions that are kept mount; of one namespace, if it is given."""
        return [
            revision.artifact
            for (space, _), route in self._routes.items()
            if not namespace or space == namespace
            for revision in route.revisions.values()
        ]

    def __len__(self) -> int:
        return len(self._routes)

    def live(self) -> Iterator[Revision]:
        """Every revision that calls without a number can reach."""
        for route in self._routes.values():
            yield from reachable(route.function, route.revisions)


def reachable(function: Function, revisions: Mapping[int, Revision]) -> list[Revision]:
    """The revisions that traffic, tags or aliases of the function point to."""
    numbers = {target.revision for target in function.traffic}
    for targets in function.aliases.values():
        numbers.update(target.revision for target in targets)
    return [revisions[number] for number in sorted(numbers) if number in revisions]


def _few(items: list[str] | list[int]) -> str:
    shown = ", ".join(str(item) for item in items[:5])
    return (shown + (f" and {len(items) - 5} more" if len(items) > 5 else "")) or "none"
