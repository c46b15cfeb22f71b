"""Properties of the archive reader, over archives nobody thought of."""

from __future__ import annotations

import tempfile
from pathlib import Path

from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from dayfly.build.archive import open_archive, unpack
from dayfly.build.pack import chosen, pack
from dayfly.build.rules import Limits, Names, checked_path
from dayfly.errors import BadPackage
from tests.support.zips import Raw, craft, plain

LIMITS = Limits(total=100_000, entries=40, ratio=50, ratio_floor=20_000)
quick = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])

names = st.lists(
    st.sampled_from(["a", "b", "..", ".", "", "C:", "e\u0301", "é", "A", "x" * 300, "\0", "\\", "~"]), min_size=1, max_size=4
).map("/".join) | st.text(max_size=20)
entries = st.builds(
    Raw,
    name=names.map(lambda n: n.encode("utf-8", "replace")),
    body=st.binary(max_size=300) | st.just(b"\0" * 90_000),
    mode=st.sampled_from([0, 0o100644, 0o100755, 0o120777, 0o040755, 0o104755, 0o010644]),
    made=st.sampled_from([0, 3, 19]),
    flags=st.sampled_from([0, 0x800, 0x808, 0x801]),
    method=st.sampled_from([0, 8, 12]),
    size=st.none() | st.integers(0, 0xFFFFFFFF),
    packed=st.none() | st.integers(0, 500),
    crc=st.none() | st.just(7),
    offset=st.none() | st.integers(0, 400),
)


def outcome(data: bytes) -> dict[str, bytes] | BadPackage:
    """What is on the disk afterwards, or the refusal; any other exception is a fault."""
    with tempfile.TemporaryDirectory() as place:
        inside = Path(place, "top", "in")
        inside.mkdir(parents=True)
        try:
            unpack(open_archive(data, limits=LIMITS), inside)
        except BadPackage as error:
            assert sum(p.stat().st_size for p in inside.rglob("*") if p.is_file()) <= LIMITS.total
            return error
        finally:
            assert [p.name for p in Path(place).iterdir()] == ["top"]
            assert [p.name for p in Path(place, "top").iterdir()] == ["in"]
            assert not any(p.is_symlink() for p in inside.rglob("*"))
        return {str(p.relative_to(inside)): p.read_bytes() for p in inside.rglob("*") if p.is_file()}


@quick
@given(st.lists(entries, max_size=5), st.binary(max_size=10), st.integers(0, 30))
def test_crafted_archives_are_whole_or_refused(made: list[Raw], prefix: bytes, cut: int) -> None:
    result = outcome(craft(*made, prefix=prefix, cut=cut))
    if isinstance(result, dict):
        assert sum(map(len, result.values())) <= LIMITS.total
        for path in result:
            assert checked_path(path, LIMITS) == path


@quick
@given(st.data())
def test_flipped_bytes_never_change_content_unnoticed(data: st.DataObject) -> None:
    files = {"handler.py": b"def handler(event, context):\n    return event\n", "data/x.bin": bytes(range(256))}
    archive = bytearray(plain(files))
    for _ in range(data.draw(st.integers(1, 4))):
        archive[data.draw(st.integers(4, len(archive) - 1))] = data.draw(st.integers(0, 255))
    result = outcome(bytes(archive))
    if isinstance(result, dict):
        assert set(result.values()) <= set(files.values())  # a name may have changed, bytes never


@quick
@given(st.binary(max_size=400))
def test_noise_is_refused_or_is_one_file(noise: bytes) -> None:
    result = outcome(b"PK\3\4" + noise)
    assert isinstance(result, BadPackage)


@quick
@given(st.text(max_size=60))
def test_a_name_that_passes_is_one_relative_path(name: str) -> None:
    try:
        path = checked_path(name, LIMITS)
    except BadPackage:
        return
    assert Path("/top", path).resolve().is_relative_to("/top")
    assert not set(Path(path).parts) & {"..", "/"}
    assert checked_path(path, LIMITS) == path


parts = st.text(
    st.characters(codec="utf-8", exclude_categories=["Cc", "Cs", "Lu", "Lt", "Mn"], exclude_characters="/\\"),
    min_size=1,
    max_size=8,
)
trees = st.dictionaries(
    st.lists(parts, min_size=1, max_size=3).map("/".join),
    st.tuples(st.binary(max_size=200), st.booleans()),
    min_size=1,
    max_size=6,
)


@quick
@given(trees)
def test_a_folder_comes_out_as_it_was_packed(tree: dict[str, tuple[bytes, bool]]) -> None:
    with tempfile.TemporaryDirectory() as place:
        source, target = Path(place, "source"), Path(place, "target")
        target.mkdir()
        try:
            listed = [checked_path(path, LIMITS) for path in tree]
            names = Names(LIMITS)
            for path in listed:
                names.claim(path, False)
        except BadPackage:
            return  # no package can hold these
        assume(listed == list(tree))  # a leading ./ is dropped
        for path, (body, executable) in tree.items():
            (source / path).parent.mkdir(parents=True, exist_ok=True)
            (source / path).write_bytes(body)
            (source / path).chmod(0o755 if executable else 0o644)
        kept = {name for _, name in chosen(source)}
        if not kept:
            return
        unpack(open_archive(pack(source), limits=LIMITS), target)
        found = {
            str(p.relative_to(target)): (p.read_bytes(), bool(p.stat().st_mode & 0o100))
            for p in target.rglob("*")
            if p.is_file()
        }
        assert found == {path: content for path, content in tree.items() if path in kept}
