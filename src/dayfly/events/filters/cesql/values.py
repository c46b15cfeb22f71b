"""CESQL's three types, their zero values and the casts between them (cloudevents/spec, cesql/spec.md, sections 3.1, 3.3 and 3.7)."""

from __future__ import annotations

import enum
from typing import Final, NamedTuple

from msgspec import Struct

INT_MIN: Final = -(1 << 31)
INT_MAX: Final = (1 << 31) - 1

Value = str | int | bool


class Type(enum.Enum):
    """`ANY`: known only when the expression runs. Its zero value is false."""

    BOOLEAN = "Boolean"
    INTEGER = "Integer"
    STRING = "String"
    ANY = "Any"


ZERO: Final[dict[Type, Value]] = {Type.BOOLEAN: False, Type.INTEGER: 0, Type.STRING: "", Type.ANY: False}


class Kind(enum.StrEnum):
    """What can go wrong, by the specification's names."""

    PARSE = "parse"
    MATH = "math"
    CAST = "cast"
    MISSING_ATTRIBUTE = "missingAttribute"
    MISSING_FUNCTION = "missingFunction"
    FUNCTION_EVALUATION = "functionEvaluation"


class Error(Struct, frozen=True):
    kind: Kind
    message: str


class Evaluation(NamedTuple):
    """What an expression came to. There is a value even if something went wrong."""

    value: Value
    errors: tuple[Error, ...] = ()


def type_of(value: Value) -> Type:
    if isinstance(value, bool):
        return Type.BOOLEAN
    return Type.INTEGER if isinstance(value, int) else Type.STRING


def as_string(value: Value) -> str:
    """The canonical text of a value (CloudEvents 1.0.2, "Type System")."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return value if isinstance(value, str) else str(value)


def parse_int(text: str) -> int | None:
    """The integer that a text spells, if it does and it has 32 bits."""
    digits = text[1:] if text[:1] in ("+", "-") else text
    if not digits.isdecimal() or not digits.isascii() or len(digits.lstrip("0")) > 10:
        return None
    value = int(text)
    return value if INT_MIN <= value <= INT_MAX else None


def cast(value: Value, to: Type, errors: list[Error]) -> Value:
    """The value as that type; the type's zero, and an error, where it cannot be."""
    if to is Type.ANY or type_of(value) is to:
        return value
    if to is Type.STRING:
        return as_string(value)
    result: Value | None
    if to is Type.INTEGER:
        result = parse_int(value) if isinstance(value, str) else int(value)
    elif isinstance(value, str):
        result = {"true": True, "false": False}.get(value.lower())
    else:
        result = value != 0
    if result is None:
        errors.append(Error(Kind.CAST, f"{value[:64]!r} is no {to.value}" if isinstance(value, str) else f"no {to.value}"))
        return ZERO[to]
    return result
