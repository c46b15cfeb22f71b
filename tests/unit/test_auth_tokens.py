"""The token file: made once, for its owner's eyes only."""

from __future__ import annotations

import os
import re
from concurrent.futures import ThreadPoolExecutor

import pytest

from dayfly.auth.tokens import load_or_create, new_token
from dayfly.errors import BadInput


def test_tokens_are_long_random_and_url_safe():
    tokens = {new_token() for _ in range(100)}
    assert len(tokens) == 100
    assert all(re.fullmatch(r"dft_[A-Za-z0-9_-]{43}", token) for token in tokens)


def test_the_file_is_made_once_and_private(tmp_path):
    path = tmp_path / "token"
    token = load_or_create(path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert load_or_create(path) == token
    assert os.listdir(tmp_path) == ["token"]  # nothing is left of the making


def test_servers_that_start_at_once_share_the_token(tmp_path):
    with ThreadPoolExecutor(8) as pool:
        tokens = set(pool.map(load_or_create, [tmp_path / "token"] * 32))
    assert len(tokens) == 1


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o602])
def test_a_file_open_to_others_is_refused(tmp_path, mode):
    path = tmp_path / "token"
    load_or_create(path)
    path.chmod(mode)
    with pytest.raises(BadInput, match="other users") as refusal:
        load_or_create(path)
    assert "chmod 600" in refusal.value.hint


@pytest.mark.parametrize("content", ["", "dft_short", "x" * 47, "dft_" + "a" * 44, "dft_" + "a" * 42 + "é"])
def test_a_file_without_a_token_is_refused(tmp_path, content):
    path = tmp_path / "token"
    path.write_text(content)
    path.chmod(0o600)
    with pytest.raises(BadInput, match="does not hold a token"):
        load_or_create(path)


def test_a_link_is_not_followed(tmp_path):
    (tmp_path / "elsewhere").write_text(new_token())
    (tmp_path / "token").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(BadInput, match="cannot be read"):
        load_or_create(tmp_path / "token")


def test_a_pipe_or_folder_is_refused_at_once(tmp_path):
    os.mkfifo(tmp_path / "pipe", 0o600)
    (tmp_path / "folder").mkdir()
    for name in ("pipe", "folder"):
        with pytest.raises(BadInput, match="not a regular file"):
            load_or_create(tmp_path / name)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_somebody_elses_file_is_refused(tmp_path):
    path = tmp_path / "token"
    load_or_create(path)
    os.chown(path, 65534, 65534)
    with pytest.raises(BadInput, match="another user"):
        load_or_create(path)
