"""What the comparison lets pass, and what it does not."""

from __future__ import annotations

import pytest

from .matching import matches

ID = "01a208cf96947724b3ef9743e260ec83"


@pytest.mark.parametrize(
    ("expected", "actual"),
    [
        ("hello", "hello\n"),
        ("", "\n"),
        (f"id {ID}", "id 01a208cf98da73598cee72bb02d0a7c9"),
        ("took 12 ms", "took 1.4 s"),
        ("AGE  NAME\n3s   hello", "AGE NAME\n12m hello   "),
        ("a\n...\nz", "a\nb\nc\nz"),
        ("a\n...\nz", "a\nz"),
        ('{"x": ...}', '{"x": [1, 2]}'),
        ("python3.13 handler.handler", "python3.11 handler.handler"),
        ("cost 0.0000012 USD", "cost 0.5 USD"),
        ("14:29:54.759 90c7912b !", "01:02:03.004 ecd5ba69 !"),
        ("-- 2026-11-23 14:29:12", "-- 2027-01-01 00:00:00"),
        ("dur=0.456", "dur=12.001"),
        ("hello@1  ok  warm  24 ms  201 ms  18 MiB", "hello@1  ok  cold          1.2 s  17 MiB"),
    ],
)
def test_same(expected: str, actual: str) -> None:
    assert matches(expected, actual)


@pytest.mark.parametrize(
    ("expected", "actual"),
    [
        ("hello", "help"),
        ("", "something"),
        ("something", ""),
        ("revision 2", "revision 3"),
        ("a\nz", "a\nb\nz"),
        ("took 12 ms", "took ages"),
        ("http://127.0.0.1:8000", "http://127.0.0.2:8000"),
        (f"id {ID}", "id none"),
        ("90%", "10%"),
        ("a...z", "a\nz"),
    ],
)
def test_different(expected: str, actual: str) -> None:
    assert not matches(expected, actual)
