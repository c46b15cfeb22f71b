"""Finds the route of a request: a tree of path segments, literal before parameter before rest."""

from __future__ import annotations

from collections.abc import Iterable
from urllib.parse import unquote

from .hook import Route


class _Node:
    __slots__ = ("literals", "parameter", "rest", "routes")

    def __init__(self) -> None:
        self.literals: dict[str, _Node] = {}
        self.parameter: _Node | None = None
        self.routes: dict[str, tuple[Route, tuple[str, ...]]] = {}  # method -> route and its parameters' names
        self.rest: dict[str, tuple[Route, tuple[str, ...]]] = {}


class Router:
    """The routes of one dialect. Matching costs a dictionary look-up a segment, however many routes there are."""

    def __init__(self, routes: Iterable[Route]) -> None:
        self._root = _Node()
        for route in routes:
            self._add(route)

    def _add(self, route: Route) -> None:
        node = self._root
        names: list[str] = []
        segments = route.path.split("/")[1:]
        for at, segment in enumerate(segments):
            if segment.startswith("{") and segment.endswith("...}"):
                if at != len(segments) - 1:
                    raise ValueError(f"{route.path}: a rest parameter stands at the end")
                names.append(segment[1:-4])
                node.rest[route.method] = (route, tuple(names))
                return
            if segment.startswith("{"):
                names.append(segment[1:-1])
                if node.parameter is None:
                    node.parameter = _Node()
                node = node.parameter
            else:
                node = node.literals.setdefault(segment, _Node())
        node.routes[route.method] = (route, tuple(names))

    def match(self, method: str, path: str) -> tuple[Route, dict[str, str]] | frozenset[str] | None:
        """The route and its parameters (percent-decoded, except a rest); else the methods that this path does take;
        None if no route has this path."""
        values: list[str] = []
        found = self._walk(self._root, path.split("/"), 1, values)
        if not found:
            return None
        entry = found.get(method) or found.get("*")
        if entry is None:
            return frozenset(found)
        route, names = entry
        return route, dict(zip(names, values, strict=False))

    def _walk(
        self, node: _Node, segments: list[str], at: int, values: list[str]
    ) -> dict[str, tuple[Route, tuple[str, ...]]] | None:
        if at == len(segments):
            if node.routes:
                return node.routes
            if node.rest:
                values.append("")
                return node.rest
            return None
        segment = segments[at]
        child = node.literals.get(segment)
        if child is not None:
            found = self._walk(child, segments, at + 1, values)
            if found:
                return found
        if node.parameter is not None and segment:
            mark = len(values)
            values.append(unquote(segment) if "%" in segment else segment)
            found = self._walk(node.parameter, segments, at + 1, values)
            if found:
                return found
            del values[mark:]
        if node.rest:
            values.append("/".join(segments[at:]))
            return node.rest
        return None
