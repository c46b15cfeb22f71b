"""Wildcards without backtracking: LIKE (`%`, `_`) and content patterns (`*`) compile to the same matcher.

A pattern is a sequence of tokens: a character, ONE (any character) or MANY (any number of them). Common shapes become `startswith` and its
like; the rest runs as a bit-parallel automaton (Baeza-Yates and Gonnet, "A new approach to text searching", 1992): bit i of the state
says that the first i characters of the pattern have matched, and one shift a character moves all of them on. The work is bounded by
length of the text times length of the pattern / 30, whatever the pattern.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Sequence
from typing import Final

Matcher = Callable[[str], bool]


class Wild(enum.Enum):
    ONE = "one"
    MANY = "many"


ONE: Final = Wild.ONE
MANY: Final = Wild.MANY
Token = str | Wild


def like(pattern: str) -> list[Token]:
    """Tokens of an SQL pattern: `%`, `_`, and a backslash before one of them."""
    return _read(pattern, {"%": MANY, "_": ONE}, escapable="%_")


def wildcard(pattern: str) -> list[Token]:
    """Tokens of a content pattern: `*`, and a backslash before `*` or a backslash. Raises ValueError for any other backslash."""
    at = pattern.find("\\")
    while at >= 0:
        if pattern[at + 1 : at + 2] not in ("*", "\\"):
            raise ValueError("a backslash stands only before * or another backslash")
        at = pattern.find("\\", at + 2)
    return _read(pattern, {"*": MANY}, escapable="*\\")


def _read(pattern: str, wild: dict[str, Wild], *, escapable: str) -> list[Token]:
    tokens: list[Token] = []
    characters = iter(enumerate(pattern))
    for at, character in characters:
        following = pattern[at + 1 : at + 2]
        if character == "\\" and following and following in escapable:
            tokens.append(following)
            next(characters)
        else:
            tokens.append(wild.get(character, character))
    return tokens


def matcher(tokens: Sequence[Token]) -> Matcher:
    """Whether a whole text has the form of the tokens."""
    inner = tokens
    head = tail = False
    if inner and inner[0] is MANY:
        head, inner = True, inner[1:]
    if inner and inner[-1] is MANY:
        tail, inner = True, inner[:-1]
    if all(isinstance(token, str) for token in inner):
        text = "".join(str(token) for token in inner)
        if head and tail:
            return lambda value: text in value
        if head:
            return lambda value: value.endswith(text)
        if tail:
            return lambda value: value.startswith(text)
        return lambda value: value == text
    return _automaton(tokens)


def _automaton(tokens: Sequence[Token]) -> Matcher:
    places = [token for token in tokens if token is not MANY]
    loops = 0  # states that any character leaves as they are
    length = 0
    for token in tokens:
        if token is MANY:
            loops |= 1 << length
        else:
            length += 1
    anything = sum(1 << place for place, token in enumerate(places) if token is ONE)
    moves: dict[str, int] = {}  # character -> the places that it fits
    for place, token in enumerate(places):
        if isinstance(token, str):
            moves[token] = moves.get(token, anything) | 1 << place
    accept = 1 << length

    def matches(value: str) -> bool:
        state = 1
        for character in value:
            state = (state & moves.get(character, anything)) << 1 | state & loops
            if not state:
                return False
        return bool(state & accept)

    return matches
