"""Content patterns, as EventBridge rules and the FilterCriteria of Lambda's event source mappings write them.

    {"type": ["order.placed", {"prefix": "order."}],        any of the list
     "data": {"amount": [{"numeric": [">", 0, "<=", 100]}],  and every field
              "$or": [{"vip": [true]}, {"region": [{"anything-but": "eu"}]}]}}

A pattern follows the shape of the document; its leaves are lists of matchers: a value, or an object with one of prefix, suffix,
equals-ignore-case, wildcard, anything-but, numeric, cidr, exists. Where the document holds a list, one element that matches is enough.
A field that is missing matches nothing but `{"exists": false}`.
Source: docs.aws.amazon.com/eventbridge/latest/userguide, "Creating event patterns" and "Comparison operators".
"""

from __future__ import annotations

import ipaddress
import itertools
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

import msgspec

from ...errors import BadInput
from . import glob

if TYPE_CHECKING:
    from .dialects import Filterable

MAX_DEPTH: Final = 32
MAX_MATCHERS: Final = 1000
MAX_TEXT: Final = 4096  # characters of one text in a pattern
MAX_NUMBER: Final = 1e300

Matches = Callable[[Any], bool]  # of one value of the document; ABSENT where there is none
ABSENT: Final = object()


class _Pattern:
    """Compiles one pattern and counts what it holds."""

    def __init__(self) -> None:
        self.matchers = 0

    def object(self, spec: Any, where: str, depth: int = 0) -> Matches:
        if not isinstance(spec, dict) or not spec:
            raise BadInput(f"{where}: an object that names one or more fields", hint='For example {"type": ["order.placed"]}.')
        if depth > MAX_DEPTH:
            raise BadInput(f"{where}: nested more than {MAX_DEPTH} deep")
        fields: list[tuple[str, Matches]] = []
        choices: list[list[Matches]] = []
        for name, wanted in spec.items():
            inner = f"{where}.{name}"
            if name == "$or":
                if not isinstance(wanted, list | tuple) or len(wanted) < 2:
                    raise BadInput(f"{inner}: a list of two or more patterns")
                choices.append([self.object(choice, f"{inner}[{i}]", depth + 1) for i, choice in enumerate(wanted)])
            elif isinstance(wanted, dict):
                fields.append((name, self.object(wanted, inner, depth + 1)))
            else:
                fields.append((name, self.leaf(wanted, inner)))
        return _object_matcher(fields, choices)

    def leaf(self, spec: Any, where: str) -> Matches:
        if not isinstance(spec, list | tuple) or not spec:
            raise BadInput(f"{where}: a list of one or more values or matchers", hint='For example ["eu", {"prefix": "us-"}].')
        self.matchers += len(spec)
        if self.matchers > MAX_MATCHERS:
            raise BadInput(f"{where}: a pattern may hold {MAX_MATCHERS} values and matchers")
        options = [_matcher(option, f"{where}[{index}]") for index, option in enumerate(spec)]

        def matches(value: Any) -> bool:
            if isinstance(value, list):
                return any(option(element) for option in options for element in (value or [ABSENT]))
            return any(option(value) for option in options)

        return matches


def compile_pattern(spec: Any, *, where: str = "pattern") -> Callable[[Mapping[str, Any]], bool]:
    """A predicate over documents (decoded JSON). Raises BadInput naming the place in the pattern."""
    return _Pattern().object(spec, where)


def document_of(event: Filterable) -> Mapping[str, Any]:
    """An event as a pattern sees it: its attributes by name, and `data`; `detail-type` and `detail` are their EventBridge names."""
    return _Document(event)


class _Document(dict[str, Any]):
    """Looks up what the pattern asks for, so that data is decoded only if the pattern looks at it."""

    def __init__(self, event: Filterable) -> None:
        super().__init__()
        self._event = event

    def __missing__(self, name: str) -> Any:
        if name in ("data", "detail"):
            value = _decode(self._event.data)
        else:
            found = self._event.attribute("type" if name == "detail-type" else name)
            value = ABSENT if found is None else found
        self[name] = value
        return value

    def get(self, name: str, default: Any = None) -> Any:
        return self[name]


def _decode(data: bytes | None) -> Any:
    if data is None:
        return ABSENT
    try:
        return msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return ABSENT


def _object_matcher(fields: list[tuple[str, Matches]], choices: list[list[Matches]]) -> Matches:
    def matches(value: Any) -> bool:
        if isinstance(value, list):
            return any(matches(element) for element in value if not isinstance(element, list))
        document = value if isinstance(value, Mapping) else {}
        return all(wanted(document.get(name, ABSENT)) for name, wanted in fields) and all(
            any(choice(document) for choice in group) for group in choices
        )

    return matches


# --- matchers of one value ----------------------------------------------------------------------------------------------------


def _matcher(spec: Any, where: str) -> Matches:
    if not isinstance(spec, dict):
        return _equal(_scalar(spec, where))
    if len(spec) != 1 or next(iter(spec)) not in _MATCHERS:
        raise BadInput(f"{where}: a matcher is an object with one of {', '.join(sorted(_MATCHERS))}")
    [(kind, body)] = spec.items()
    return _MATCHERS[kind](body, f"{where}.{kind}")


