"""A strict reader of zip archives that come from strangers.

A zip says everything twice, in the central directory at its end and in a header before each file, and readers that believe
different halves see different archives. This one walks the central directory, demands that each local header agrees with it, and
that no two entries share bytes; so an archive has one meaning or is refused. Nothing is believed that is not checked: the number of
entries is bounded while reading, declared sizes are bounded before unpacking, what comes out may be neither more nor less than
declared, and its CRC must fit. Only what ordinary tools write is taken: stored or deflated, not encrypted, one disk; zip64 included.

Format: PKWARE APPNOTE 6.3.10 (4.3.7 local header, 4.3.12 central directory, 4.3.14-16 end records, 4.5.3 zip64).
"""

from __future__ import annotations

import stat
import struct
import zlib
from collections.abc import Iterator

from msgspec import Struct

from ..errors import BadPackage
from .rules import DEFAULT, Limits, refuse, shown

_LOCAL = struct.Struct("<4s5H3L2H")
_CENTRAL = struct.Struct("<4s6H3L5H2L")
_END = struct.Struct("<4s4H2LH")
_END64 = struct.Struct("<4sQ2H2L4Q")
_LOCATOR64 = struct.Struct("<4sLQL")

_ENCRYPTED = 1 << 0 | 1 << 6 | 1 << 13
_UTF8 = 1 << 11
_STORED, _DEFLATED = 0, 8
_UNIX, _MACOS = 3, 19
_PIECE = 1 << 16  # bytes


class ZipEntry(Struct, frozen=True, kw_only=True):
    """One file or folder as the archive declares it, already checked against its local header."""

    name: str
    folder: bool
    mode: int | None  # permission bits; None: made on a system that has none
    size: int
    packed: int
    crc: int
    method: int
    header: int  # offset of the local header
    start: int  # offset of the packed bytes


def read_entries(data: bytes, limits: Limits = DEFAULT) -> list[ZipEntry]:
    """All entries of the archive, in the order of its directory. Raises BadPackage."""
    count, at, size, shift = _end_record(data)
    end = at + size
    entries: list[ZipEntry] = []
    while at < end:
        if len(entries) >= limits.entries:
            raise BadPackage(f"the archive has more than {limits.entries} entries", rule="entries")
        entry, at = _central_entry(data, at, end, shift)
        entries.append(entry)
    if len(entries) & 0xFFFF != count & 0xFFFF:
        raise BadPackage(f"the archive says it has {count} entries but lists {len(entries)}", rule="count")
    _no_overlap(entries, end - size)
    return entries


def _end_record(data: bytes) -> tuple[int, int, int, int]:
    """(number of entries, start and size of the central directory, shift of all offsets by bytes put in front)."""
    at = len(data)
    while True:  # a comment may contain the signature: the true record reaches exactly to the end
        at = data.rfind(b"PK\5\6", max(0, len(data) - _END.size - 0xFFFF), at)
        if at < 0:
            raise BadPackage(
                "the archive has no end record: it is cut off, or not a zip", hint="pack and upload it again", rule="truncated"
            )
        if at + _END.size <= len(data):
            _, disk, first, here, count, size, offset, comment = _END.unpack_from(data, at)
            if at + _END.size + comment == len(data):
                break
    before = at
    locator = at - _LOCATOR64.size
    if locator >= 0 and data[locator : locator + 4] == b"PK\6\7":
        _, _, at64, _ = _LOCATOR64.unpack_from(data, locator)
        before = data.rfind(b"PK\6\6", 0, locator) if data[at64 : at64 + 4] != b"PK\6\6" else at64
        if before < 0 or before + _END64.size > locator:
            raise BadPackage("the zip64 end record is damaged", rule="truncated")
        _, _, _, _, disk, first, here, count, size, offset = _END64.unpack_from(data, before)
    if disk or first or here != count:
        raise BadPackage("the archive is split over several disks", rule="multi-disk")
    shift = before - size - offset
    if shift < 0:
        raise BadPackage("the directory of the archive lies outside of it", rule="truncated")
    return count, before - size, size, shift


def _central_entry(data: bytes, at: int, end: int, shift: int) -> tuple[ZipEntry, int]:
    if at + _CENTRAL.size > end or data[at : at + 4] != b"PK\1\2":
        raise BadPackage("the directory of the archive is damaged", hint="pack and upload it again", rule="truncated")
    (_, made, _, flags, method, _, _, crc, packed, size, name_len, extra_len, comment_len, disk, _, attributes, offset) = (
        _CENTRAL.unpack_from(data, at)
    )
    at += _CENTRAL.size
    stop = at + name_len + extra_len + comment_len
    if stop > end:
        raise BadPackage("the directory of the archive is damaged", hint="pack and upload it again", rule="truncated")
    raw = data[at : at + name_len]
    name = _decoded(raw, flags)
    size, packed, offset = _zip64(data[at + name_len : at + name_len + extra_len], size, packed, offset, name)
    if flags & _ENCRYPTED:
        raise refuse(name, "encrypted", "is encrypted", "pack without a password; put secrets in `dayfly secret`")
    if method not in (_STORED, _DEFLATED):
        raise refuse(name, "method", f"is packed with method {method}", "pack with deflate, which every tool offers")
    if disk:
        raise refuse(name, "multi-disk", "lies on another disk")
    mode = attributes >> 16 if made >> 8 in (_UNIX, _MACOS) else 0
    folder = name.endswith("/")
    _check_kind(name, mode, folder)
    entry = ZipEntry(
        name=name,
        folder=folder,
        mode=stat.S_IMODE(mode) if mode else None,
        size=size,
        packed=packed,
        crc=crc,
        method=method,
        header=offset + shift,
        start=_local_start(data, offset + shift, raw, method, name),
    )
    if folder and size:
        raise refuse(name, "lying-size", "is a folder with content")
    if method == _STORED and size != packed:
        raise refuse(name, "lying-size", "is stored as it is, but declares two sizes")
    return entry, stop


