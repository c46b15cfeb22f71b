"""CESQL: the CloudEvents SQL expression language, version 1 (cloudevents/spec, cesql/spec.md).

    lexer -> parser -> nodes     an expression is compiled once, then evaluated for each event
    values                       types, casts, errors
    functions                    the built-in ones

The language is total: an evaluation always ends, and always gives a value beside whatever errors there were.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ....errors import BadInput
from .lexer import Refused
from .nodes import Node
from .parser import parse
from .values import Error, Evaluation, Kind

if TYPE_CHECKING:
    from ..dialects import Filterable

__all__ = ["Error", "Evaluation", "Expression", "Kind", "Refused", "compile_expression", "parse_expression"]


class Expression:
    """A compiled expression."""

    __slots__ = ("_run",)

    def __init__(self, node: Node) -> None:
        self._run = node.run

    def evaluate(self, event: Filterable) -> Evaluation:
        """Its value for this event, and the errors on the way (at most one: it fails fast)."""
        errors: list[Error] = []
        return Evaluation(self._run(event, errors), tuple(errors))

    def holds(self, event: Filterable) -> bool:
        """As a filter: whether the value is true and there was no error."""
        errors: list[Error] = []
        return self._run(event, errors) is True and not errors


def parse_expression(text: str) -> Expression:
    """Raises Refused with the kind of error (parse, missingFunction) and its place."""
    return Expression(parse(text))


def compile_expression(text: str, *, where: str) -> Expression:
    """Raises BadInput that shows the place in the expression; `where` says in what the expression stands."""
    try:
        return parse_expression(text)
    except Refused as refused:
        raise BadInput(
            f"{where}, at character {refused.at + 1}: {refused.message}", hint=refused.hint, position=refused.at + 1
        ) from None
