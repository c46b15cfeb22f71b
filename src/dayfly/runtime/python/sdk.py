"""What a function may import: `from dayfly_sdk import Response`.

Nothing here is needed: a handler can return plain values, and any object with `status`, `headers` and `body` is a response.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any, Union

    HeaderList = Union[Mapping[str, Union[str, Iterable[str]]], Iterable[tuple[str, str]]]

__all__ = ["Response"]


class Response:
    """An answer with status and headers.

    `body` is None, text, bytes, a JSON value, or a (plain or async) generator of those, which streams. `headers` is a mapping whose
    values are text or, for repeated headers, lists of text; or a list of pairs.
    """

    __slots__ = ("body", "headers", "status")

    def __init__(self, body: Any = None, status: int = 200, headers: HeaderList = ()) -> None:
        self.body = body
        self.status = status
        self.headers = headers

    def __repr__(self) -> str:
        return f"<Response {self.status}>"