def _decoded(raw: bytes, flags: int) -> str:
    try:
        return raw.decode()  # many tools write UTF-8 without setting its flag
    except UnicodeDecodeError:
        if flags & _UTF8:
            raise refuse(raw.decode("latin-1"), "encoding", "has a name that is not UTF-8") from None
        return raw.decode("cp437")


def _check_kind(name: str, mode: int, folder: bool) -> None:
    kind = stat.S_IFMT(mode)
    if kind == stat.S_IFLNK:
        raise refuse(name, "link", "is a symbolic link", "pack the file that it points to (`zip` does so without -y)")
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        raise refuse(name, "special", "is neither a file nor a folder", "leave out devices, pipes and sockets")
    if (kind == stat.S_IFDIR and not folder) or (kind == stat.S_IFREG and folder):
        raise refuse(name, "special", "is a file by its name and a folder by its mode, or the other way round")
    if not folder and mode & (stat.S_ISUID | stat.S_ISGID):
        raise refuse(name, "setuid", "is setuid or setgid", "chmod ug-s the file and pack again")


def _zip64(extra: bytes, size: int, packed: int, offset: int, name: str) -> tuple[int, int, int]:
    """Sizes and offset, those that say 0xFFFFFFFF taken from the zip64 extra field, in its fixed order."""
    values = [size, packed, offset]
    wanted = [i for i, value in enumerate(values) if value == 0xFFFFFFFF]
    at = 0
    while wanted and at + 4 <= len(extra):
        kind, length = struct.unpack_from("<2H", extra, at)
        at += 4
        if kind == 1:
            if length < 8 * len(wanted) or at + length > len(extra):
                break
            for i, value in zip(wanted, struct.unpack_from(f"<{len(wanted)}Q", extra, at), strict=True):
                values[i] = value
            return values[0], values[1], values[2]
        at += length
    if wanted:
        raise refuse(name, "truncated", "misses its zip64 sizes", "pack and upload it again")
    return size, packed, offset


def _local_start(data: bytes, at: int, raw: bytes, method: int, name: str) -> int:
    """Where the packed bytes begin, after a local header that names the same file."""
    if at + _LOCAL.size > len(data) or data[at : at + 4] != b"PK\3\4":
        raise refuse(name, "truncated", "has no header where the directory points", "pack and upload it again")
    local_method, name_len, extra_len = _local_fields(data, at)
    at += _LOCAL.size
    if data[at : at + name_len] != raw or local_method != method:
        raise refuse(name, "two-faced", "is described differently in the directory and before its content")
    return at + name_len + extra_len


def _local_fields(data: bytes, at: int) -> tuple[int, int, int]:
    _, _, _, method, _, _, _, _, _, name_len, extra_len = _LOCAL.unpack_from(data, at)
    return method, name_len, extra_len


def _no_overlap(entries: list[ZipEntry], directory: int) -> None:
    reached, previous = 0, ""
    for entry in sorted(entries, key=lambda e: e.header):
        if entry.header < reached:
            raise refuse(entry.name, "overlap", f"shares its bytes with {shown(previous)}")
        reached, previous = entry.start + entry.packed, entry.name
        if reached > directory:
            raise refuse(entry.name, "truncated", "runs over the end of the archive", "pack and upload it again")


def content(data: bytes, entry: ZipEntry) -> Iterator[bytes]:
    """The bytes of a file in pieces, never more than declared; raises BadPackage where they are not what was declared."""
    source = memoryview(data)[entry.start : entry.start + entry.packed]
    produced = crc = 0
    for piece in _inflated(source, entry) if entry.method == _DEFLATED else _cut(source):
        produced += len(piece)
        if produced > entry.size:
            raise refuse(entry.name, "lying-size", f"is larger than the {entry.size} bytes it declares")
        crc = zlib.crc32(piece, crc)
        yield piece
    if produced != entry.size:
        raise refuse(entry.name, "lying-size", f"declares {entry.size} bytes but has {produced}")
    if crc != entry.crc:
        raise refuse(entry.name, "checksum", "does not fit its checksum: it is damaged", "pack and upload it again")


def _cut(source: memoryview) -> Iterator[bytes]:
    for at in range(0, len(source), _PIECE):
        yield bytes(source[at : at + _PIECE])


def _inflated(source: memoryview, entry: ZipEntry) -> Iterator[bytes]:
    inflate = zlib.decompressobj(-zlib.MAX_WBITS)
    at = 0
    pending: bytes | memoryview = b""
    try:
        while not inflate.eof:
            fed = pending or source[at : at + _PIECE]
            if not pending:
                at += len(fed)
            piece = inflate.decompress(fed, _PIECE)
            pending = inflate.unconsumed_tail
            if piece:
                yield piece
            elif not fed and not inflate.eof:
                raise refuse(entry.name, "truncated", "is cut off", "pack and upload it again")
    except zlib.error as error:
        raise refuse(entry.name, "damaged", f"cannot be unpacked ({error})", "pack and upload it again") from None
    if inflate.unused_data or at < len(source):
        raise refuse(entry.name, "lying-size", "has bytes behind its end")
