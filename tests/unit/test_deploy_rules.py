"""What a deploy keeps and refuses, as pure functions."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from dayfly.errors import BadInput, NameInvalid
from dayfly.model.function import Config, Function, Isolation, Target
from dayfly.model.profile import NATIVE
from dayfly.registry.deploy import KEEP_REVISIONS, check_config, check_name, content_digest, outdated
from dayfly.registry.registry import Route
from tests.support.boxes import revision


def function(traffic: tuple[Target, ...], **aliases: tuple[Target, ...]) -> Function:
    return Function(namespace="default", name="f", latest=9, traffic=traffic, aliases=aliases)


def test_old_revisions_go_but_never_those_that_somebody_can_reach() -> None:
    revisions = {n: revision("f", n) for n in range(1, KEEP_REVISIONS + 4)}
    kept = function((Target(KEEP_REVISIONS + 3), Target(2, tag="old")), prod=(Target(1),))
    assert [r.number for r in outdated(kept, revisions)] == [3, 4, 5]
    few = {n: revisions[n] for n in range(1, 5)}
    assert outdated(function((Target(4),)), few) == []


def test_traffic_is_split_by_weight() -> None:
    revisions = {n: revision("f", n) for n in (1, 2)}
    route = Route(function((Target(1, 1.0), Target(2, 3.0))), revisions)
    picked = [route.pick(route.function.traffic).number for _ in range(4000)]
    assert 0.70 < picked.count(2) / 4000 < 0.80
    assert route.only is None
    assert Route(function((Target(2),)), revisions).only is revisions[2]


@pytest.mark.parametrize("name", ["", "A", "a.b", "-a", "a-", "a\n", "a" * 64, "ä", "a/b"])
def test_names_that_are_refused(name: str) -> None:
    with pytest.raises(NameInvalid):
        check_name(name, NATIVE)


@pytest.mark.parametrize("name", ["a", "a1", "my-function_2", "0x", "a" * 63])
def test_names_that_are_fine(name: str) -> None:
    check_name(name, NATIVE)


@pytest.mark.parametrize(
    "config",
    [
        Config(min_instances=3, max_instances=2),
        Config(isolation=Isolation.PER_INVOCATION, concurrency=2),
        Config(timeout_s=90000),
        Config(runtime="python2.7"),
        Config(env={"DAYFLY_FUNCTION": "x"}),
        Config(secrets={"DAYFLY_FUNCTION": "x"}),
    ],
)
def test_configurations_that_contradict_themselves(config: Config) -> None:
    with pytest.raises(BadInput):
        check_config(config, NATIVE)


def test_a_value_that_no_environment_can_hold_is_refused_by_name() -> None:
    with pytest.raises(BadInput, match="variable KEY contains a NUL"):
        check_config(Config(env={"FINE": "a\nb", "KEY": "a\0b"}), NATIVE)


def test_the_digest_depends_on_everything_and_on_nothing_else() -> None:
    base = Config(env={"A": "1", "B": "2"})
    assert content_digest("p", base, "native") == content_digest("p", Config(env={"B": "2", "A": "1"}), "native")
    assert content_digest("p", base, "native") != content_digest("q", base, "native")
    assert content_digest("p", base, "native") != content_digest("p", replace(base, cpu=1.0), "native")
    assert content_digest("p", base, "native") != content_digest("p", base, "lambda")