def _scalar(value: Any, where: str) -> Any:
    if not isinstance(value, str | bool | None) and not _is_bound(value):
        raise BadInput(f"{where}: text, a number, true, false or null")
    return _text(value, where) if isinstance(value, str) else value


def _text(value: Any, where: str) -> str:
    if not isinstance(value, str) or len(value) > MAX_TEXT:
        raise BadInput(f"{where}: text of at most {MAX_TEXT} characters")
    return value


def _equal(wanted: Any) -> Matches:
    if isinstance(wanted, bool) or wanted is None:
        return lambda value: value is wanted
    if isinstance(wanted, str):
        return lambda value: value == wanted
    return lambda value: _is_number(value) and value == wanted


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_bound(value: Any) -> bool:
    """Whether a pattern may compare with it."""
    return _is_number(value) and abs(value) <= MAX_NUMBER


def _on_text(holds: Callable[[str], bool]) -> Matches:
    return lambda value: isinstance(value, str) and holds(value)


def _affix(part: Callable[[str, int], str]) -> Callable[[Any, str], Matches]:
    """Prefix or suffix; `part` cuts so many characters off a text."""

    def build(body: Any, where: str) -> Matches:
        folded = isinstance(body, dict) and list(body) == ["equals-ignore-case"]
        wanted = _text(body["equals-ignore-case"] if folded else body, where)
        if not folded:
            return _on_text(lambda value: part(value, len(wanted)) == wanted)
        lower = wanted.casefold()
        return _on_text(lambda value: part(value, len(wanted)).casefold() == lower)

    return build


def _ignore_case(body: Any, where: str) -> Matches:
    wanted = _text(body, where).casefold()
    return _on_text(lambda value: value.casefold() == wanted)


def _wildcard(body: Any, where: str) -> Matches:
    text = _text(body, where)
    try:
        tokens = glob.wildcard(text)
    except ValueError as error:
        raise BadInput(f"{where}: {error}") from None
    if any(a is b is glob.MANY for a, b in itertools.pairwise(tokens)):
        raise BadInput(f"{where}: ** says no more than *")
    return _on_text(glob.matcher(tokens))


def _anything_but(body: Any, where: str) -> Matches:
    if isinstance(body, dict):
        if len(body) != 1 or next(iter(body)) not in _BUT:
            raise BadInput(f"{where}: values, or one of {', '.join(_BUT)}")
        [(kind, inner)] = body.items()
        values = inner if isinstance(inner, list) else [inner]
        refused = [_MATCHERS[kind](value, f"{where}.{kind}") for value in values]
    else:
        values = body if isinstance(body, list) else [body]
        refused = [_equal(_scalar(value, where)) for value in values]
    if not values or len(values) > MAX_MATCHERS:
        raise BadInput(f"{where}: one value or more, at most {MAX_MATCHERS}")
    return lambda value: value is not ABSENT and not any(refuses(value) for refuses in refused)


_COMPARE: Final[dict[str, Callable[[float, float], bool]]] = {
    "=": lambda value, bound: value == bound,
    "<": lambda value, bound: value < bound,
    "<=": lambda value, bound: value <= bound,
    ">": lambda value, bound: value > bound,
    ">=": lambda value, bound: value >= bound,
}


def _numeric(body: Any, where: str) -> Matches:
    hint = 'For example [">", 0, "<=", 100].'
    if not isinstance(body, list | tuple) or len(body) not in (2, 4):
        raise BadInput(f"{where}: one or two pairs of an operator and a number", hint=hint)
    bounds: list[tuple[Callable[[float, float], bool], float]] = []
    for operator, bound in zip(body[::2], body[1::2], strict=True):
        if not isinstance(operator, str) or operator not in _COMPARE or not _is_bound(bound):
            raise BadInput(f"{where}: operators are {' '.join(_COMPARE)}, each followed by a number", hint=hint)
        bounds.append((_COMPARE[operator], bound))
    return lambda value: _is_number(value) and all(compare(value, bound) for compare, bound in bounds)


def _cidr(body: Any, where: str) -> Matches:
    try:
        network = ipaddress.ip_network(_text(body, where), strict=False)
    except ValueError:
        raise BadInput(f"{where}: an address range", hint='For example "10.0.0.0/24" or "2001:db8::/32".') from None

    def inside(value: str) -> bool:
        try:
            return ipaddress.ip_address(value) in network
        except ValueError:
            return False

    return _on_text(inside)


def _exists(body: Any, where: str) -> Matches:
    if not isinstance(body, bool):
        raise BadInput(f"{where}: true or false")
    return lambda value: (value is not ABSENT and not isinstance(value, dict)) is body


_MATCHERS: Final[dict[str, Callable[[Any, str], Matches]]] = {
    "prefix": _affix(lambda value, length: value[:length]),
    "suffix": _affix(lambda value, length: value[-length:] if length else ""),
    "equals-ignore-case": _ignore_case,
    "wildcard": _wildcard,
    "anything-but": _anything_but,
    "numeric": _numeric,
    "cidr": _cidr,
    "exists": _exists,
}
_BUT: Final = ("prefix", "suffix", "equals-ignore-case", "wildcard")
