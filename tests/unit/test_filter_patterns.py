"""Content patterns."""

from __future__ import annotations

import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dayfly.errors import BadInput
from dayfly.events.filters import compile_filters, glob
from dayfly.events.filters.patterns import compile_pattern
from tests.support.seen import Seen

DOCUMENT = {
    "source": "aws.ec2",
    "region": "us-east-1",
    "ip": "10.0.0.123",
    "ip6": "2001:db8::1",
    "state": "Running",
    "empty": "",
    "nothing": None,
    "flag": True,
    "count": 5,
    "price": 4.5,
    "tags": ["blue", "green"],
    "none": [],
    "file": "dir/lib/photo.PNG",
    "star": "a*b\\c",
    "detail": {"name": "n", "items": [{"sku": "a", "qty": 1}, {"sku": "b", "qty": 20}]},
}

CASES: list[tuple[dict[str, Any], bool]] = [
    ({"source": ["aws.ec2"]}, True),
    ({"source": ["aws.s3", "aws.ec2"]}, True),
    ({"source": ["aws.ec2"], "region": ["eu-1"]}, False),
    ({"empty": [""]}, True),
    ({"nothing": [None]}, True),
    ({"missing": [None]}, False),
    ({"flag": [True]}, True),
    ({"count": [True]}, False),
    ({"count": [5.0]}, True),
    ({"count": ["5"]}, False),
    ({"tags": ["green"]}, True),
    ({"tags": ["red"]}, False),
    ({"region": [{"prefix": "us-"}]}, True),
    ({"region": [{"prefix": {"equals-ignore-case": "US-"}}]}, True),
    ({"file": [{"suffix": ".PNG"}]}, True),
    ({"file": [{"suffix": ".png"}]}, False),
    ({"file": [{"suffix": {"equals-ignore-case": ".png"}}]}, True),
    ({"file": [{"suffix": ""}]}, True),
    ({"state": [{"equals-ignore-case": "running"}]}, True),
    ({"file": [{"wildcard": "*/lib/*"}]}, True),
    ({"file": [{"wildcard": "dir/*.png"}]}, False),
    ({"star": [{"wildcard": r"a\*b\\*"}]}, True),
    ({"state": [{"anything-but": "Running"}]}, False),
    ({"state": [{"anything-but": ["Stopped", "Pending"]}]}, True),
    ({"count": [{"anything-but": [5, 6]}]}, False),
    ({"missing": [{"anything-but": "x"}]}, False),
    ({"region": [{"anything-but": {"prefix": "us-"}}]}, False),
    ({"region": [{"anything-but": {"prefix": ["eu-", "ap-"]}}]}, True),
    ({"file": [{"anything-but": {"wildcard": "*/lib/*"}}]}, False),
    ({"state": [{"anything-but": {"equals-ignore-case": ["running"]}}]}, False),
    ({"count": [{"numeric": [">", 0, "<=", 5]}]}, True),
    ({"count": [{"numeric": ["<", 5]}]}, False),
    ({"price": [{"numeric": ["=", 4.5]}]}, True),
    ({"flag": [{"numeric": ["=", 1]}]}, False),
    ({"ip": [{"cidr": "10.0.0.0/24"}]}, True),
    ({"ip": [{"cidr": "10.0.1.0/24"}]}, False),
    ({"ip6": [{"cidr": "2001:db8::/32"}]}, True),
    ({"state": [{"cidr": "0.0.0.0/0"}]}, False),
    ({"state": [{"exists": True}]}, True),
    ({"missing": [{"exists": True}]}, False),
    ({"missing": [{"exists": False}]}, True),
    ({"none": [{"exists": False}]}, True),
    ({"missing": {"deeper": [{"exists": False}]}}, True),
    ({"detail": {"name": ["n"]}}, True),
    ({"detail": {"items": {"sku": ["b"], "qty": [{"numeric": [">", 10]}]}}}, True),
    ({"detail": {"items": {"sku": ["a"], "qty": [{"numeric": [">", 10]}]}}}, False),  # of one element, not of two
    ({"$or": [{"source": ["x"]}, {"count": [5]}]}, True),
    ({"state": ["Running"], "$or": [{"source": ["x"]}, {"count": [6]}]}, False),
    ({"detail": {"$or": [{"name": ["x"]}, {"name": ["n"]}]}}, True),
]


