"""CESQL's built-in functions (cloudevents/spec, cesql/spec.md, section 3.5). Each is total: it returns a value beside any error."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, NamedTuple

from .values import INT_MAX, INT_MIN, Error, Kind, Type, as_string, cast

MAX_RESULT: Final = 1 << 20  # characters
# What Unicode calls White_Space; Python's own notion of it is a little wider.
_SPACES: Final = (
    "\t\n\v\f\r \x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u2028\u2029\u202f\u205f\u3000"
)

BOOL, INT, STR = Type.BOOLEAN, Type.INTEGER, Type.STRING

Errors = list[Error]


class Function(NamedTuple):
    """`run` is given the list of errors and the arguments, already cast. A variadic one takes any number more of `rest`."""

    parameters: tuple[Type, ...]
    result: Type
    run: Callable[..., Any]
    rest: Type | None = None


def _fail(errors: Errors, message: str) -> None:
    errors.append(Error(Kind.FUNCTION_EVALUATION, message))


def _join(errors: Errors, delimiter: str, *texts: str) -> str:
    if sum(map(len, texts)) + len(delimiter) * len(texts) > MAX_RESULT:
        _fail(errors, f"the text would be longer than {MAX_RESULT} characters")
        return ""
    return delimiter.join(texts)


def _left(errors: Errors, text: str, count: int) -> str:
    if count < 0:
        _fail(errors, "LEFT takes no negative count")
        return text
    return text[:count]


def _right(errors: Errors, text: str, count: int) -> str:
    if count < 0:
        _fail(errors, "RIGHT takes no negative count")
        return text
    return text[max(0, len(text) - count) :]


def _substring(errors: Errors, text: str, position: int, length: int = INT_MAX) -> str:
    if position > len(text) or position < -len(text) or length < 0:
        _fail(errors, "SUBSTRING goes beyond the text" if length >= 0 else "SUBSTRING takes no negative length")
        return ""
    if position == 0:
        return ""
    start = position - 1 if position > 0 else len(text) + position
    return text[start : start + length]


def _abs(errors: Errors, value: int) -> int:
    if value == INT_MIN:
        errors.append(Error(Kind.MATH, "the absolute value has more than 32 bits"))
        return INT_MAX
    return abs(value)


def _castable(to: Type) -> Callable[[Errors, Any], bool]:
    def run(errors: Errors, value: Any) -> bool:
        failed: Errors = []
        cast(value, to, failed)
        return not failed

    return run


_FUNCTIONS: Final[dict[str, tuple[Function, ...]]] = {
    "LENGTH": (Function((STR,), INT, lambda errors, text: len(text)),),
    "CONCAT": (Function((), STR, lambda errors, *texts: _join(errors, "", *texts), rest=STR),),
    "CONCAT_WS": (Function((STR,), STR, _join, rest=STR),),
    "LOWER": (Function((STR,), STR, lambda errors, text: text.lower()),),
    "UPPER": (Function((STR,), STR, lambda errors, text: text.upper()),),
    "TRIM": (Function((STR,), STR, lambda errors, text: text.strip(_SPACES)),),
    "LEFT": (Function((STR, INT), STR, _left),),
    "RIGHT": (Function((STR, INT), STR, _right),),
    "SUBSTRING": (Function((STR, INT), STR, _substring), Function((STR, INT, INT), STR, _substring)),
    "ABS": (Function((INT,), INT, _abs),),
    "INT": (Function((INT,), INT, lambda errors, value: value),),
    "BOOL": (Function((BOOL,), BOOL, lambda errors, value: value),),
    "STRING": (Function((STR,), STR, lambda errors, value: as_string(value)),),
    "IS_INT": (Function((Type.ANY,), BOOL, _castable(INT)),),
    "IS_BOOL": (Function((Type.ANY,), BOOL, _castable(BOOL)),),
}
NAMES: Final = tuple(sorted(_FUNCTIONS))


def find(name: str, arguments: int) -> Function | None:
    """The function of that name, in any case, that takes so many arguments."""
    for function in _FUNCTIONS.get(name.upper(), ()):
        fixed = len(function.parameters)
        if arguments == fixed or (function.rest is not None and arguments > fixed):
            return function
    return None
