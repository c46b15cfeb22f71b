"""JSON as the standard has it, and nothing else.

Python's encoder is lenient: it writes NaN, and turns keys that are not text into text. A caller in another language could not read
the first and would not expect the second, so both are refused, with the place of the culprit: `result["a"][3] is a set`.

The fast path is one pass of the C encoder and one cheap pass over the containers (`"".join(keys)` raises at C speed when a key is
not text). Only when something is wrong does `_explain` walk the value to find it.
"""

from __future__ import annotations

import json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, NoReturn


class Unencodable(Exception):
    """A value that JSON cannot hold; the message names its path and what is wrong."""


def _not_json(name: str) -> NoReturn:
    raise ValueError(name + " is not JSON")


_encoder = json.JSONEncoder(allow_nan=False, ensure_ascii=False, separators=(",", ":"))
_encode_ascii = json.JSONEncoder(allow_nan=False, separators=(",", ":")).encode
_decoder = json.JSONDecoder(parse_constant=_not_json)
_scan = _decoder.scan_once  # type: ignore[attr-defined]
_SCALARS = (str, int, float, bool, type(None))


def _make_encode() -> Callable[[Any], str]:
    """The encoder that `JSONEncoder.encode` makes anew for every value, made once: that takes longer than to encode a small value.
    It does not look for cycles, which end as a RecursionError."""
    make: Any = getattr(json.encoder, "c_make_encoder", None)
    if make is None:
        return _encoder.encode
    text = json.encoder.encode_basestring
    encode = make(None, _encoder.default, text, None, ":", ",", False, False, False)
    return lambda value: "".join(encode(value, 0))


_encode = _make_encode()


def loads(data: bytes) -> Any:
    """Decode. Raises ValueError (RecursionError when nested too deeply)."""
    text = data.decode("utf-8")
    try:
        value, end = _scan(text, 0)
        if end == len(text):
            return value
    except StopIteration:
        pass
    return _decoder.decode(text)  # there is space around the value, or something is wrong with it


def dumps(value: Any) -> bytes:
    """Encode compactly as UTF-8. Raises Unencodable."""
    try:
        text = _encode(value)
        if type(value) is dict or type(value) is list or not isinstance(value, _SCALARS):
            _check_keys(value)
    except (TypeError, ValueError, RecursionError) as error:
        raise Unencodable(_explain(value, "result", frozenset()) or f"result: {error}") from None
    try:
        return text.encode("utf-8")
    except UnicodeEncodeError:  # half of a surrogate pair: JSON can escape it, UTF-8 cannot hold it
        return _encode_ascii(value).encode("ascii")


def _check_keys(value: Any) -> None:
    """TypeError if a dict somewhere has a key that is not text."""
    stack = [value]
    while stack:
        item = stack.pop()
        if isinstance(item, dict):
            "".join(item)
            item = item.values()
        for child in item:
            if isinstance(child, (dict, list, tuple)):
                stack.append(child)


def _explain(value: Any, path: str, above: frozenset[int]) -> str:
    """Where the first thing that JSON cannot hold stands; empty if there is none."""
    if value is None or isinstance(value, (str, bool, int)):
        return ""
    if isinstance(value, float):
        if value != value or value in (float("inf"), float("-inf")):
            return f"{path} is {value}, which JSON cannot hold; use None or text"
        return ""
    if id(value) in above:
        return f"{path} contains itself; JSON cannot hold a cycle"
    if len(above) >= 200:
        return f"{path[:200]}... is nested too deeply for JSON"
    if isinstance(value, dict):
        inside = above | {id(value)}
        for key, child in value.items():
            if not isinstance(key, str):
                return f"{path} has the key {key!r:.80}, of type {_name(key)}; keys of a JSON object are text"
            found = _explain(child, f"{path}[{json.dumps(key[:80])}]", inside)
            if found:
                return found
        return ""
    if isinstance(value, (list, tuple)):
        inside = above | {id(value)}
        for index, child in enumerate(value):
            found = _explain(child, f"{path}[{index}]", inside)
            if found:
                return found
        return ""
    return f"{path} is of type {_name(value)}, which JSON cannot hold; return dict, list, text, number, bool or None"


def _name(value: Any) -> str:
    kind = type(value)
    return kind.__name__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
