"""Checks arguments against the constraints of the model, and words what is wrong as AWS does."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from typing import Any

from .faults import AwsError

# What the model allows is more: that of managed instances, which are not offered here.
MOST = {"Timeout": 900, "MemorySize": 10240, "EphemeralStorageSize": 10240}
OPEN = "runtime"  # where a value that is not in its set is told of in other words


def check(shape: Any, arguments: dict[str, Any]) -> None:
    """Raises a ValidationException that lists all that is wrong."""
    found = list(_structure(shape, arguments, ""))
    if found:
        plural = "s" if len(found) > 1 else ""
        raise AwsError("ValidationException", f"{len(found)} validation error{plural} detected: {'; '.join(found)}", 400)


def _structure(shape: Any, value: dict[str, Any], path: str) -> Iterator[str]:
    for name in shape.required_members:
        if name not in value:
            yield f"Value null at '{path}{_lower(name)}' failed to satisfy constraint: Member must not be null"
    for name, member in shape.members.items():
        if name in value:
            yield from _member(member, value[name], path + _lower(name))


def _member(shape: Any, value: Any, path: str) -> Iterator[str]:
    kind = shape.type_name
    if kind == "structure":
        yield from _structure(shape, value, path + ".")
        return
    broken = list(_constraints(shape, value)) if path != OPEN else []
    for constraint in broken:
        yield f"Value '{_java(value)}' at '{path}' failed to satisfy constraint: {constraint}"
    if kind == "list" and not broken:
        if shape.member.type_name == "structure":
            for at, item in enumerate(value, 1):
                yield from _structure(shape.member, item, f"{path}.{at}.member.")
        elif any(next(_constraints(shape.member, item), None) for item in value):
            rules = ", ".join(_rules(shape.member))
            if shape.member.name != "Runtime":
                rules = f"Member must satisfy constraint: [{rules}, Member must not be null]"
            yield f"Value '{_java(value)}' at '{path}' failed to satisfy constraint: {rules}"
    elif kind == "map" and not broken:
        yield from _map(shape, value, path)


def _map(shape: Any, value: dict[str, Any], path: str) -> Iterator[str]:
    """A map names all constraints of its keys or values at once."""
    if shape.value.type_name in ("float", "double"):
        value = {key: float(item) for key, item in value.items()}  # 1 is printed as 1.0
    parts: tuple[tuple[str, Any, list[Any]], ...] = (("keys", shape.key, [*value]), ("value", shape.value, [*value.values()]))
    for part, what, items in parts:
        if what.type_name == "structure":
            for item in items:
                yield from _structure(what, item, f"{path}.{part}.")
        elif any(next(_constraints(what, item), None) for item in items):
            rules = ", ".join([*_rules(what), "Member must not be null"])
            yield f"Value '{_java(value)}' at '{path}' failed to satisfy constraint: Map {part} must satisfy constraint: [{rules}]"
            return


def _rules(shape: Any) -> Iterator[str]:
    """All constraints of a shape, in words."""
    limits = shape.metadata
    measure = "value" if shape.type_name in ("integer", "long", "float", "double") else "length"
    if "max" in limits:
        yield f"Member must have {measure} less than or equal to {limits['max']}"
    if "min" in limits:
        yield f"Member must have {measure} greater than or equal to {limits['min']}"
    if "pattern" in limits:
        yield f"Member must satisfy regular expression pattern: {limits['pattern']}"
    if "enum" in limits:
        yield f"Member must satisfy enum value set: [{', '.join(limits['enum'])}]"


def _constraints(shape: Any, value: Any) -> Iterator[str]:
    """Those that the value does not satisfy."""
    limits = shape.metadata
    number = shape.type_name in ("integer", "long", "float", "double")
    if number or shape.type_name in ("string", "list", "map", "blob"):
        size, measure = (value, "value") if number else (len(value), "length")
        most = MOST.get(shape.name, limits.get("max"))
        if most is not None and size > most:
            yield f"Member must have {measure} less than or equal to {most}"
        if "min" in limits and size < limits["min"]:
            yield f"Member must have {measure} greater than or equal to {limits['min']}"
    if shape.type_name != "string":
        return
    if "pattern" in limits and not _pattern(limits["pattern"]).fullmatch(value):
        yield f"Member must satisfy regular expression pattern: {limits['pattern']}"
    if "enum" in limits and value not in limits["enum"]:
        yield f"Member must satisfy enum value set: [{', '.join(limits['enum'])}]"


@functools.cache
def _pattern(text: str) -> re.Pattern[str]:
    """As Python has it: of Java's classes of Unicode, those that the models use."""
    return re.compile(text.replace(r"\p{L}", r"\w").replace(r"\p{N}", r"\d").replace(r"\p{Z}", r"\s"))


def _lower(name: str) -> str:
    return name[:1].lower() + name[1:]


def _java(value: Any) -> str:
    """As Java prints it."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}={_java(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_java, value)) + "]"
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)
