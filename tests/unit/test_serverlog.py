"""Lines of the server's log cannot be forged by what others put into them."""

from __future__ import annotations

import logging

import pytest

from dayfly.observe.serverlog import OneLine


def line(message: str, *arguments: object) -> str:
    record = logging.LogRecord("dayfly", logging.WARNING, "file", 1, message, arguments, None)
    return OneLine("%(levelname)s %(name)s: %(message)s").format(record)


@pytest.mark.parametrize(
    "hostile",
    [
        "x\n2026-01-01 INFO dayfly: all is well",
        "x\r\n",
        "\x1b[2J\x1b]0;owned\x07",
        "\x9b31m",
        "a\u202eb",
        "a\u2028b",
        "\x00",
        "\x7f",
    ],
)
def test_what_others_say_stays_on_its_line_and_steers_nothing(hostile: str) -> None:
    for text in (line(hostile), line("a function called %s", hostile)):
        assert text.startswith("WARNING dayfly: ")
        assert text.isprintable()


def test_plain_text_stays_as_it_is() -> None:
    assert line("Ünïcode, 数字 and %d", 5) == "WARNING dayfly: Ünïcode, 数字 and 5"