@pytest.mark.parametrize(("pattern", "passes"), CASES, ids=[str(case[0]) for case in CASES])
def test_a_pattern_matches(pattern: dict[str, Any], passes: bool) -> None:
    assert compile_pattern(pattern)(DOCUMENT) is passes


def test_a_pattern_sees_an_events_attributes_and_its_data() -> None:
    event = Seen({"amount": 7, "detail": {"x": 1}}, type="order.placed")
    assert compile_filters([{"pattern": {"type": ["order.placed"], "data": {"amount": [7]}}}])(event)
    assert compile_filters([{"pattern": {"detail-type": ["order.placed"], "detail": {"amount": [7]}}}])(event)
    assert compile_filters([{"pattern": {"subject": [{"exists": False}], "data": {"b": [{"exists": False}]}}}])(event)
    assert not compile_filters([{"pattern": {"data": {"amount": [8]}}}])(event)


@pytest.mark.parametrize("data", [b"", b"{", b"\xff", b"[" * 100_000, None])
def test_data_that_is_no_json_matches_nothing(data: bytes | None) -> None:
    assert not compile_filters([{"pattern": {"data": {"amount": [7]}}}])(Seen(data))


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ([], "pattern: an object"),
        ({}, "pattern: an object"),
        ({"a": "x"}, "pattern.a: a list"),
        ({"a": []}, "pattern.a: a list"),
        ({"a": [["x"]]}, "pattern.a[0]"),
        ({"a": [{"regex": "x"}]}, "a matcher is an object with one of anything-but, cidr"),
        ({"a": [{"prefix": 1}]}, "pattern.a[0].prefix"),
        ({"a": [{"numeric": [">", "1"]}]}, "pattern.a[0].numeric"),
        ({"a": [{"numeric": [">"]}]}, "pattern.a[0].numeric"),
        ({"a": [{"numeric": [">", 10**400]}]}, "pattern.a[0].numeric"),
        ({"a": [{"cidr": "10.0.0.0/99"}]}, "an address range"),
        ({"a": [{"exists": "yes"}]}, "true or false"),
        ({"a": [{"wildcard": "a**"}]}, "says no more"),
        ({"a": [{"wildcard": "a\\b"}]}, "backslash"),
        ({"a": [{"anything-but": {"cidr": "x"}}]}, "one of prefix"),
        ({"a": [{"anything-but": []}]}, "one value or more"),
        ({"$or": [{"a": [1]}]}, "pattern.$or"),
        ({"a": {"b": {}}}, "pattern.a.b: an object"),
    ],
)
def test_a_wrong_pattern_is_refused_with_its_place(pattern: Any, message: str) -> None:
    with pytest.raises(BadInput) as refused:
        compile_pattern(pattern)
    assert message in refused.value.detail


def test_size_and_depth_are_bounded() -> None:
    deep: dict[str, Any] = {"a": [1]}
    for _ in range(3000):
        deep = {"a": deep}
    for hostile in (deep, {"a": list(range(1001))}, {"a": [{"prefix": "x" * 5000}]}):
        with pytest.raises(BadInput):
            compile_pattern(hostile)


def test_a_hostile_wildcard_costs_little() -> None:
    """A backtracking matcher would need more steps than there are atoms."""
    matches = glob.matcher(glob.wildcard("*a" * 500 + "*b"))
    begun = time.process_time()
    assert not matches("a" * 60_000)
    assert time.process_time() - begun < 5.0


@given(st.text(alphabet="ab*", max_size=8), st.text(alphabet="ab", max_size=10))
def test_wildcards_agree_with_their_definition(pattern: str, text: str) -> None:
    def matches(rest: str, value: str) -> bool:
        if not rest:
            return not value
        if rest[0] == "*":
            return any(matches(rest[1:], value[cut:]) for cut in range(len(value) + 1))
        return value[:1] == rest[0] and matches(rest[1:], value[1:])

    assert glob.matcher(glob.wildcard(pattern))(text) is matches(pattern, text)
