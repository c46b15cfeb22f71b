"""What a deployer uploads: it is unpacked whole, within its bounds and its folder, or refused with a reason."""

from __future__ import annotations

import pytest
from hypothesis import strategies as st

from tests.fuzz.clock import SECONDS, fuzz
from tests.support.zips import Raw, craft, plain
from tests.unit.test_archive_properties import LIMITS, entries, outcome

SEEDS = [
    plain({"handler.py": b"def handler(event, context):\n    return event\n", "data/x.bin": bytes(range(256))}),
    plain({f"folder/{number}.txt": b"x" * number for number in range(12)}, {"folder/3.txt": 0o755}),
    craft(Raw(b"a/", b"", mode=0o040755), Raw(b"a/b", b"1" * 2000), Raw(b"\xc3\xa9", b"2", flags=0x800)),
]


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """An archive that was right once: bytes changed, pieces cut out, doubled, moved."""
    data = bytearray(draw(st.sampled_from(SEEDS)))
    for _ in range(draw(st.integers(1, 6))):
        if not data:
            break
        at, size = draw(st.integers(0, len(data) - 1)), draw(st.integers(1, 40))
        piece = bytes(data[at : at + size])
        match draw(st.integers(0, 4)):
            case 0:
                data[at] = draw(st.integers(0, 255))
            case 1:
                del data[at : at + size]
            case 2:
                data[at:at] = piece * draw(st.integers(1, 20))
            case 3:
                there = draw(st.integers(0, len(data) - 1))
                data[there : there + len(piece)] = piece
            case 4:
                data[at : at + 4] = draw(
                    st.sampled_from([b"\xff\xff\xff\xff", b"\0\0\0\0", b"PK\1\2", b"PK\5\6", b"PK\6\6", b"PK\6\7"])
                )
    return bytes(data)


archives = (
    mutated()
    | st.tuples(st.lists(entries, max_size=5), st.binary(max_size=10), st.integers(0, 30)).map(
        lambda t: craft(*t[0], prefix=t[1], cut=t[2])
    )
    | st.binary(max_size=200).map(lambda noise: b"PK\3\4" + noise)
)


def unpacked_or_refused(data: bytes) -> None:
    result = outcome(data)
    assert not isinstance(result, dict) or sum(map(len, result.values())) <= LIMITS.total


@pytest.mark.timeout(SECONDS + 120)
def test_archives() -> None:
    assert fuzz(archives, unpacked_or_refused) > 0
