"""Results: percentiles, ratios round by round, and what is written."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from bench.measures.cold import report as cold_report
from bench.measures.warm import Seen, promises
from bench.model import Finding, Promise, Row, percentile, ratios, shown
from bench.report import refresh, write
from bench.wrk import Load


@pytest.mark.parametrize(("percent", "value"), [(0, 1), (50, 2), (51, 3), (75, 3), (99, 4), (100, 4)])
def test_a_percentile_is_a_value_that_was_seen(percent: float, value: float) -> None:
    assert percentile([4, 1, 3, 2], percent) == value


def test_no_values_have_no_percentile() -> None:
    with pytest.raises(ValueError, match="no values"):
        percentile([], 50)


def test_ratios_compare_within_a_round() -> None:
    assert ratios([10, 30], [20, 30]) == (0.5, 1.0)
    with pytest.raises(ValueError):
        ratios([1, 2], [1])


@pytest.mark.parametrize(("value", "text"), [(12345.6, "12,346"), (99.44, "99.4"), (0.0912, "0.0912")])
def test_numbers_for_people(value: float, text: str) -> None:
    assert shown(value) == text


def load(rate: float, p50: float, p99: float) -> Seen:
    return Seen(Load(rate, p50, p99, 1000, 0), 50.0)


@pytest.mark.parametrize(("rate", "held"), [(14_000, True), (13_900, False)])
def test_the_warm_promise_is_the_median_ratio_of_rounds(rate: float, held: bool) -> None:
    seen = {
        ("floor", "hello", 1): [load(1, 0.10, 1.0)] * 3,
        ("floor", "hello", 32): [load(20_000, 1, 1), load(20_000, 1, 1), load(40_000, 1, 1)],
        ("Dayfly Python", "hello", 1): [load(1, 0.18, 4.1)] * 3,
        ("Dayfly Python", "hello", 32): [load(rate, 1, 1), load(20_000, 1, 1), load(1, 1, 1)],
    }
    found = [finding for finding in promises(seen) if isinstance(finding, Promise)]
    assert [promise.holds for promise in found] == [held, True, False]
    assert found[1].measured == "1.80x"


def test_cold_promises_are_about_all_starts_together() -> None:
    found = list(cold_report([[6.0] * 98 + [50.0] * 2], [[2.0] * 100], [149.0], [5.0]))
    assert [f.holds for f in found if isinstance(f, Promise)] == [True, True, False, False]


def test_everything_is_written(tmp_path: Path) -> None:
    findings: list[Finding] = [
        Row("warm", "floor, hello, 1 connection", "calls/s", (3.0, 1.0, 2.0)),
        Row("density", "PSS of one", "MB", (3.4,), "a note"),
        Promise("idle instance", "<= 4 MB", "3.4 MB", True, "python -m bench density"),
    ]
    write(tmp_path / "new", "latest", {"cores": 2}, findings)
    document = json.loads((tmp_path / "new" / "latest.json").read_text())
    assert document["machine"] == {"cores": 2}
    assert document["rows"][0] == {
        "measure": "warm",
        "what": "floor, hello, 1 connection",
        "unit": "calls/s",
        "median": 2.0,
        "min": 1.0,
        "max": 3.0,
        "rounds": [3.0, 1.0, 2.0],
        "note": "",
    }
    assert document["promises"][0]["holds"] is True
    text = (tmp_path / "new" / "latest.md").read_text()
    assert "| idle instance | <= 4 MB | 3.4 MB | yes | `python -m bench density` |" in text
    assert "| PSS of one | MB | 3.4 | 3.4 | 3.4 | a note |" in text
    assert (tmp_path / "new" / "latest.png").read_bytes().startswith(b"\x89PNG")


def test_the_specification_shows_the_last_run(tmp_path: Path) -> None:
    file = tmp_path / "SPECIFICATION.md"
    file.write_text("# Before\n<!-- measured -->\nformer\n<!-- /measured -->\nAfter\n")
    found = [Promise("deploy", "<= 150 ms", "200 ms", False, "python -m bench redeploy")]
    for _ in range(2):
        refresh(file, {"cores": 2}, found)
    text = file.read_text()
    assert text.startswith("# Before\n<!-- measured -->\n\n| promise |")
    assert "| deploy | <= 150 ms | 200 ms | **no** | `python -m bench redeploy` |" in text
    assert text.endswith("\n\nMeasured: cores 2.\n\n<!-- /measured -->\nAfter\n")
    assert "former" not in text
    file.write_text("nothing")
    with pytest.raises(ValueError, match="has no lines"):
        refresh(file, {}, found)


def test_the_projects_specification_can_be_refreshed(tmp_path: Path) -> None:
    copy = tmp_path / "SPECIFICATION.md"
    copy.write_text((Path(__file__).resolve().parents[2] / "SPECIFICATION.md").read_text())
    refresh(copy, {"cores": 2}, [])
    assert "Measured: cores 2." in copy.read_text()
