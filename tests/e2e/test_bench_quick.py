"""The whole bench, once and quickly: that every measure runs and what it writes is well formed. No timing decides anything here."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from bench.__main__ import MEASURES, main

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.timeout(300)
@pytest.mark.skipif(shutil.which("wrk") is None, reason="wrk is not installed")
@pytest.mark.skipif(os.geteuid() != 0, reason="the bare fork into namespaces needs root")
def test_a_quick_run_measures_everything(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "bench", "--quick", "--out", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    document = json.loads((tmp_path / "latest.json").read_text())
    assert document["machine"]["cores"] >= 1
    assert {row["measure"] for row in document["rows"]} == set(MEASURES)
    for row in document["rows"]:
        assert row["min"] <= row["median"] <= row["max"]
        assert row["rounds"]
        assert row["median"] > 0 or row["unit"] == "KB", row
    commands = {promise["command"] for promise in document["promises"]}
    promising = "warm cold redeploy density many durable events neighbour openwhisk lambda".split()
    assert commands == {f"python -m bench {name}" for name in promising}
    assert done.stdout in (tmp_path / "latest.md").read_text() + "\n"
    assert (tmp_path / "latest.png").stat().st_size > 10_000


def test_a_measure_that_does_not_exist_is_refused_with_those_that_do(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["speed"])
    assert "there is no measure 'speed'; there is: warm, steady, cold" in capsys.readouterr().err
