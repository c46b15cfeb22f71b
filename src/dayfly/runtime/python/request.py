"""The request that a handler of the HTTP flavour receives."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any


class Headers:
    """Headers of a request: names compare without case, repeats are kept.

    `headers["Accept"]` and `get` give the first value, `get_all` every one.
    """

    __slots__ = ("raw",)

    def __init__(self, raw: list[list[str]]) -> None:
        self.raw = raw  # [name in lower case, value], in order of arrival

    def get(self, name: str, default: str | None = None) -> str | None:
        name = name.lower()
        for key, value in self.raw:
            if key == name:
                return value
        return default

    def get_all(self, name: str) -> list[str]:
        name = name.lower()
        return [value for key, value in self.raw if key == name]

    def __getitem__(self, name: str) -> str:
        value = self.get(name)
        if value is None:
            raise KeyError(name)
        return value

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and self.get(name) is not None

    def keys(self) -> list[str]:
        return list(dict.fromkeys(key for key, _ in self.raw))

    def items(self) -> list[tuple[str, str]]:
        return [(key, value) for key, value in self.raw]

    def __iter__(self) -> Iterator[str]:
        return iter(self.keys())

    def __len__(self) -> int:
        return len(self.keys())

    def __repr__(self) -> str:
        return f"<Headers {self.raw!r}>"


class Request:
    """One HTTP request. `path` is what follows the function's own address, percent-encoding kept."""

    __slots__ = ("_body", "_http", "_rest", "method", "path", "query")

    def __init__(self, http: dict[str, Any], body: bytes, rest: Callable[[], bytes] | None) -> None:
        self._http = http
        self._body = body
        self._rest = rest
        self.method: str = http["method"]
        self.path: str = http["path"]
        self.query: str = http["query"]  # raw, without the question mark

    @property
    def headers(self) -> Headers:
        return Headers(self._http["headers"])

    @property
    def query_params(self) -> dict[str, list[str]]:
        """Decoded parameters; each name with all its values."""
        from urllib.parse import parse_qs

        return parse_qs(self.query, keep_blank_values=True)

    @property
    def content_type(self) -> str:
        """The media type without parameters, in lower case; empty if there is none."""
        return (self.headers.get("content-type") or "").partition(";")[0].strip().lower()

    @property
    def body(self) -> bytes:
        """The whole body. Waits until it has arrived."""
        if self._rest is not None:
            self._body += b"".join(iter(self._rest, b""))
            self._rest = None
        return self._body

    def chunks(self) -> Iterator[bytes]:
        """The body as it arrives, without keeping it: for uploads larger than memory. Use either this or `body`."""
        first, self._body = self._body, b""
        if first:
            yield first
        if self._rest is not None:
            yield from iter(self._rest, b"")
            self._rest = None

    def text(self) -> str:
        """The body as UTF-8; bytes that are not UTF-8 become U+FFFD."""
        return self.body.decode("utf-8", "replace")

    def json(self) -> Any:
        """The body as JSON. Raises ValueError if it is none."""
        import json

        return json.loads(self.body)

    def form(self) -> dict[str, list[str]]:
        """The fields of an `application/x-www-form-urlencoded` body; each name with all its values."""
        from urllib.parse import parse_qs

        return parse_qs(self.text(), keep_blank_values=True)

    def __repr__(self) -> str:
        return f"<Request {self.method} {self.path}>"
