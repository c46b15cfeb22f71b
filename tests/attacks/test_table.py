"""The table of docs/threat-model.md: every attack of the list has a row, and every test that a row names exists."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "threat-model.md"


def rows() -> list[tuple[int, str]]:
    found = re.findall(r"^\| (\d+) \|.*\| `(tests/[^`]+)` \|$", PAGE.read_text(), re.M)
    return [(int(number), test) for number, test in found]


def test_every_attack_of_the_list_has_a_row() -> None:
    numbers = [number for number, _ in rows()]
    assert numbers == sorted(numbers)
    assert set(range(1, 41)) <= set(numbers)


def test_every_test_of_the_table_exists() -> None:
    for number, test in rows():
        file, _, name = test.partition("::")
        assert (ROOT / file).is_file(), (number, file)
        assert not name or re.search(rf"^(async )?def {name}\b", (ROOT / file).read_text(), re.M), (number, name)


def test_tests_are_in_the_row_of_their_number() -> None:
    for number, test in rows():
        numbers = re.findall(r"_(\d\d)(?=_)", test.partition("::")[2])
        assert not numbers or f"{number:02}" in numbers, (number, test)
