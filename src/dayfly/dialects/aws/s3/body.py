"""The bytes of an upload: taken out of their frames, and held against what the request says of them.

Frames: https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-streaming.html. The signatures of single chunks are not looked at: what
they sign, the connection or the checksum behind the body protects.
"""

from __future__ import annotations

import base64
import hashlib
import zlib
from collections.abc import AsyncIterator, Callable
from typing import Any, Protocol

from ...hook import Head
from ..faults import AwsError

LINE = 8192  # bytes of a line between chunks
DOCUMENT = 4 << 20  # bytes of an XML document
_HASH = "x-amz-content-sha256"
_CHECKSUM = "x-amz-checksum-"


class _Sum(Protocol):
    def update(self, data: bytes, /) -> None: ...

    def digest(self) -> bytes: ...


class _Crc32:
    def __init__(self) -> None:
        self._value = 0

    def update(self, data: bytes, /) -> None:
        self._value = zlib.crc32(data, self._value)

    def digest(self) -> bytes:
        return self._value.to_bytes(4, "big")


# Of CRC32C and CRC64NVME, which the standard library does not have, the value is kept and given back, but not compared.
_SUMS: dict[str, Callable[[], Any]] = {"crc32": _Crc32, "sha1": hashlib.sha1, "sha256": hashlib.sha256}


class Upload:
    """The body of one request. After `pieces` has ended, `checksums` holds what the client said of them."""

    def __init__(self, head: Head, body: AsyncIterator[bytes]) -> None:
        self._body = body
        self._hash = head.get(_HASH.encode())
        self._framed = self._hash.startswith("STREAMING-")
        self.checksums: dict[str, str] = {}  # by algorithm, in base64
        for name, value in head.headers:
            self._note(name.decode("latin-1"), value.decode("latin-1"))
        self._trailers = head.get(b"x-amz-trailer").lower()

    def _note(self, name: str, value: str) -> None:
        if name.startswith(_CHECKSUM) and name not in (f"{_CHECKSUM}mode", f"{_CHECKSUM}type", f"{_CHECKSUM}algorithm"):
            self.checksums[name.removeprefix(_CHECKSUM)] = value.strip()

    async def pieces(self) -> AsyncIterator[bytes]:
        """The bytes. Raises AwsError, at the end at the latest, if they are not what was announced."""
        wanted = {name for name in _SUMS if name in self.checksums or f"{_CHECKSUM}{name}" in self._trailers}
        sums: dict[str, _Sum] = {name: _SUMS[name]() for name in wanted}
        whole: _Sum | None = hashlib.sha256() if len(self._hash) == 64 else None
        async for piece in self._unframed() if self._framed else self._body:
            for each in sums.values():
                each.update(piece)
            if whole is not None:
                whole.update(piece)
            yield piece
        if whole is not None and whole.digest().hex() != self._hash:
            raise AwsError(
                "XAmzContentSHA256Mismatch", "The provided 'x-amz-content-sha256' header does not match what was computed.", 400
            )
        for name, each in sums.items():
            if self.checksums.get(name) != base64.b64encode(each.digest()).decode():
                raise AwsError("BadDigest", f"The {name.upper()} you specified did not match the calculated checksum.", 400)

    async def document(self) -> bytes:
        """A small body as a whole."""
        found = bytearray()
        async for piece in self.pieces():
            found += piece
            if len(found) > DOCUMENT:
                raise AwsError("MaxMessageLengthExceeded", "Your request was too big.", 400)
        return bytes(found)

    async def _unframed(self) -> AsyncIterator[bytes]:
        """Chunks: their size in hexadecimal and extensions in a line, the bytes, a line feed; one of size 0, then trailers."""
        held = bytearray()
        left = -1  # bytes of the chunk to come; -1: its line is to come; -2: trailers
        ended = False
        async for piece in self._body:
            held += piece
            while True:
                if left >= 0:
                    if left:
                        taken = bytes(held[:left])
                        del held[: len(taken)]
                        left -= len(taken)
                        if taken:
                            yield taken
                    if left or len(held) < 2:
                        break
                    if held[:2] != b"\r\n":
                        raise _broken()
                    del held[:2]
                    left = -1
                end = held.find(b"\r\n")
                if end < 0:
                    if len(held) > LINE:
                        raise _broken()
                    break
                line = held[:end].decode("latin-1")
                del held[: end + 2]
                if left == -2:
                    name, _, value = line.partition(":")
                    self._note(name.strip().lower(), value)
                    continue
                left = _size(line)
                if left == 0:
                    left, ended = -2, True
        if not ended:
            raise AwsError(
                "IncompleteBody", "You did not provide the number of bytes specified by the Content-Length header.", 400
            )


def _size(line: str) -> int:
    digits = line.partition(";")[0]
    if not 0 < len(digits) <= 8 or not all(each in "0123456789abcdefABCDEF" for each in digits):
        raise _broken()
    return int(digits, 16)


def _broken() -> AwsError:
    return AwsError("InvalidRequest", "The body is not framed as aws-chunked.", 400)


def members(checksums: dict[str, str]) -> dict[str, str]:
    """Checksums by the model's names for them."""
    return {f"Checksum{name.upper()}": value for name, value in checksums.items()}
