"""Events through a small storm (the large one: python -m tests.crash.storm), and past every point where a server can die."""

from __future__ import annotations

from pathlib import Path

from tests.crash.storm import storm


def test_a_storm_loses_nothing_and_keeps_order(tmp_path: Path) -> None:
    report = storm(tmp_path, kills=8, events=400, seed=3)
    assert report.fine, report
    assert report.pending == 0
    assert report.came == report.acknowledged == 400
