"""What can go wrong on the command line, and the exit code of each.

    click.ClickException
    `-- Failure             1  what happened, why, and what to do
        |-- Unreachable     3  nothing answers, or not Dayfly
        `-- Problem         by its kind: a problem document (RFC 9457) of the server

Scripts rely on the codes: `dayfly --help` lists them, and a number never changes its meaning.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from .terminal import escape

if TYPE_CHECKING:
    from ..errors import DayflyError


class ExitCode(enum.IntEnum):
    """Each with the line that `dayfly --help` shows."""

    explanation: str

    def __new__(cls, value: int, explanation: str) -> ExitCode:
        member = int.__new__(cls, value)
        member._value_ = value
        member.explanation = explanation
        return member

    OK = 0, "done"
    FAILED = 1, "refused or failed for another reason than these"
    USAGE = 2, "the command line is wrong"
    UNREACHABLE = 3, "no server answers"
    NOT_FOUND = 4, "no such function, revision, invocation ..."
    REFUSED = 5, "not logged in, or not allowed"
    BROKEN_CODE = 6, "the code does not build or does not load"
    BUSY = 7, "throttled or no capacity: try again later"
    FUNCTION_ERROR = 10, "the function raised, or answered with status 400 or above"
    TIMED_OUT = 11, "the function ran out of its time"
    CRASHED = 12, "the function's instance died, or answered nonsense"
    CANCELLED = 13, "the call was cancelled"
    INTERRUPTED = 130, "stopped by Ctrl-C"


BY_KIND: dict[str, ExitCode] = {
    "not-found": ExitCode.NOT_FOUND,
    "unauthenticated": ExitCode.REFUSED,
    "forbidden": ExitCode.REFUSED,
    "bad-package": ExitCode.BROKEN_CODE,
    "build-failed": ExitCode.BROKEN_CODE,
    "init-failed": ExitCode.BROKEN_CODE,
    "throttled": ExitCode.BUSY,
    "unavailable": ExitCode.BUSY,
    "timed-out": ExitCode.TIMED_OUT,
    "instance-died": ExitCode.CRASHED,
    "bad-response": ExitCode.CRASHED,
    "cancelled": ExitCode.CANCELLED,
}
"""Last path segment of a problem's type (`dayfly.errors.DayflyError.kind`) -> exit code; the others are FAILED."""
PLAIN = frozenset({"not-found", "bad-input", "name-invalid", "conflict", "unauthenticated", "forbidden", "unsupported-media"})
"""Kinds whose detail says it all: their title would only repeat it."""


class Failure(click.ClickException):
    """A command that cannot do what it was asked for."""

    def __init__(self, message: str, *, hint: str = "", code: int = ExitCode.FAILED) -> None:
        super().__init__(message)
        self.hint = hint
        self.code = int(code)

    def format_message(self) -> str:
        return self.message

    def show(self, file: Any = None) -> None:
        """`Error: what happened`, then what to do about it, on stderr. Text of others cannot steer the terminal."""
        click.secho("Error: ", fg="red", bold=True, nl=False, err=True)
        click.echo(escape(self.format_message(), keep="\n"), err=True)
        if self.hint:
            click.echo(escape(self.hint, keep="\n"), err=True)


class Unreachable(Failure):
    """Nothing answers at the address, the connection broke, or something else than Dayfly lives there."""

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message, hint=hint, code=ExitCode.UNREACHABLE)


class Problem(Failure):
    """The server said no, and why."""

    def __init__(self, status: int, document: Mapping[str, Any]) -> None:
        self.status = status
        self.document = dict(document)
        self.kind = str(document.get("type", "")).rsplit("/", 1)[-1]
        super().__init__(
            str(document.get("detail") or document.get("title") or f"HTTP {status}"),
            hint=self._advice(),
            code=BY_KIND.get(self.kind, ExitCode.FAILED),
        )

    def format_message(self) -> str:
        """The detail under its title, where in the source it is, and what the build printed."""
        title = str(self.document.get("title", ""))
        plain = self.kind in PLAIN or self.message == title
        text = sentence(self.message) if plain else f"{title}: {self.message}"
        if "\n" not in text and not text.endswith((".", "!", "?")):
            text += "."
        file, line = self.document.get("file"), self.document.get("line")
        if file and str(file) not in text:
            text += f"\n  in {file}" + (f", line {line}" if line else "")
        for line in self.document.get("log") or ():
            text += f"\n  | {line}"
        return text

    @property
    def retry_after(self) -> float:
        """Seconds after which the server suggests to ask again; 0 if it does not."""
        given = self.document.get("retry_after")
        return float(given) if isinstance(given, (int, float)) and given > 0 else 0.0

    def _advice(self) -> str:
        advice = str(self.document.get("hint", ""))
        if not advice and self.status == 401:
            advice = "Give a token with --token or DAYFLY_TOKEN."
        if self.retry_after:
            advice = f"{advice} Try again in {self.retry_after:g} s.".strip()
        if self.document.get("invocation"):
            advice += f"\nInvocation {self.document['invocation']}"
        return advice.strip()


def sentence(text: str) -> str:
    """With a capital, if it begins with a word (and not with a name or a path)."""
    return text[0].upper() + text[1:] if text.partition(" ")[0].isalpha() else text


def of_core(error: DayflyError) -> Problem:
    """What the core's own code raised in this process, as if a server had."""
    return Problem(error.status, error.problem())
