"""CESQL: what an expression comes to, and how it fails.

The cases agree with the specification's conformance suite (github.com/cloudevents/spec, cesql/cesql_tck).
"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dayfly.errors import BadInput
from dayfly.events.filters.cesql import Refused, compile_expression, parse_expression
from tests.support.seen import Seen

EVENT = Seen(
    id="my-id",
    source="https://example.com/shop",
    type="com.example.error",
    subject="my-subject",
    time="2018-04-26T14:48:09+02:00",
    hop="5",
    ttl="10",
    sequence="5",
    mybool=True,
    myint=10,
    myext="abc123123%456_dzf",
    word="ABC",
)

VALUES = {
    # literals
    "TRUE": True,
    "tRuE": True,
    "0": 0,
    "+7": 7,
    "'aBc'": "aBc",
    '"AbC"': "AbC",
    r"""'a"b\'c'""": "a\"b'c",
    r'''"a'b\"c"''': "a'b\"c",
    # attributes keep the types of the CloudEvents type system
    "id": "my-id",
    "subject": "my-subject",
    "mybool": True,
    "myint": 10,
    "time": "2018-04-26T14:48:09+02:00",
    # unary
    "-10": -10,
    "--10": 10,
    "-'10'": -10,
    "-TRUE": -1,
    "NOT TRUE": False,
    "NOT 'FALSE'": True,
    "NOT 10": False,
    "NOT NOT TRUE": True,
    # comparison
    "TRUE = FALSE": False,
    "2 = 2": True,
    "'abc' = '123'": False,
    "'a' = 'A'": False,
    "TRUE != FALSE": True,
    "1 <> 2": True,
    "2 <> 2": False,
    "2 <= 2": True,
    "3 <= 2": False,
    "2 < 2": False,
    "2 >= 3": False,
    "2 > 1": True,
    "true = 'TRUE'": False,  # the right type decides
    "'TRUE' = true": True,
    "sequence = 5": True,
    "hop < ttl": True,  # as numbers, not as text
    "myint = '10'": True,
    "'10' != myint": False,
    # logic
    "FALSE XOR TRUE": True,
    "TRUE XOR TRUE": False,
    "false and (1 != 1 / 0)": False,  # not evaluated
    "true or (1 != 1 / 0)": True,
    "true or missing": True,
    "false AND true OR true": True,
    "true OR true AND false": True,
    "true OR true XOR true": False,
    # arithmetic
    "4 * 2 + 4 / 2": 10,
    "4 * (2 + 4) / 2": 12,
    "10 - 3 - 2": 5,
    "-4 - 1": -5,
    "4-1": 3,
    "4 + -1": 3,
    "5 / 3": 1,
    "-5 / 3": -1,
    "5 / -3": -1,
    "-5 % 3": -2,
    "5 % -3": 2,
    "'5' + '3'": 8,
    "5 + TRUE": 6,
    # LIKE
    "'abc' LIKE 'a%b%c'": True,
    "'azzzbzzzc' LIKE 'a%b%c'": True,
    "'ac' LIKE 'abc'": False,
    "'' LIKE '%'": True,
    "'.ab.cde.' LIKE '.%.%.'": True,
    "'ab.cde' LIKE '.%.%.'": False,
    "'azbzc' LIKE 'a_b_c'": True,
    "'abc' LIKE 'a_b_c'": False,
    r"'a_b_c' LIKE 'a\_b\_c'": True,
    r"'azbzc' LIKE 'a\_b\_c'": False,
    r"'a%b%c' LIKE 'a\%b\%c'": True,
    r"'ab\c' LIKE 'ab\c'": True,
    "'abc' NOT LIKE 'abc'": False,
    r"myext LIKE 'abc%123\%456\_d_f'": True,
    "234 LIKE '23_'": True,
    "FALSE LIKE 'fal%'": True,
    "source LIKE 'https://%'": True,
    "type like '%.error'": True,
    # EXISTS and IN
    "EXISTS subject": True,
    "EXISTS missing": False,
    "NOT EXISTS missing": True,
    "hop IN (4, 5)": True,
    "myint IN ('4', '10')": True,
    "1 NOT IN (2, 3)": True,
    "'a' IN (1, TRUE, 'a')": True,
    "TRUE IN ('false', 'true')": True,
    # casts
    "INT('-1')": -1,
    "INT(TRUE)": 1,
    "BOOL('TRUE')": True,
    "BOOL(-50)": True,
    "BOOL(0)": False,
    "STRING(TRUE)": "true",
    "STRING(-1)": "-1",
    "IS_INT('x')": False,
    "IS_BOOL('False')": True,
    # functions, in any case
    "LENGTH(TRUE)": 4,
    "length('')": 0,
    "CONCAT()": "",
    "CONCAT('a', 1, TRUE)": "a1true",
    "CONCAT_WS(',')": "",
    "CONCAT_WS(',', 'a', 'b', 'c')": "a,b,c",
    "LOWER('AbC')": "abc",
    "Upper('AbC')": "ABC",
    "TRIM('  a b ')": "a b",
    "LEFT('abc', 2)": "ab",
    "LEFT('abc', 10)": "abc",
    "RIGHT('abc', 2)": "bc",
    "RIGHT('abc', 0)": "",
    "SUBSTRING('Quadratically', 5)": "ratically",
    "SUBSTRING('Sakila', -3)": "ila",
    "SUBSTRING('Sakila', -5, 3)": "aki",
    "SUBSTRING('abcdef', 2, 4)": "bcde",
    "SUBSTRING('abcdef', 5, 400)": "ef",
    "SUBSTRING('abc', 0, 1)": "",
    "ABS(-10)": 10,
    "INT(hop) < int(ttl) and int(hop) < 1000": True,
}

FAILURES = {  # expression -> value beside the error, kind of error
    "missing": (False, "missingAttribute"),
    "missing = 2": (False, "missingAttribute"),
    "missing != 2": (False, "missingAttribute"),
    "NOT missing": (False, "missingAttribute"),
    "-missing": (0, "missingAttribute"),
    "missing / 0": (0, "missingAttribute"),
    "missing LIKE 'a%'": (False, "missingAttribute"),
    "NOT (missing = 2)": (False, "missingAttribute"),
    "id = 'x' OR missing LIKE '%ext'": (False, "missingAttribute"),
    "UPPER(missing)": ("", "missingAttribute"),
    "5 / 0": (0, "math"),
    "5 % 0": (0, "math"),
    "true and (1 != 1 / 0)": (False, "math"),
    "ABS(-2147483648)": (2147483647, "math"),
    "2147483647 + 1": (2147483647, "math"),
    "-2147483648 - 1": (-2147483648, "math"),
    "-2147483648 / -1": (2147483647, "math"),
    "INT('ABC')": (0, "cast"),
    "INT('2147483648')": (0, "cast"),
    "INT('1_0')": (0, "cast"),
    "BOOL('ABC')": (False, "cast"),
    "word = 10": (False, "cast"),
    "1 IN ('abc')": (False, "cast"),
    "LEFT('abc', -2)": ("abc", "functionEvaluation"),
    "RIGHT('abc', -2)": ("abc", "functionEvaluation"),
    "SUBSTRING('abcdef', 10)": ("", "functionEvaluation"),
    "SUBSTRING('abcdef', -10, 10)": ("", "functionEvaluation"),
    "SUBSTRING('abcdef', 1, -1)": ("", "functionEvaluation"),
}

REFUSED = {  # expression -> kind, place
    "": ("parse", 0),
    "1 +": ("parse", 3),
    "(1": ("parse", 2),
    "1 1": ("parse", 2),
    "'abc": ("parse", 0),
    "a = b = ;": ("parse", 8),
    "id LIKE source": ("parse", 8),
    "id NOT = 1": ("parse", 7),
    "myId = 1": ("parse", 0),
    "2147483648": ("parse", 0),
    "-2147483649": ("parse", 1),
    "id IN ()": ("parse", 7),
    "EXISTS 'id'": ("parse", 7),
    "CONCAT_WS()": ("missingFunction", 0),
    "ABS(1, 2)": ("missingFunction", 0),
    "NOPE(1)": ("missingFunction", 0),
}


@pytest.mark.parametrize("expression", VALUES)
def test_an_expression_has_a_value(expression: str) -> None:
    evaluation = parse_expression(expression).evaluate(EVENT)
    assert evaluation.errors == ()
    assert evaluation.value == VALUES[expression]
    assert type(evaluation.value) is type(VALUES[expression])


@pytest.mark.parametrize("expression", FAILURES)
def test_a_failure_has_a_value_too_and_lets_no_event_pass(expression: str) -> None:
    compiled = parse_expression(expression)
    value, [error] = compiled.evaluate(EVENT)
    assert (value, error.kind) == FAILURES[expression]
    assert not compiled.holds(EVENT)


@pytest.mark.parametrize("expression", REFUSED)
def test_a_wrong_expression_is_refused_at_its_place(expression: str) -> None:
    with pytest.raises(Refused) as refused:
        parse_expression(expression)
    assert (refused.value.kind, refused.value.at) == REFUSED[expression]


def test_only_true_passes() -> None:
    assert parse_expression("mybool").holds(EVENT)
    assert not parse_expression("myint").holds(EVENT)
    assert not parse_expression("'true'").holds(EVENT)


def test_the_fault_is_told_to_the_user() -> None:
    with pytest.raises(BadInput, match=r"filters\[0\].sql, at character 5: .*'myType'") as refused:
        compile_expression("NOT myType = 'x'", where="filters[0].sql")
    assert "a-z and 0-9" in refused.value.hint


@pytest.mark.parametrize(
    "hostile",
    [
        "(" * 5000 + "1",
        "NOT " * 1500 + "TRUE",
        "1" + "+1" * 900,
        "1" * 8000,
        "'" + "a" * 9000 + "'",
        "ABS(" * 300 + "1" + ")" * 300,
        "-" * 1900 + "1",
    ],
)
def test_size_and_depth_are_bounded(hostile: str) -> None:
    with pytest.raises(Refused):
        parse_expression(hostile)


def test_a_long_chain_of_logic_is_fine() -> None:
    assert parse_expression(" OR ".join(f"id = '{n}'" for n in range(300)) + " OR TRUE").holds(EVENT)


@given(st.text(alphabet="ab_%\\'", max_size=12), st.text(alphabet="ab_%\\", max_size=12))
def test_like_agrees_with_its_definition(pattern: str, text: str) -> None:
    pattern = pattern.replace("'", "")
    if pattern.endswith("\\"):
        pattern += "a"

    def matches(tokens: list[str], rest: str) -> bool:
        if not tokens:
            return not rest
        token, *others = tokens
        if token == "%":
            return any(matches(others, rest[cut:]) for cut in range(len(rest) + 1))
        return bool(rest) and (token == "_" or token[-1] == rest[0]) and matches(others, rest[1:])

    tokens: list[str] = []
    for character in pattern:
        if tokens and tokens[-1] == "\\" and character in "%_":
            tokens[-1] = "\\" + character
        else:
            tokens.append(character)
    expected = matches(tokens, text)
    assert parse_expression(f"subject LIKE '{pattern}'").holds(Seen(subject=text)) is expected


@given(
    st.text(max_size=60)
    | st.lists(st.sampled_from(["NOT", "(", ")", "1", "id", "'x'", "LIKE", "IN", ",", "ABS", "-", "=", "AND"])).map(" ".join)
)
def test_any_text_is_compiled_or_refused(text: str) -> None:
    try:
        compiled = parse_expression(text)
    except Refused as refused:
        place = refused.at
    else:
        compiled.evaluate(EVENT)
        place = 0
    assert 0 <= place <= len(text)
