"""Encryption at rest: what was sealed opens with its key and under its label, and not otherwise."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest

from dayfly.auth.seal import VARIABLE, Seal, load, new_key, save
from dayfly.errors import BadInput, Internal


def test_what_is_sealed_opens_and_shows_nothing() -> None:
    seal = Seal([new_key()])
    sealed = seal.seal(b"hunter2", "secret/default/db")
    assert b"hunter2" not in sealed
    assert seal.open(sealed, "secret/default/db") == b"hunter2"
    assert seal.seal(b"hunter2", "secret/default/db") != sealed  # a nonce of its own


def test_a_row_cannot_pass_for_another() -> None:
    seal = Seal([new_key()])
    with pytest.raises(Internal, match="moved there from another row"):
        seal.open(seal.seal(b"x", "secret/a/db"), "secret/b/db")


@pytest.mark.parametrize("at", [0, 2, 8, 20, -1])
def test_a_changed_byte_is_noticed(at: int) -> None:
    seal = Seal([new_key()])
    sealed = bytearray(seal.seal(b"some value", "l"))
    sealed[at] ^= 1
    with pytest.raises(Internal):
        seal.open(bytes(sealed), "l")


@pytest.mark.parametrize("sealed", [b"", b"\x01", b"\x01abcd", b"plain text from an older version"])
def test_what_was_never_sealed_does_not_open(sealed: bytes) -> None:
    with pytest.raises(Internal):
        Seal([new_key()]).open(sealed, "l")


def test_after_a_rotation_the_new_key_seals_and_the_old_one_still_opens() -> None:
    old, new = new_key(), new_key()
    sealed = Seal([old]).seal(b"x", "l")
    both = Seal([new, old])
    assert both.open(sealed, "l") == b"x"
    assert not both.current(sealed)
    again = both.seal(b"x", "l")
    assert both.current(again)
    assert Seal([new]).open(again, "l") == b"x"
    with pytest.raises(Internal, match="a key that is not there"):
        Seal([new]).open(sealed, "l")


def test_the_file_is_made_once_and_private(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    made = load(tmp_path / "key")
    assert (tmp_path / "key").stat().st_mode & 0o777 == 0o600
    assert load(tmp_path / "key").keys == made.keys
    save(tmp_path / "key", [new_key(), *made.keys])
    assert load(tmp_path / "key").keys[1:] == made.keys
    (tmp_path / "key").chmod(0o644)
    with pytest.raises(BadInput, match="open to other users"):
        load(tmp_path / "key")


def test_keys_may_come_from_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    new, old = new_key(), new_key()
    monkeypatch.setenv(VARIABLE, f"{base64.b64encode(new).decode()}, {base64.urlsafe_b64encode(old).decode()}")
    assert load(tmp_path / "key").keys == [new, old]
    assert not (tmp_path / "key").exists()


@pytest.mark.parametrize("text", ["x", "c2hvcnQ=", "not base64 at all!", ","])
def test_what_is_no_key_is_refused_without_repeating_it(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, text)
    with pytest.raises(BadInput, match="32 bytes in base64") as refusal:
        load(tmp_path / "key")
    assert "openssl" in refusal.value.hint
    assert len(text) < 3 or text not in str(refusal.value)
