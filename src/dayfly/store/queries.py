"""Named queries, read once from the `.sql` files beside this module.

SQL is a language of its own: it lives in files where an editor, a reviewer and EXPLAIN understand it, one query under a line
`-- name: the_query`. Code knows queries by name only; a name that does not exist is an error where it is used, not at run time
in some background thread.
"""

from __future__ import annotations

import difflib
import functools
import re
from importlib import resources
from typing import Final

from ..errors import Internal

_NAME: Final = re.compile(r"^-- name: *([a-z][a-z0-9_]*) *$", re.MULTILINE)


class Queries:
    """The text of every query by its name."""

    def __init__(self, texts: dict[str, str]) -> None:
        self._texts = texts

    def __getitem__(self, name: str) -> str:
        """The SQL of a query; raises errors.Internal, with the nearest names, if there is none."""
        try:
            return self._texts[name]
        except KeyError:
            near = ", ".join(difflib.get_close_matches(name, self._texts)) or "none is near"
            raise Internal(
                f"There is no query called {name!r}.", hint=f"Queries stand in store/sql/*.sql. Near names: {near}."
            ) from None

    def __contains__(self, name: object) -> bool:
        return name in self._texts

    def names(self) -> list[str]:
        return sorted(self._texts)


def parse(text: str, origin: str = "sql") -> dict[str, str]:
    """Split the text of a file into its queries; raises ValueError for a name given twice or a query without text."""
    pieces = _NAME.split(text)
    found: dict[str, str] = {}
    for name, body in zip(pieces[1::2], pieces[2::2], strict=True):
        sql = body.strip().rstrip(";")
        if not sql:
            raise ValueError(f"{origin}: query {name!r} is empty")
        if name in found:
            raise ValueError(f"{origin}: query {name!r} is defined twice")
        found[name] = sql
    return found


@functools.cache
def load() -> Queries:
    """All queries of the package."""
    found: dict[str, str] = {}
    for file in sorted(resources.files(__package__).joinpath("sql").iterdir(), key=lambda f: f.name):
        if not file.name.endswith(".sql"):
            continue
        for name, sql in parse(file.read_text("utf-8"), file.name).items():
            if name in found:
                raise ValueError(f"{file.name}: query {name!r} is defined in another file too")
            found[name] = sql
    return Queries(found)
