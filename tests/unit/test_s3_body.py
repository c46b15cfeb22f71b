"""Bodies of uploads to S3: framed as aws-chunked, cut anywhere, and held against their checksums."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import zlib
from collections.abc import AsyncIterator, Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dayfly.dialects.aws.faults import AwsError
from dayfly.dialects.aws.s3.body import Upload
from dayfly.dialects.hook import Head

pytestmark = pytest.mark.anyio
FRAMED = [(b"x-amz-content-sha256", b"STREAMING-UNSIGNED-PAYLOAD-TRAILER"), (b"x-amz-trailer", b"x-amz-checksum-crc32")]


def crc32(data: bytes) -> bytes:
    return base64.b64encode(zlib.crc32(data).to_bytes(4, "big"))


async def parts(data: bytes, cuts: Iterable[int]) -> AsyncIterator[bytes]:
    last = 0
    for cut in sorted({*(cut % (len(data) + 1) for cut in cuts), len(data)}):
        yield data[last:cut]
        last = cut


async def read(headers: list[tuple[bytes, bytes]], data: bytes, cuts: Iterable[int] = ()) -> bytes:
    upload = Upload(Head("PUT", "/b/k", "", headers), parts(data, cuts))
    return b"".join([piece async for piece in upload.pieces()])


def frame(chunks: Iterable[bytes], trailer: bytes) -> bytes:
    frames = b"".join(b"%x;chunk-signature=%064x\r\n%b\r\n" % (len(chunk), 7, chunk) for chunk in chunks if chunk)
    return frames + b"0\r\nx-amz-checksum-crc32:" + trailer + b"\r\n\r\n"


@given(st.lists(st.binary(max_size=40), max_size=6), st.lists(st.integers(0, 1000), max_size=20))
async def test_chunks_are_put_together_wherever_they_were_cut(chunks: list[bytes], cuts: list[int]) -> None:
    whole = b"".join(chunks)
    assert await read(FRAMED, frame(chunks, crc32(whole)), cuts) == whole
    with pytest.raises(AwsError, match="CRC32"):
        await read(FRAMED, frame(chunks, crc32(whole + b"!")), cuts)


@given(st.binary(max_size=200), st.lists(st.integers(0, 200), max_size=5))
async def test_whatever_comes_is_read_or_refused(data: bytes, cuts: list[int]) -> None:
    with contextlib.suppress(AwsError):  # and nothing else
        await read(FRAMED[:1], data, cuts)


@pytest.mark.parametrize("end", range(3, 30))
async def test_a_body_that_breaks_off_is_not_whole(end: int) -> None:
    data = frame([b"0123456789"], crc32(b"0123456789"))
    with pytest.raises(AwsError):
        await read(FRAMED, data[:-end])


async def test_plain_bodies_are_what_was_announced() -> None:
    digest = hashlib.sha256(b"abc").hexdigest().encode()
    assert await read([(b"x-amz-content-sha256", digest)], b"abc") == b"abc"
    with pytest.raises(AwsError, match="sha256"):
        await read([(b"x-amz-content-sha256", digest)], b"abd")
    with pytest.raises(AwsError, match="SHA1"):
        await read([(b"x-amz-checksum-sha1", b"AAAA")], b"abc")
    assert await read([(b"x-amz-checksum-crc64nvme", b"AAAA")], b"abc") == b"abc"
