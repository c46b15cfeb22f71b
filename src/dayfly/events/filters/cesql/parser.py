"""CESQL tokens into nodes, by precedence climbing (cloudevents/spec, cesql/spec.md, section 2).

Tightest first: NOT and unary minus; LIKE, IN; * / %; + -; comparisons; AND; OR; XOR. Operators of one rank group to the left.
That NOT binds tighter than `=` and LIKE is the specification's rule, not SQL's: write NOT (a = b).
"""

from __future__ import annotations

from typing import Final

from . import functions, nodes
from .lexer import Category, Refused, Token, tokenize
from .nodes import Node
from .values import INT_MAX, Kind

MAX_LENGTH: Final = 8192  # characters of an expression
MAX_TOKENS: Final = 2000
MAX_DEPTH: Final = 64  # of parentheses and operators inside each other

_RANKS: Final = {
    "XOR": 1,
    "OR": 2,
    "AND": 3,
    **dict.fromkeys(["=", "!=", "<>", "<", "<=", ">", ">="], 4),
    **dict.fromkeys(["+", "-"], 5),
    **dict.fromkeys(["*", "/", "%"], 6),
    **dict.fromkeys(["LIKE", "IN", "NOT"], 7),  # NOT: of NOT LIKE and NOT IN
}


def parse(text: str) -> Node:
    """The expression, ready to run. Raises Refused."""
    if len(text) > MAX_LENGTH:
        raise Refused(f"longer than {MAX_LENGTH} characters", MAX_LENGTH)
    tokens = tokenize(text)
    if len(tokens) > MAX_TOKENS:
        raise Refused(f"more than {MAX_TOKENS} words and signs", tokens[MAX_TOKENS].at)
    return _Parser(tokens).whole()


class _Parser:
    def __init__(self, tokens: list[Token]) -> None:
        self._tokens = tokens
        self._next = 0
        self._depth = 0

    @property
    def _token(self) -> Token:
        return self._tokens[self._next]

    def _take(self) -> Token:
        token = self._token
        self._next += 1
        return token

    def _at(self, *texts: str) -> bool:
        token = self._token
        return token.category in (Category.SYMBOL, Category.KEYWORD) and token.text in texts

    def _expect(self, text: str) -> None:
        if not self._at(text):
            raise self._surprise(f"{text} is missing")
        self._next += 1

    def _surprise(self, message: str) -> Refused:
        token = self._token
        found = "the expression ends" if token.category is Category.END else f"there is {token.text!r}"
        return Refused(f"{message}: {found}", token.at)

    def whole(self) -> Node:
        node = self._expression(0)
        if self._token.category is not Category.END:
            raise self._surprise("an operator is missing")
        return node

    def _expression(self, floor: int) -> Node:
        """An expression of operators that bind tighter than `floor`."""
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise Refused(f"nested more than {MAX_DEPTH} deep", self._token.at)
        node = self._unary()
        while (rank := self._rank()) > floor:
            at = self._token.at
            operator = self._take().text
            if operator in ("LIKE", "IN", "NOT"):
                node = self._postfix(node, operator)
            elif operator in ("AND", "OR"):
                operands = [node, self._expression(rank)]
                while self._at(operator):
                    self._next += 1
                    operands.append(self._expression(rank))
                node = nodes.logic(operator == "OR", operands)
            else:
                node = nodes.binary(operator, node, self._expression(rank))
            if node.depth > MAX_DEPTH:
                raise Refused(
                    f"nested more than {MAX_DEPTH} deep", at, hint="Parentheses make a long chain of operators flatter."
                )
        self._depth -= 1
        return node

    def _rank(self) -> int:
        token = self._token
        return _RANKS.get(token.text, 0) if token.category in (Category.SYMBOL, Category.KEYWORD) else 0

    def _postfix(self, operand: Node, operator: str) -> Node:
        negated = operator == "NOT"
        if negated:
            if not self._at("LIKE", "IN"):
                raise self._surprise("LIKE or IN is missing after NOT")
            operator = self._take().text
        if operator == "LIKE":
            if self._token.category is not Category.STRING:
                raise self._surprise("LIKE wants a pattern in quotes")
            return nodes.like(operand, self._take().text, negated=negated)
        self._expect("(")
        return nodes.among(operand, self._list(), negated=negated)

    def _list(self) -> list[Node]:
        """Expressions up to the closing parenthesis; one at least."""
        elements = [self._expression(0)]
        while self._at(","):
            self._next += 1
            elements.append(self._expression(0))
        self._expect(")")
        return elements

    def _unary(self) -> Node:
        signs: list[str] = []
        while self._at("NOT", "-", "+"):
            if self._at("+") and self._tokens[self._next + 1].category is not Category.INTEGER:
                raise self._surprise("a value is missing")
            signs.append(self._take().text)
        if len(signs) > MAX_DEPTH:
            raise Refused(f"nested more than {MAX_DEPTH} deep", self._token.at)
        node = self._integer(signs) if self._token.category is Category.INTEGER else self._primary()
        for sign in reversed(signs):
            node = nodes.negation(node) if sign == "NOT" else nodes.minus(node)
        return node

    def _integer(self, signs: list[str]) -> Node:
        """A literal with its sign, so that the smallest of all integers can be written."""
        token = self._take()
        sign = signs.pop() if signs and signs[-1] in ("-", "+") else "+"
        value = int(token.text) if len(token.text.lstrip("0")) <= 10 else INT_MAX + 2
        if value > INT_MAX + (sign == "-"):
            raise Refused(f"{token.text[:20]} has more than 32 bits", token.at)
        return nodes.literal(-value if sign == "-" else value)

    def _primary(self) -> Node:
        token = self._token
        if token.category is Category.STRING:
            return nodes.literal(self._take().text)
        if token.category is Category.NAME:
            self._next += 1
            return self._call(token) if self._at("(") else nodes.attribute(_attribute(token))
        if self._at("TRUE", "FALSE"):
            return nodes.literal(self._take().text == "TRUE")
        if self._at("EXISTS"):
            self._next += 1
            if self._token.category is not Category.NAME:
                raise self._surprise("EXISTS wants the name of an attribute")
            return nodes.exists(_attribute(self._take()))
        if self._at("("):
            self._next += 1
            node = self._expression(0)
            self._expect(")")
            return node
        raise self._surprise("a value is missing")

    def _call(self, name: Token) -> Node:
        self._expect("(")
        arguments: list[Node] = []
        if self._at(")"):
            self._next += 1
        else:
            arguments = self._list()
        function = functions.find(name.text, len(arguments))
        if function is None:
            hint = f"There are {', '.join(functions.NAMES)}."
            message = f"no function {name.text} takes {len(arguments)} arguments"
            raise Refused(message, name.at, kind=Kind.MISSING_FUNCTION, hint=hint)
        return nodes.call(function, arguments)


def _attribute(token: Token) -> str:
    if not token.text.islower() or "_" in token.text or not token.text.isascii():
        raise Refused(
            f"{token.text!r} cannot be the name of an attribute",
            token.at,
            hint="Names of attributes are made of a-z and 0-9; texts stand in quotes.",
        )
    return token.text
