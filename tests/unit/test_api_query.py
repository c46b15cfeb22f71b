"""Moments: times and durations as people and programs write them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dayfly.api.query import VOCABULARY, moment
from dayfly.errors import BadInput

NOW = 1_700_000_000.0
SINCE = VOCABULARY["since"]


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0.0),
        ("1700000000", 1_700_000_000.0),
        ("1700000000.25", 1_700_000_000.25),
        ("30s", NOW - 30),
        ("1h", NOW - 3600),
        ("1h30m", NOW - 5400),
        ("1.5h", NOW - 5400),
        ("250ms", NOW - 0.25),
        ("2d", NOW - 172_800),
        ("1w", NOW - 604_800),
        ("999999999w", 0.0),  # before time began
        ("2023-11-14T22:13:20Z", NOW),
        ("2023-11-14t22:13:20z", NOW),
        ("2023-11-14T22:13:20.5Z", NOW + 0.5),
        ("2023-11-15T00:13:20+02:00", NOW),
        ("2023-11-15T00:13:20 02:00", NOW),  # a plus sign that was not encoded
        ("2023-11-14T17:13:20-05:00", NOW),
        ("0001-01-01T00:00:00Z", 0.0),
    ],
)
def test_moments(text, seconds):
    assert moment(text, NOW) == seconds
    assert SINCE.read("since", text, NOW) == seconds


@pytest.mark.parametrize(
    "text",
    [
        *("", " ", "x1h", "1h ", "1 h", "1y", "h", "-1h", "+1h", "1e9", "nan", "inf", "1h\n", "２h", "9" * 12),
        *("2023-11-14", "2023-11-14 22:13:20Z", "2023-11-14T22:13:20", "2023-13-14T22:13:20Z", "2023-11-14T25:00:00Z"),
        "0000-01-01T00:00:00Z",
    ],
)
def test_what_is_no_moment(text):
    with pytest.raises(BadInput) as refusal:
        SINCE.read("since", text, NOW)
    assert refusal.value.members["field"] == "since"
    assert "1h30m" in refusal.value.hint


@given(st.text(max_size=40))
def test_any_text_is_a_moment_or_bad_input(text):
    try:
        assert SINCE.read("since", text, NOW) >= 0
    except BadInput:
        pass


@given(st.from_regex(r"[0-9]{1,4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(Z|[+-][0-9]{2}:[0-9]{2})", fullmatch=True))
def test_any_date_is_a_moment_or_bad_input(text):
    try:
        assert SINCE.read("since", text, NOW) >= 0
    except BadInput:
        pass
