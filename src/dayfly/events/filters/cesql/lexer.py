"""CESQL text into tokens (cloudevents/spec, cesql/spec.md, section 2)."""

from __future__ import annotations

import enum
import string
from typing import Final, NamedTuple

from .values import Kind


class Category(enum.Enum):
    NAME = "name"  # of an attribute or a function
    KEYWORD = "keyword"  # in capitals
    INTEGER = "integer"
    STRING = "string"
    SYMBOL = "symbol"
    END = "end"


class Token(NamedTuple):
    category: Category
    text: str
    at: int  # position in the expression, from 0


class Refused(Exception):
    """The expression is wrong; known before any event is seen."""

    def __init__(self, message: str, at: int, *, kind: Kind = Kind.PARSE, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.at = at
        self.kind = kind
        self.hint = hint


KEYWORDS: Final = frozenset(["AND", "OR", "XOR", "NOT", "LIKE", "IN", "EXISTS", "TRUE", "FALSE"])
_SYMBOLS: Final = ("<=", ">=", "<>", "!=", "=", "<", ">", "+", "-", "*", "/", "%", "(", ")", ",")
_WORD: Final = frozenset(string.ascii_letters + string.digits + "_")
_DIGITS: Final = frozenset(string.digits)
_SPACE: Final = frozenset(" \t\r\n")


def tokenize(text: str) -> list[Token]:
    """The tokens, ended by one of category END. Raises Refused."""
    tokens: list[Token] = []
    at = 0
    while at < len(text):
        character = text[at]
        if character in _SPACE:
            at += 1
        elif character in "'\"":
            value, end = _string(text, at)
            tokens.append(Token(Category.STRING, value, at))
            at = end
        elif character in _WORD:
            end = at
            while end < len(text) and text[end] in _WORD:
                end += 1
            tokens.append(_word(text[at:end], at))
            at = end
        else:
            symbol = next((symbol for symbol in _SYMBOLS if text.startswith(symbol, at)), None)
            if symbol is None:
                raise Refused(f"{character!r} has no meaning here", at)
            tokens.append(Token(Category.SYMBOL, symbol, at))
            at += len(symbol)
    tokens.append(Token(Category.END, "", len(text)))
    return tokens


def _word(word: str, at: int) -> Token:
    if _DIGITS.issuperset(word):
        return Token(Category.INTEGER, word, at)
    if word.upper() in KEYWORDS:
        return Token(Category.KEYWORD, word.upper(), at)
    return Token(Category.NAME, word, at)


def _string(text: str, start: int) -> tuple[str, int]:
    """The text between quotes, and where it ends. A backslash escapes the quote; before anything else it stands for itself."""
    quote = text[start]
    parts: list[str] = []
    at = start + 1
    while (end := text.find(quote, at)) >= 0:
        if text[end - 1] != "\\" or end == at:
            parts.append(text[at:end])
            return "".join(parts), end + 1
        parts.append(text[at : end - 1] + quote)
        at = end + 1
    raise Refused("a text that is not closed", start, hint=f"It wants another {quote} at its end.")
