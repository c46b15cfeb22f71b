"""A compiled CESQL expression: a tree of nodes, each a function of an event and the list of errors so far.

Evaluation fails fast, as section 4.1 of cloudevents/spec, cesql/spec.md allows: where an operand came with an error, the operator returns
the zero value of its own type and looks no further. So an error anywhere keeps an event from passing the filter, and the value is defined.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from .. import glob
from .functions import Function
from .values import INT_MAX, INT_MIN, ZERO, Error, Kind, Type, Value, as_string, cast, type_of

if TYPE_CHECKING:
    from ..dialects import Filterable

Run = Callable[["Filterable", list[Error]], Any]


class Node(NamedTuple):
    type: Type
    run: Run
    depth: int = 1


def literal(value: Value) -> Node:
    return Node(type_of(value), lambda event, errors: value)


def attribute(name: str) -> Node:
    missing = Error(Kind.MISSING_ATTRIBUTE, f"the event has no attribute {name}")

    def run(event: Filterable, errors: list[Error]) -> Value:
        value = event.attribute(name)
        if value is None:
            errors.append(missing)
            return False
        return value

    return Node(Type.ANY, run)


def exists(name: str) -> Node:
    return Node(Type.BOOLEAN, lambda event, errors: event.attribute(name) is not None)


def _total(result: Type, operands: list[Node], parameters: list[Type], apply: Callable[..., Value]) -> Node:
    """Evaluates and casts the operands in order, then applies; at the first error the zero value."""
    zero = ZERO[result]
    runs = [operand.run for operand in operands]

    def run(event: Filterable, errors: list[Error]) -> Value:
        values = []
        for operand in runs:
            values.append(operand(event, errors))
            if errors:
                return zero
        for index, to in enumerate(parameters):
            values[index] = cast(values[index], to, errors)
            if errors:
                return zero
        return apply(errors, *values)

    return Node(result, run, 1 + max((operand.depth for operand in operands), default=0))


def call(function: Function, arguments: list[Node]) -> Node:
    rest = len(arguments) - len(function.parameters)
    parameters = [*function.parameters, *([function.rest] * rest if function.rest is not None else [])]
    return _total(function.result, arguments, parameters, function.run)


def _clamped(errors: list[Error], value: int) -> int:
    if INT_MIN <= value <= INT_MAX:
        return value
    errors.append(Error(Kind.MATH, "the result has more than 32 bits"))
    return INT_MAX if value > 0 else INT_MIN


def _divide(errors: list[Error], x: int, y: int) -> int:
    if y == 0:
        errors.append(Error(Kind.MATH, "division by zero"))
        return 0
    quotient = abs(x) // abs(y)
    return _clamped(errors, quotient if (x < 0) == (y < 0) else -quotient)


def _remainder(errors: list[Error], x: int, y: int) -> int:
    if y == 0:
        errors.append(Error(Kind.MATH, "remainder of a division by zero"))
        return 0
    rest = abs(x) % abs(y)
    return -rest if x < 0 else rest


_ARITHMETIC: Final[dict[str, Callable[[list[Error], int, int], int]]] = {
    "+": lambda errors, x, y: _clamped(errors, x + y),
    "-": lambda errors, x, y: _clamped(errors, x - y),
    "*": lambda errors, x, y: _clamped(errors, x * y),
    "/": _divide,
    "%": _remainder,
}
_ORDER: Final[dict[str, Callable[[list[Error], int, int], bool]]] = {
    "<": lambda errors, x, y: x < y,
    "<=": lambda errors, x, y: x <= y,
    ">": lambda errors, x, y: x > y,
    ">=": lambda errors, x, y: x >= y,
}


def binary(operator: str, left: Node, right: Node) -> Node:
    if operator in _ARITHMETIC:
        return _total(Type.INTEGER, [left, right], [Type.INTEGER] * 2, _ARITHMETIC[operator])
    if operator in _ORDER:
        return _total(Type.BOOLEAN, [left, right], [Type.INTEGER] * 2, _ORDER[operator])
    if operator == "XOR":
        return _total(Type.BOOLEAN, [left, right], [Type.BOOLEAN] * 2, lambda errors, x, y: x is not y)
    wanted = operator == "="

    def equal(errors: list[Error], x: Value, y: Value) -> bool:
        x = cast(x, type_of(y), errors)
        return not errors and (x == y) is wanted

    return _total(Type.BOOLEAN, [left, right], [Type.ANY] * 2, equal)


def logic(stop: bool, operands: list[Node]) -> Node:
    """AND (stops at false) or OR (stops at true) of several: what comes after the stop is not evaluated."""
    runs = [operand.run for operand in operands]

    def run(event: Filterable, errors: list[Error]) -> bool:
        for operand in runs:
            value: Value = operand(event, errors)
            if not errors:
                value = cast(value, Type.BOOLEAN, errors)
            if errors:
                return False
            if value is stop:
                return stop
        return not stop

    return Node(Type.BOOLEAN, run, 1 + max(operand.depth for operand in operands))


def negation(operand: Node) -> Node:
    return _total(Type.BOOLEAN, [operand], [Type.BOOLEAN], lambda errors, x: not x)


def minus(operand: Node) -> Node:
    return _total(Type.INTEGER, [operand], [Type.INTEGER], lambda errors, x: _clamped(errors, -x))


def like(operand: Node, pattern: str, *, negated: bool) -> Node:
    matches = glob.matcher(glob.like(pattern))
    return _total(Type.BOOLEAN, [operand], [Type.STRING], lambda errors, x: matches(x) is not negated)


def among(operand: Node, elements: list[Node], *, negated: bool) -> Node:
    """IN: the elements are cast to the type of the operand."""

    def found(errors: list[Error], x: Value, *values: Value) -> bool:
        to = type_of(x)
        hit = False
        for value in values:
            same = as_string(value) if to is Type.STRING else cast(value, to, errors)
            if errors:
                return False
            hit = hit or same == x
        return hit is not negated

    return _total(Type.BOOLEAN, [operand, *elements], [Type.ANY] * (1 + len(elements)), found)
