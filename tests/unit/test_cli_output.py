"""Tables, JSON, YAML, and what may reach a terminal."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from dayfly.cli import output, terminal
from dayfly.cli.yaml import dump

scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
documents = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@given(documents)
def test_yaml_reads_back_as_what_was_written(document: Any) -> None:
    assert yaml.safe_load(dump(document)) == document


@given(documents)
def test_json_reads_back_as_what_was_written(document: Any) -> None:
    assert json.loads(output.json_text(document)) == document


@pytest.mark.parametrize(
    "text",
    [
        "no",
        "NULL",
        "1e3",
        "12:30",
        "0x1f",
        "2031-01-01",
        "",
        " lead",
        "a: b",
        "- a",
        "# c",
        "~",
        "=",
        "<<",
        "on",
        ".5",
        "\ud800",
    ],
)
def test_yaml_text_that_looks_like_something_else_stays_text(text: str) -> None:
    assert yaml.safe_load(dump({"key": text})) == {"key": text}


def test_yaml_looks_as_people_write_it() -> None:
    document = {"name": "hello", "traffic": [{"revision": 1, "weight": 1.0}, {"revision": 2}], "env": {}, "on": ["a", []]}
    assert dump(document) == (
        'name: hello\ntraffic:\n  - revision: 1\n    weight: 1.0\n  - revision: 2\nenv: {}\n"on":\n  - a\n  - []\n'
    )


@given(st.text())
def test_nothing_escaped_can_steer_a_terminal(text: str) -> None:
    shown = terminal.escape(text)
    assert not any((ord(c) < 32 and c != "\t") or 0x7F <= ord(c) < 0xA0 or 0x202A <= ord(c) <= 0x202E for c in shown)
    shown.encode()


@given(st.text())
def test_json_cannot_steer_a_terminal_either(text: str) -> None:
    assert terminal.escape(output.json_text(text)) == output.json_text(text)


def test_escape_leaves_text_alone_and_shows_what_it_hides() -> None:
    assert terminal.escape("Grüße 日本 ✓\tok") == "Grüße 日本 ✓\tok"
    assert terminal.escape("\x1b[31mred\x07") == "\\x1b[31mred\\x07"
    assert terminal.escape("a\nb") == "a\\x0ab"
    assert terminal.escape("a\nb", keep="\n") == "a\nb"
    assert terminal.escape("abc\u202ecba") == "abc\\u202ecba"


def test_a_table_is_aligned_by_columns_not_characters(capsys: pytest.CaptureFixture[str]) -> None:
    output.print_table(["NAME", "N", "NOTE"], [["日本", 5, "x"], ["plain", 12345, ""], ["e\u0301", 1, "\x1b[2J"]])
    assert capsys.readouterr().out.splitlines() == [
        "NAME       N  NOTE",
        "日本       5  x",
        "plain  12345",
        "e\u0301          1  \\x1b[2J",
    ]


def test_amounts_with_units_stand_to_the_right_and_versions_do_not(capsys: pytest.CaptureFixture[str]) -> None:
    output.print_table(["TOOK", "VERSION"], [["1,200 ms", "3.8.18"], ["3 s", "3.12"], ["", "20.1.1"]])
    assert capsys.readouterr().out == "    TOOK  VERSION\n1,200 ms  3.8.18\n     3 s  3.12\n          20.1.1\n"


def test_an_empty_list_is_data_too(capsys: pytest.CaptureFixture[str]) -> None:
    columns = (("NAME", lambda item: item["name"]),)
    output.print_list([], "json", columns, empty="none")
    assert capsys.readouterr() == ("[]\n", "")
    output.print_list([], "table", columns, empty="none")
    assert capsys.readouterr() == ("", "none\n")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, ""), (0.00021, "0.21 ms"), (0.012, "12 ms"), (1.44, "1.4 s"), (None, ""), (0.9996, "1000 ms")],
)
def test_durations(seconds: float | None, text: str) -> None:
    assert output.milliseconds(seconds) == text


@pytest.mark.parametrize(("age", "text"), [(0, "0s"), (59.9, "59s"), (60, "1m"), (7199, "1h"), (90000, "1d"), (-5, "0s")])
def test_ages(age: float, text: str) -> None:
    assert output.ago(1_700_000_000.0, now=1_700_000_000.0 + age) == text


@pytest.mark.parametrize(("no_color", "term", "expected"), [("", "xterm", True), ("1", "xterm", False), ("", "dumb", False)])
def test_colour_only_on_terminals_that_want_it(
    monkeypatch: pytest.MonkeyPatch, no_color: str, term: str, expected: bool
) -> None:
    class Terminal:
        def isatty(self) -> bool:
            return True

    monkeypatch.setenv("NO_COLOR", no_color)
    monkeypatch.setenv("TERM", term)
    assert terminal.use_colour(Terminal()) is expected
    assert terminal.use_colour(object()) is False
