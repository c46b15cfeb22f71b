"""The vocabulary of parameters: each name means the same thing on every path.

A parameter is text on the wire. Its `type` carries the rule (msgspec constraints: they validate here and appear in the OpenAPI
description), `parse` turns the valid text into the value of the action's field.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Annotated, Any
from urllib.parse import parse_qsl, unquote

import msgspec
from msgspec import Meta, Struct

from ..errors import BadInput, NameInvalid
from ..model.call import Status
from ..model.names import ALIAS_PATTERN, END, NAME_PATTERN, SECRET_PATTERN

MAX_PARAMETERS = 32

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
_DURATION = r"([0-9]{1,9}(\.[0-9]{1,9})?(ms|s|m|h|d|w))+"
_EPOCH = r"[0-9]{1,11}(\.[0-9]{1,9})?"
_RFC3339 = r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,9})?([Zz]|[-+ ][0-9]{2}:[0-9]{2})"
_PIECE = re.compile(r"([0-9.]+)(ms|s|m|h|d|w)")


def moment(text: str, now: float) -> float:
    """Seconds since the epoch, from `1h30m` (that long before `now`), `1700000000.5` or `2026-01-31T12:00:00Z`.

    Raises ValueError for a date that does not exist.
    """
    if re.fullmatch(_EPOCH, text):
        return float(text)
    if re.fullmatch(_DURATION, text):
        return max(0.0, now - sum(float(number) * _UNITS[unit] for number, unit in _PIECE.findall(text)))
    # A `+` that was not percent-encoded arrives as a space.
    return max(0.0, datetime.fromisoformat(text.upper().replace(" ", "+")).timestamp())


def _integer(text: str) -> int:
    if not re.fullmatch(r"-?[0-9]{1,18}", text):
        raise ValueError("it is not a whole number")
    return int(text)


def _boolean(text: str) -> bool:
    if text not in ("true", "false"):
        raise ValueError("it is neither true nor false")
    return text == "true"


class Parameter(Struct, frozen=True, kw_only=True):
    """`decode` makes the JSON value that `type` checks; `parse` makes of it what the action wants."""

    type: Any
    about: str
    decode: Callable[[str], Any] = str
    parse: Callable[[Any, float], Any] = lambda value, now: value
    names: bool = False  # it names a thing: a violation is NameInvalid

    def read(self, name: str, text: str, now: float) -> Any:
        """The value that the text stands for. Raises errors.BadInput naming the parameter and its rule."""
        try:
            if text.endswith("\n"):  # the `$` of a pattern would let it pass
                raise ValueError("it ends with a line feed")
            return self.parse(msgspec.convert(self.decode(text), self.type), now)
        except ValueError as error:  # msgspec.ValidationError is one
            why = "" if "matching regex" in str(error) else f": {str(error)[:200]}"  # a person reads the rule in words
            raise (NameInvalid if self.names else BadInput)(
                f"The parameter `{name}` cannot be {text[:100]!r}{why}.",
                hint=f"`{name}` is {self.about}.",
                field=name,
            ) from None


def name(about: str, pattern: str) -> Parameter:
    """A parameter that names a thing by this rule."""
    return Parameter(type=Annotated[str, Meta(pattern=pattern)], about=about, names=True)


def number(about: str, lowest: int, highest: int) -> Parameter:
    """A parameter that takes a whole number within these bounds."""
    return Parameter(type=Annotated[int, Meta(ge=lowest, le=highest)], decode=_integer, about=about)


# Functions made through other dialects follow other naming rules, and all are visible here.
_ANY_NAME = rf"^[^\x00-\x1f\x7f]{{1,256}}{END}"
_MOMENT = Annotated[str, Meta(pattern=f"^({_EPOCH}|{_DURATION}|{_RFC3339}){END}")]
_MOMENTS = "a time (`2026-01-31T12:00:00Z`, seconds since the epoch) or how long ago (`30m`, `1h30m`, `7d`)"

VOCABULARY: dict[str, Parameter] = {
    "namespace": name("the name of a namespace", _ANY_NAME),
    "name": name("the name of a function", _ANY_NAME),
    "function": name("the name of a function", _ANY_NAME),
    "alias": name("a name of letters, digits, `-` and `_`, at most 63, not all of them digits", ALIAS_PATTERN),
    "id": name("an invocation id: 32 lower-case hexadecimal digits", rf"^[0-9a-f]{{32}}{END}"),
    "invocation": name("an invocation id: 32 lower-case hexadecimal digits", rf"^[0-9a-f]{{32}}{END}"),
    "number": number("the number of a revision", 1, 2**31 - 1),
    "limit": number("how many items to return at most", 1, 1000),
    "cursor": Parameter(type=Annotated[str, Meta(max_length=512)], about="where the page before ended: its `cursor`"),
    "prefix": Parameter(type=Annotated[str, Meta(max_length=256)], about="how the names begin"),
    "status": Parameter(type=Status, about="one of: " + ", ".join(Status)),
    "since": Parameter(type=_MOMENT, parse=moment, about="the beginning: " + _MOMENTS),
    "until": Parameter(type=_MOMENT, parse=moment, about="the end: " + _MOMENTS),
    "broker": name("the name of a broker", _ANY_NAME),
    "trigger": name("the name of a trigger", _ANY_NAME),
    "queue": name("the name of a queue", _ANY_NAME),
    "type": Parameter(type=Annotated[str, Meta(max_length=1024)], about="the type of an event"),
    "source": Parameter(type=Annotated[str, Meta(max_length=8192)], about="the source of an event"),
    "qualifier": Parameter(type=Annotated[str, Meta(max_length=64)], about="a revision, alias or tag; empty: the traffic's"),
    "follow": Parameter(type=bool, decode=_boolean, about="true to keep the answer open and send lines as they come"),
    "filename": name(
        "the name of the one source file that is sent, or any name ending in `.zip`",
        rf"^[A-Za-z0-9_][A-Za-z0-9_.-]{{0,127}}{END}",
    ),
}

NATIVE_NAME = name(
    "a name of at most 63 lower-case letters, digits, `-` and `_`, with a letter or digit at both ends", NAME_PATTERN
)
EVENT_ID = name("the id of an event", rf"^[^\x00-\x1f\x7f]{{1,1024}}{END}")
SECRET_NAME = name("a name of letters, digits, `_`, `.` and `-`, at most 127", SECRET_PATTERN)


def read_query(raw: bytes, known: Mapping[str, Parameter], now: float) -> dict[str, Any]:
    """The values in a query string. Raises errors.BadInput for what is unknown, repeated, malformed or against its rule."""
    try:
        text = raw.decode("ascii")
        pairs = parse_qsl(text, True, strict_parsing=bool(raw), errors="strict", max_num_fields=MAX_PARAMETERS)
    except ValueError as error:
        raise BadInput(f"The query string cannot be read: {error}.") from None
    values: dict[str, Any] = {}
    for key, value in pairs:
        if key not in known:
            raise BadInput(
                f"There is no parameter `{key[:100]}` here.",
                hint=f"Parameters: {', '.join(known)}." if known else "This address takes no parameters.",
                field=key[:100],
            )
        if key in values:
            raise BadInput(f"The parameter `{key}` is given more than once.", field=key)
        values[key] = known[key].read(key, value, now)
    return values


def read_path(segments: Mapping[str, str], known: Mapping[str, Parameter], now: float) -> dict[str, Any]:
    """The values in the path, whose segments are still percent-encoded. Raises errors.BadInput."""
    values: dict[str, Any] = {}
    for key, parameter in known.items():
        try:
            text = unquote(segments[key], errors="strict")
        except UnicodeDecodeError:
            raise NameInvalid(f"The {key} in the path is not UTF-8.", field=key) from None
        values[key] = parameter.read(key, text, now)
    return values
