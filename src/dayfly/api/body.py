"""Request bodies: read with a limit, checked for their type, decoded strictly."""

from __future__ import annotations

import functools
import re
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import aclosing, contextmanager
from typing import Any, TypeVar

import msgspec
from msgspec import Struct
from starlette.requests import Request

from ..errors import BadInput, Throttled, TooLarge, UnsupportedMedia

S = TypeVar("S", bound=Struct)

MAX_DOCUMENT = 8 << 20  # bytes of a JSON body
MESSAGE = 400  # characters of an error of the decoder that are looked at and shown
MAX_BODIES = 256 << 20  # bytes of all bodies in memory
JSON = ("application/json",)
ARCHIVE = ("application/zip", "application/octet-stream")

_PLACE = re.compile(r"^(?P<what>.*?)(?: - at `(?P<place>.+)`| - at (?P<key>`key` in `.+`))?$", re.DOTALL)

_UNKNOWN = re.compile(r"unknown field `([^`]{1,100})`")


Take = Callable[[int], None]  # claims that many bytes more


class Budget:
    """Memory for the bodies of all requests together, so that many of a size that is allowed do no harm."""

    def __init__(self, size: int) -> None:
        self.free = size

    @contextmanager
    def claim(self) -> Iterator[Take]:
        """Gives a function to claim bytes with; what was claimed is free again at the end. It raises errors.Throttled."""
        taken = 0

        def take(size: int) -> None:
            nonlocal taken
            if size > self.free:
                raise Throttled("Too much is being uploaded at once.", hint="Try again in a moment.", retry_after=1)
            self.free -= size
            taken += size

        try:
            yield take
        finally:
            self.free += taken


async def read_body(request: Request, limit: int, media_types: tuple[str, ...], take: Take) -> bytes:
    """The whole body. Raises errors.TooLarge as soon as the limit is known to be passed, errors.UnsupportedMedia for another type."""
    declared = request.headers.get("content-length", "")
    if declared.isascii() and declared.isdigit() and int(declared[:18]) > limit:
        raise _too_large(limit)
    chunks: list[bytes] = []
    size = 0
    stream: AsyncIterator[bytes] = request.stream()
    async with aclosing(stream):  # type: ignore[type-var]
        async for chunk in stream:
            size += len(chunk)
            if size > limit:
                raise _too_large(limit)
            take(len(chunk))
            chunks.append(chunk)
    if size:
        _check_type(request, media_types)
    return b"".join(chunks)


def _too_large(limit: int) -> TooLarge:
    return TooLarge(f"The body is larger than {limit} bytes.", limit=limit)


def _check_type(request: Request, media_types: tuple[str, ...]) -> None:
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type not in media_types:
        raise UnsupportedMedia(
            f"A body of type {media_type[:100] or 'unknown'} is not understood here.",
            hint=f"Send it with Content-Type: {' or '.join(media_types)}.",
        )
    encoding = request.headers.get("content-encoding", "identity").strip().lower()
    if encoding != "identity":
        raise UnsupportedMedia(f"A body encoded with {encoding[:100]} is not understood here.", hint="Send it uncompressed.")


def decode_document(data: bytes, type_: type[S]) -> S:
    """The document in a JSON body; an empty body is an empty document.

    Raises errors.BadInput with the position of a syntax error, or with the path (`field`) of what has the wrong type or is unknown.
    """
    try:
        document: S = _decoder(type_).decode(data or b"{}")
        return document
    except msgspec.ValidationError as error:
        raise _misfit(str(error)[:MESSAGE], type_) from None  # it repeats names from the body, however long
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        where = "" if "byte" in str(error) else f" (byte {len(data)})"
        raise BadInput(f"The body is not JSON: {error}{where}.", hint="Send one JSON object in UTF-8.") from None


def _misfit(message: str, type_: type[Struct]) -> BadInput:
    match = _PLACE.match(message)
    assert match is not None
    place = (match["place"] or match["key"] or "$").replace("`", "")
    known = _known_fields(type_, place)
    hint = f"{place} takes: {', '.join(known)}." if known else ""
    unknown = _UNKNOWN.search(message)
    return BadInput(
        f"The body does not fit: {match['what']}, at {place}.", hint=hint, field=f"{place}.{unknown[1]}" if unknown else place
    )


def _known_fields(type_: Any, place: str) -> list[str]:
    """The names that the object at a place like `$.code.files` may have; none if it is no object of fixed form."""
    for name in place.split(".")[1:]:
        types = {field.encode_name: field.type for field in msgspec.structs.fields(type_)}
        type_ = types.get(name)
        if not (isinstance(type_, type) and issubclass(type_, Struct)):
            return []
    return [field.encode_name for field in msgspec.structs.fields(type_)]


@functools.cache
def _decoder(type_: type[S]) -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(type_)
