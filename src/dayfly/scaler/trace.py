"""Reads the public Azure Functions traces: calls per function and minute, durations, memory.

The format is that of AzureFunctionsDataset2019 (github.com/Azure/AzurePublicDataset) and of the samples made of it: a row a function,
identifying columns whose names begin with `Hash`, perhaps `Trigger`, and a column a minute named by its number (with or without
`minute_` before it). Files may be gzipped. Rows come one at a time: a trace of any length fits into memory.
"""

from __future__ import annotations

import csv
import gzip
import io
from collections.abc import Iterator
from pathlib import Path

from msgspec import Struct

from ..errors import BadInput

_LONGEST_LINE = 1 << 20  # characters


class FunctionTrace(Struct, frozen=True):
    """The calls of one function."""

    function: str
    app: str
    owner: str
    trigger: str
    length: int  # minutes of the trace
    counts: tuple[tuple[int, int], ...]  # (minute, calls), only minutes with calls, in order


def read_calls(path: Path) -> Iterator[FunctionTrace]:
    """The rows of an invocations file. Raises BadInput with file and line for what is not in the format."""
    rows = _rows(path)
    header = next(rows, (1, []))[1]
    places = {name: place for place, name in enumerate(header)}
    if "HashFunction" not in places:
        raise BadInput(
            f"{path} is not an invocations file: its first line has no column HashFunction",
            hint="Give the file (or its folder) of an Azure Functions 2019 trace: HashFunction, HashOwner, HashApp, minutes 1, 2, ...",
        )
    minutes = [place for place, name in enumerate(header) if name.removeprefix("minute_").isdigit()]
    if not minutes:
        raise BadInput(f"{path} has no columns of minutes", hint="They are named 1, 2, ... or minute_1, minute_2, ...")
    for line, row in rows:
        if len(row) != len(header):
            raise BadInput(f"{path}:{line} has {len(row)} fields, the header has {len(header)}", file=str(path), line=line)
        yield FunctionTrace(
            row[places["HashFunction"]],
            row[places["HashApp"]] if "HashApp" in places else "",
            row[places["HashOwner"]] if "HashOwner" in places else "",
            row[places["Trigger"]] if "Trigger" in places else "",
            len(minutes),
            tuple(
                (minute, _count(row[place], path, line))
                for minute, place in enumerate(minutes)
                if row[place] not in ("0", "", "0.0")
            ),
        )


def read_memory(path: Path) -> dict[str, float]:
    """Mean allocated MiB by application."""
    return {
        row["HashApp"]: _number(row["AverageAllocatedMb"], path, line)
        for line, row in _table(path, "HashApp", "AverageAllocatedMb")
    }


def read_durations(path: Path) -> dict[str, float]:
    """Mean seconds of a call by function."""
    return {
        row["HashFunction"]: _number(row["Average"], path, line) / 1000 for line, row in _table(path, "HashFunction", "Average")
    }


class TraceFiles(Struct, frozen=True):
    """The files of a trace; the last two may be missing."""

    calls: Path
    memory: Path | None
    durations: Path | None


def find(place: Path) -> TraceFiles:
    """The files in a folder, by the columns of their first line; or one invocations file alone."""
    if place.is_file():
        return TraceFiles(place, None, None)
    calls = memory = durations = None
    for path in sorted(place.glob("*.csv*")) if place.is_dir() else ():
        header = next(_rows(path), (1, []))[1]
        if "AverageAllocatedMb" in header:
            memory = path
        elif "Average" in header and "HashFunction" in header:
            durations = path
        elif "HashFunction" in header and calls is None:
            calls = path
    if calls is None:
        raise BadInput(f"there is no trace in {place}", hint="Expected: a CSV file whose header has HashFunction and minutes.")
    return TraceFiles(calls, memory, durations)


def _rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as raw:
            text = io.TextIOWrapper(raw, encoding="utf-8", newline="")
            yield from enumerate(csv.reader(_lines(text, path)), 1)
    except (OSError, EOFError, UnicodeDecodeError, csv.Error) as error:
        raise BadInput(f"{path} cannot be read: {error}") from error


def _lines(text: io.TextIOWrapper, path: Path) -> Iterator[str]:
    while line := text.readline(_LONGEST_LINE):
        if len(line) == _LONGEST_LINE:
            raise BadInput(f"{path} has a line of more than {_LONGEST_LINE} characters", hint="Is it a CSV file?")
        yield line


def _table(path: Path, *columns: str) -> Iterator[tuple[int, dict[str, str]]]:
    rows = _rows(path)
    header = next(rows, (1, []))[1]
    missing = [column for column in columns if column not in header]
    if missing:
        raise BadInput(f"{path} has no column {missing[0]}", hint=f"It has: {', '.join(header[:12])}")
    for line, row in rows:
        if len(row) != len(header):
            raise BadInput(f"{path}:{line} has {len(row)} fields, the header has {len(header)}", file=str(path), line=line)
        yield line, dict(zip(header, row, strict=True))


def _number(text: str, path: Path, line: int) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < 1e15:
        raise BadInput(f"{path}:{line} has {text[:40]!r} where a number from 0 belongs", file=str(path), line=line)
    return value


def _count(text: str, path: Path, line: int) -> int:
    return int(_number(text, path, line))
