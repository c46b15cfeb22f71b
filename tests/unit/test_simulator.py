"""Replaying a real trace: the golden numbers of the shipped excerpt, the rules on small cases, and bad files."""

from __future__ import annotations

import gzip
from math import inf
from pathlib import Path

import pytest

from dayfly.errors import BadInput
from dayfly.scaler.policy import POLICIES, Fixed, Hybrid, fixed
from dayfly.scaler.simulator import compare, main, replay, replay_folder, table
from dayfly.scaler.trace import FunctionTrace, find, read_calls, read_durations, read_memory

EXCERPT = Path(__file__).parent.parent / "data" / "azure2019_60"

# p75 cold %, cold per active minute %, idle minutes in % of fixed-10; from a second, independent implementation.
GOLDEN = {
    "fixed 1 min": (100.0, 28.80, 53.1),
    "fixed 5 min": (100.0, 2.97, 93.4),
    "fixed 10 min": (100.0, 2.27, 100.0),
    "fixed 20 min": (100.0, 1.33, 108.9),
    "fixed 60 min": (80.0, 0.72, 128.2),
    "fixed 240 min": (25.0, 0.36, 156.6),
    "never unload": (25.0, 0.32, 218.6),
    "hybrid 4 h, 5 seen": (41.7, 0.68, 83.3),
    "hybrid 4 h, 10 seen": (25.0, 0.59, 86.7),
    "hybrid, 10 min fallback": (100.0, 1.04, 57.6),
}


def function(*minutes: int, length: int = 1440) -> FunctionTrace:
    return FunctionTrace("f", "a", "o", "", length, tuple((minute, 1) for minute in minutes))


def test_golden_numbers_of_the_excerpt() -> None:
    outcomes = {o.policy: o for o in replay_folder(EXCERPT)}
    base = outcomes["fixed 10 min"].idle_minutes
    found = {
        name: (round(o.p75_cold_percent, 1), round(o.cold_percent, 2), round(100 * o.idle_minutes / base, 1))
        for name, o in outcomes.items()
        if name in GOLDEN
    }
    assert found == GOLDEN
    assert {(o.functions, o.active) for o in outcomes.values()} == {(60, 18582)}


def test_the_hybrid_beats_every_fixed_time_that_wastes_as_much() -> None:
    outcomes = {o.policy: o for o in replay_folder(EXCERPT)}
    ours = outcomes["dayfly, 1 s start"]
    assert ours.cold < outcomes["fixed 10 min"].cold
    assert ours.idle_minutes < outcomes["fixed 10 min"].idle_minutes
    paper = outcomes["hybrid 4 h, 5 seen"]
    assert paper.cold < outcomes["fixed 60 min"].cold
    assert paper.idle_minutes < outcomes["fixed 5 min"].idle_minutes


def test_replay_counts_cold_minutes_and_idle_time_to_the_end() -> None:
    assert replay(function(0, 10, 21, length=100), Fixed(600.0)) == (2, 600.0 + 600.0 + 600.0)
    assert replay(function(0, 10, 21, length=25), Fixed(600.0)) == (2, 600.0 + 600.0 + 180.0)
    assert replay(function(5), Fixed(inf)) == (1, 1434 * 60.0)
    assert replay(function(), Fixed(inf)) == (0, 0.0)


def test_prewarming_is_back_in_time() -> None:
    half_hourly = function(*range(0, 1440, 30))
    assert replay(half_hourly, Fixed(600.0))[0] == 48
    cold, idle_s = replay(half_hourly, Hybrid())
    assert cold == 1
    assert idle_s < 5 * 1800 + 43 * 181 + 1800  # five full gaps to learn, then three minutes each


def test_memory_weighs_the_waste() -> None:
    big, small = function(0, 100), FunctionTrace("g", "b", "o", "", 1440, ((0, 1), (100, 1)))
    (outcome,) = compare([big, small], {"ten": fixed(10)}, {"a": 30.0})
    assert outcome.idle_minutes == 40
    assert outcome.idle_mb_minutes == 20 * 30.0 + 20 * 1.0


def test_an_empty_trace_has_an_outcome() -> None:
    (outcome,) = compare([function()], {"ten": fixed(10)})
    assert (outcome.functions, outcome.cold_percent, outcome.p75_cold_percent) == (0, 0.0, 0.0)
    assert "ten" in table([outcome])


# --- files ------------------------------------------------------------------------------------------------------------


def test_reads_the_excerpt() -> None:
    files = find(EXCERPT)
    assert files.memory
    assert files.durations
    rows = list(read_calls(files.calls))
    memory, durations = read_memory(files.memory), read_durations(files.durations)
    assert len(rows) == 60
    assert all(row.length == 1440 and row.app in memory and row.function in durations for row in rows)
    assert all(0 <= seconds < 1000 for seconds in durations.values())


def test_both_ways_of_naming_minutes(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("HashOwner,HashApp,HashFunction,Trigger,480,481,482\no,a,f,timer,0,3,1\n")
    (tmp_path / "b.csv").write_text("HashFunction,HashOwner,HashApp,minute_1,minute_2\nf,o,a,,2.0\n")
    assert list(read_calls(tmp_path / "a.csv")) == [FunctionTrace("f", "a", "o", "timer", 3, ((1, 3), (2, 1)))]
    assert list(read_calls(tmp_path / "b.csv")) == [FunctionTrace("f", "a", "o", "", 2, ((1, 2),))]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no column HashFunction"),
        ("a,b\n1,2\n", "no column HashFunction"),
        ("HashFunction,HashApp\nf,a\n", "no columns of minutes"),
        ("HashFunction,1,2\nf,1\n", r"t\.csv:2 has 2 fields, the header has 3"),
        ("HashFunction,1\nf,1\nf,many\n", r"t\.csv:3 has 'many' where a number"),
        ("HashFunction,1\nf,-1\n", "number from 0"),
        ("HashFunction,1\nf,nan\n", "number from 0"),
        ("HashFunction,1\nf,1e400\n", "number from 0"),
        ("HashFunction,1\n" + "x" * (1 << 20), "line of more than"),
        ("HashFunction,1\n\0,\ud800", None),
    ],
)
def test_bad_files_are_named(tmp_path: Path, text: str, message: str | None) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    with pytest.raises(BadInput, match=message or "cannot be read"):
        list(read_calls(path))


def test_a_damaged_archive_and_a_folder_without_trace(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no trace in"):
        find(tmp_path)
    with pytest.raises(BadInput, match="no trace in"):
        find(tmp_path / "missing")
    broken = tmp_path / "t.csv.gz"
    broken.write_bytes(gzip.compress(b"HashFunction,1\n" + b"f,1\n" * 1000)[:-20])
    with pytest.raises(BadInput, match="cannot be read"):
        list(read_calls(broken))


def test_command_line(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main([str(EXCERPT)]) == 0
    shown = capsys.readouterr().out
    assert "60 functions, 18582 active minutes" in shown
    assert all(name in shown for name in POLICIES)
    assert main([str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: there is no trace in")
    assert "HashFunction" in error
