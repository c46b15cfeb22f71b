"""Zips as a stranger would craft them, byte by byte."""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from dataclasses import dataclass


@dataclass
class Raw:
    """One entry; every field that a reader might believe can be made to lie."""

    name: bytes
    body: bytes = b"x"
    mode: int = 0o100644
    made: int = 3
    flags: int = 0x800
    method: int = 8
    size: int | None = None
    packed: int | None = None
    crc: int | None = None
    local_name: bytes | None = None
    extra: bytes = b""
    offset: int | None = None
    raw: bytes | None = None  # the packed bytes as they are


def craft(*entries: Raw, count: int | None = None, prefix: bytes = b"", cut: int = 0) -> bytes:
    out = bytearray(prefix)
    central = bytearray()
    for entry in entries:
        packed = entry.raw if entry.raw is not None else deflate(entry.body) if entry.method == 8 else entry.body
        offset = len(out) - len(prefix) if entry.offset is None else entry.offset
        crc = zlib.crc32(entry.body) if entry.crc is None else entry.crc
        size = len(entry.body) if entry.size is None else entry.size
        packed_size = len(packed) if entry.packed is None else entry.packed
        fields = (entry.flags, entry.method, 0, 33, crc, packed_size, size)
        local = entry.name if entry.local_name is None else entry.local_name
        out += struct.pack("<4s5H3L2H", b"PK\3\4", 20, *fields, len(local), 0) + local + packed
        central += struct.pack(
            "<4s6H3L5H2L",
            *(b"PK\1\2", entry.made << 8 | 20, 20, *fields, len(entry.name), len(entry.extra)),
            *(0, 0, 0, entry.mode << 16 & 0xFFFFFFFF, offset),
        )
        central += entry.name + entry.extra
    number = len(entries) if count is None else count
    start = len(out) - len(prefix)
    out += central + struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, number, number, len(central), start, 0)
    return bytes(out[: len(out) - cut])


def deflate(body: bytes) -> bytes:
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    return packer.compress(body) + packer.flush()


def plain(files: dict[str, bytes], modes: dict[str, int] | None = None) -> bytes:
    """A zip as ordinary tools write it."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, body in files.items():
            info = zipfile.ZipInfo(name)
            info.external_attr = (0o100000 | (modes or {}).get(name, 0o644)) << 16
            info.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(info, body)
    return buffer.getvalue()
