"""Filter dialects of the CloudEvents Subscriptions API, 1.0 working draft, section 3.2.4 (cloudevents/spec, subscriptions/spec.md).

{"exact":  {"type": "order.placed"}}             every attribute named has that value
{"prefix": {"source": "/shop/", ...}}            ... begins with it
{"suffix": {"subject": ".jpg", ...}}             ... ends with it
{"all": [...]}  {"any": [...]}  {"not": {...}}   of filters
{"sql": "int(amount) > 100"}                     CloudEvents SQL; `cesql`, as Knative calls it, is the same
{"pattern": {"data": {"size": [{"numeric": [">", 9]}]}}}    a content pattern; see `patterns`
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol

from ...errors import BadInput
from .cesql import compile_expression
from .cesql.values import as_string
from .patterns import compile_pattern, document_of

MAX_DEPTH: Final = 16  # filters inside filters
MAX_FILTERS: Final = 256  # of one trigger, nested ones included


class Filterable(Protocol):
    """What a filter looks at; `model.event.Event` is one."""

    def attribute(self, name: str) -> str | int | bool | None: ...

    @property
    def data(self) -> bytes | None: ...


Predicate = Callable[[Filterable], bool]
Compile = Callable[[Any, str, int], Predicate]  # the filter's body, where it stands, how deep


def compile_filters(filters: Sequence[Any]) -> Predicate:
    """One predicate that holds where every filter does; with no filter, always. Raises BadInput naming the place in the filter."""
    if _count(filters) > MAX_FILTERS:
        raise BadInput(
            f"a trigger may have {MAX_FILTERS} filters, nested ones included", hint="A content pattern can hold many values."
        )
    predicates = [_compile(spec, f"filters[{index}]", 0) for index, spec in enumerate(filters)]
    if len(predicates) == 1:
        return predicates[0]
    return lambda event: all(predicate(event) for predicate in predicates)


def _count(specs: Any, depth: int = 0) -> int:
    if depth > MAX_DEPTH or not isinstance(specs, list | tuple):
        return 1  # a single filter, or refused below
    return sum(1 if not isinstance(spec, dict) else sum(_count(body, depth + 1) for body in spec.values()) for spec in specs)


def _compile(spec: Any, where: str, depth: int) -> Predicate:
    if depth > MAX_DEPTH:
        raise BadInput(f"{where}: filters are nested more than {MAX_DEPTH} deep")
    if not isinstance(spec, dict) or len(spec) != 1:
        raise BadInput(
            f"{where}: a filter is an object with one member, its dialect",
            hint=f'For example {{"exact": {{"type": "order.placed"}}}}. Dialects: {", ".join(sorted(_DIALECTS))}.',
        )
    [(dialect, body)] = spec.items()
    build = _DIALECTS.get(dialect)
    if build is None:
        raise BadInput(f"{where}: there is no filter dialect {dialect!r}", hint=f"There are {', '.join(sorted(_DIALECTS))}.")
    return build(body, f"{where}.{dialect}", depth + 1)


def _attributes(holds: Callable[[str, str], bool]) -> Compile:
    def build(body: Any, where: str, depth: int) -> Predicate:
        if not isinstance(body, dict) or not body or len(body) > MAX_FILTERS:
            raise BadInput(f"{where}: names the attributes and what they must be", hint='For example {"type": "order.placed"}.')
        for name, wanted in body.items():
            if not isinstance(wanted, str) or not wanted or not name:
                raise BadInput(f"{where}.{name}: names and values are text that is not empty")
        pairs = list(body.items())

        def predicate(event: Filterable) -> bool:
            for name, wanted in pairs:
                value = event.attribute(name)
                if value is None or not holds(as_string(value), wanted):
                    return False
            return True

        return predicate

    return build


def _nested(body: Any, where: str, depth: int) -> list[Predicate]:
    if not isinstance(body, list | tuple) or not body:
        raise BadInput(f"{where}: a list of one or more filters")
    return [_compile(spec, f"{where}[{index}]", depth) for index, spec in enumerate(body)]


def _all(body: Any, where: str, depth: int) -> Predicate:
    predicates = _nested(body, where, depth)
    return lambda event: all(predicate(event) for predicate in predicates)


def _any(body: Any, where: str, depth: int) -> Predicate:
    predicates = _nested(body, where, depth)
    return lambda event: any(predicate(event) for predicate in predicates)


def _not(body: Any, where: str, depth: int) -> Predicate:
    predicate = _compile(body, where, depth)
    return lambda event: not predicate(event)


def _sql(body: Any, where: str, depth: int) -> Predicate:
    if not isinstance(body, str):
        raise BadInput(f"{where}: a CloudEvents SQL expression, as text")
    return compile_expression(body, where=where).holds


def _pattern(body: Any, where: str, depth: int) -> Predicate:
    matches = compile_pattern(body, where=where)
    return lambda event: matches(document_of(event))


_DIALECTS: Final[dict[str, Compile]] = {
    "exact": _attributes(str.__eq__),
    "prefix": _attributes(str.startswith),
    "suffix": _attributes(str.endswith),
    "all": _all,
    "any": _any,
    "not": _not,
    "sql": _sql,
    "cesql": _sql,
    "pattern": _pattern,
}
