"""Filters of the CloudEvents Subscriptions API."""

from __future__ import annotations

from typing import Any

import pytest

from dayfly.errors import BadInput
from dayfly.events.filters import compile_filters
from tests.support.seen import Seen

ORDER = Seen(type="order.placed", source="/shop/eu", subject="photo.jpg", amount=120, vip=True)


@pytest.mark.parametrize(
    ("spec", "passes"),
    [
        ({"exact": {"type": "order.placed"}}, True),
        ({"exact": {"type": "order.placed", "source": "/shop/us"}}, False),
        ({"exact": {"amount": "120", "vip": "true"}}, True),
        ({"exact": {"missing": "x"}}, False),
        ({"prefix": {"source": "/shop", "type": "order."}}, True),
        ({"suffix": {"subject": ".jpg"}}, True),
        ({"suffix": {"subject": ".png"}}, False),
        ({"not": {"exact": {"missing": "x"}}}, True),
        ({"all": [{"prefix": {"type": "order."}}, {"not": {"suffix": {"type": ".placed"}}}]}, False),
        ({"any": [{"exact": {"type": "x"}}, {"sql": "amount > 100"}]}, True),
        ({"cesql": "EXISTS vip AND vip"}, True),
        ({"sql": "amount"}, False),
        ({"pattern": {"source": [{"prefix": "/shop/"}], "amount": [{"numeric": [">", 100]}]}}, True),
    ],
)
def test_a_filter_lets_pass_what_it_names(spec: dict[str, Any], passes: bool) -> None:
    assert compile_filters([spec])(ORDER) is passes


def test_all_filters_of_a_trigger_must_hold_and_none_lets_everything_pass() -> None:
    typed, eu = {"prefix": {"type": "order."}}, {"suffix": {"source": "/eu"}}
    assert compile_filters([])(ORDER)
    assert compile_filters([typed, eu])(ORDER)
    assert not compile_filters([typed, {"not": eu}])(ORDER)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("x", "filters[0]: a filter is an object"),
        ({}, "filters[0]: a filter is an object"),
        ({"exact": {"type": "a"}, "prefix": {"type": "a"}}, "one member"),
        ({"regex": {"type": "a"}}, "no filter dialect 'regex'"),
        ({"exact": {}}, "filters[0].exact"),
        ({"exact": {"type": ""}}, "filters[0].exact.type"),
        ({"exact": {"type": 1}}, "filters[0].exact.type"),
        ({"all": []}, "filters[0].all"),
        ({"any": [{"exact": {"type": "a"}}, {"not": []}]}, "filters[0].any[1].not: a filter is an object"),
        ({"sql": 1}, "filters[0].sql"),
        ({"sql": "1 +"}, "filters[0].sql, at character 4"),
    ],
)
def test_a_wrong_filter_is_refused_with_its_place(spec: Any, message: str) -> None:
    with pytest.raises(BadInput) as refused:
        compile_filters([spec])
    assert message in refused.value.detail


def test_depth_and_number_are_bounded() -> None:
    deep: dict[str, Any] = {"exact": {"type": "a"}}
    for _ in range(2000):
        deep = {"not": deep}
    with pytest.raises(BadInput, match="nested more than"):
        compile_filters([deep])
    wide = {"any": [{"exact": {"type": "a"}}] * 200}
    with pytest.raises(BadInput, match="256 filters"):
        compile_filters([wide, wide])
