"""The lines that Lambda writes around what a call prints: START, END, REPORT and their like, as text or as JSON.

https://docs.aws.amazon.com/lambda/latest/dg/monitoring-cloudwatchlogs-logformat.html says how, and which events a system log level
lets through; .../telemetry-schema-reference.html what is in them.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

import msgspec
from msgspec import Struct

from ...model.call import Invocation, Result, Status
from .crash import OF_PLATFORM, Crash, ended, timed_out
from .record import LATEST, RUNTIME_VERSION

NOT_LOADED: Final = "the code was not loaded"  # how the platform's word for that begins
_WITHIN: Final = re.compile(r" within ([\d.]+) s ")
_DEBUG, _INFO, _WARN = range(3)
_LEVELS: Final = {"DEBUG": _DEBUG, "INFO": _INFO, "WARN": _WARN}


class CallLog(Struct, frozen=True, kw_only=True):
    """What the log of a call that has ended tells of it."""

    request: str  # its id, as AWS writes ids
    function: str = ""
    began: float  # seconds since the epoch
    end: float
    run_s: float
    memory_mb: int
    peak_kb: int = 0
    init_s: float = 0.0  # its environment was made for it
    lost_s: float = 0.0  # a first try to make one, which took too long
    crash: Crash | None = None
    failed: str = ""  # kind of the error, if its runtime described one
    load_s: float = 0.0  # a try to make one that failed, if it ended with that
    options: Mapping[str, str] = {}  # of the revision

    def start(self) -> list[str]:
        """The line before what it prints."""
        version = self.options.get("version", LATEST)
        if self._json:
            return self._event("start", _INFO, self.began, {"requestId": self.request, "version": version})
        return [f"START RequestId: {self.request} Version: {version}"]

    def finish(self) -> list[str]:
        """The lines after it."""
        return self._records() if self._json else self._texts()

    def birth(self, identifier: str) -> list[str]:
        """The lines that begin a stream: how its environment came to be. `identifier`: of the environment."""
        runtime, options = self.options.get("runtime", ""), self.options
        name, digits = re.fullmatch(r"([a-z]*)(.*)", runtime).groups() if runtime else ("provided", "")  # type: ignore[union-attr]
        version = f"{name}:{digits.removesuffix('.x').removeprefix('.')}.v1"
        arn = f"arn:aws:lambda:{options.get('region', 'us-east-1')}::runtime:{RUNTIME_VERSION}"
        if not self._json:
            first = [f"INIT_START Runtime Version: {version}\tRuntime Version ARN: {arn}"]
            if self.lost_s:
                first.append(f"INIT_REPORT Init Duration: {self.lost_s * 1000:.2f} ms\tPhase: init\tStatus: timeout")
            if self.load_s:
                which = "invoke" if self.lost_s else "init"
                failed = f"INIT_REPORT Init Duration: {self.load_s * 1000:.2f} ms\tPhase: {which}\tStatus: {self._status}"
                first.append(failed + (f"\tError Type: {self._error_type}" if self._error_type else ""))
            return first
        kind = options.get("initialization", "on-demand")
        started = {
            "initializationType": kind,
            "phase": "init",
            "runtimeVersion": version,
            "runtimeVersionArn": arn,
            "functionName": self.function,
            "functionVersion": options.get("version", LATEST),
            "instanceId": identifier,
            "instanceMaxMemory": self.memory_mb << 20,
        }
        events = self._event("initStart", _INFO, self.began, started)
        phase: dict[str, Any] = {"initializationType": kind, "phase": "init", "status": "success"}
        took = self.init_s or self.lost_s or self.load_s
        if self.lost_s:
            phase["status"] = "timeout"
        elif self.load_s:
            phase |= {"status": "error", "errorType": self._error_type}
        bad = phase["status"] != "success"
        events += self._event("initRuntimeDone", _WARN if bad else _DEBUG, self.began, phase)
        level = _WARN if bad else _DEBUG if kind == "on-demand" else _INFO
        return events + self._event("initReport", level, self.began, phase | {"metrics": {"durationMs": round(took * 1000, 3)}})

    @property
    def _json(self) -> bool:
        return self.options.get("format") == "JSON"

    @property
    def _error_type(self) -> str:
        if self.crash is not None and self.crash.kind == "Sandbox.Timedout":
            return ""
        return self.crash.kind if self.crash is not None else self.failed

    @property
    def _status(self) -> str:
        if self.crash is not None:
            return "error" if self._error_type else "timeout"
        return "error" if self.failed else ""

    def _texts(self) -> list[str]:
        lines = []
        crash, milliseconds = self.crash, self.run_s * 1000
        if crash is not None and not self._error_type:
            lines.append(f"{_stamp(self.end)} {self.request} {crash.message}\n\n")
        elif crash is not None and crash.own:
            lines.append(f"{crash.line(self.request)}\n{crash.kind}")
        lines.append(f"END RequestId: {self.request}")
        report = (
            f"REPORT RequestId: {self.request}\tDuration: {milliseconds:.2f} ms\tBilled Duration: {max(1, math.ceil(milliseconds))} ms\t"
            f"Memory Size: {self.memory_mb} MB\tMax Memory Used: {max(1, self.peak_kb // 1024)} MB\t"
        )
        if self.init_s:
            report += f"Init Duration: {self.init_s * 1000:.2f} ms\t"
        if self._status:
            report += f"Status: {self._status}"
            if self._error_type:
                report += f"\tError Type: {self._error_type}"
        return [*lines, report]

    def _records(self) -> list[str]:
        milliseconds = self.run_s * 1000
        told: dict[str, Any] = {"requestId": self.request, "status": self._status or "success"}
        if self._error_type:
            told["errorType"] = self._error_type
        level = _WARN if self._status else _DEBUG
        lines = self._event("runtimeDone", level, self.end, told | {"metrics": {"durationMs": round(milliseconds, 3)}})
        metrics = {
            "durationMs": round(milliseconds, 3),
            "billedDurationMs": max(1, math.ceil(milliseconds)),
            "memorySizeMB": self.memory_mb,
            "maxMemoryUsedMB": max(1, self.peak_kb // 1024),
        }
        if self.init_s:
            metrics["initDurationMs"] = round(self.init_s * 1000, 3)
        level = _WARN if self._status else _INFO
        return lines + self._event("report", level, self.end, {"requestId": self.request, "metrics": metrics} | told)

    def _event(self, kind: str, level: int, moment: float, record: dict[str, Any]) -> list[str]:
        """A line; none if the function's system log level keeps it back."""
        if level < _LEVELS.get(self.options.get("system", "INFO"), _INFO):
            return []
        return [msgspec.json.encode({"time": _stamp(moment), "type": f"platform.{kind}", "record": record}).decode()]


def of_result(request: str, result: Result, options: Mapping[str, str], memory_mb: int, now: float) -> CallLog:
    """Of a call that its runtime answered."""
    timings = result.timings
    kind = result.error.type if result.error is not None else ""
    return CallLog(
        request=request,
        began=now - timings.run,
        end=now,
        run_s=timings.run,
        memory_mb=memory_mb,
        peak_kb=result.rss_kb,
        init_s=timings.init if result.cold else 0.0,
        failed=kind if kind.startswith(("Runtime.", "Function.")) else "",
        options=options,
    )


def of_record(request: str, record: Invocation, options: Mapping[str, str]) -> CallLog:
    """Of any call that got as far as an environment."""
    timings, status = record.timings, record.status
    crash, failed = None, ""
    load_s = 0.0
    if status is Status.TIMED_OUT:
        allowed = _WITHIN.search(record.error_message)
        crash = timed_out(float(allowed[1]) if allowed else timings.run)
        load_s = timings.run if record.error_message.startswith(NOT_LOADED) else 0.0
    elif status in (Status.CRASHED, Status.INIT_FAILED):
        load_s = timings.run or timings.queue if status is Status.INIT_FAILED else 0.0  # run: of one that began with its call
        kind, colon, message = record.error_message.partition(": ")
        if not colon or " " in kind:  # the platform's words
            crash = ended(record.error_message)
        elif kind.startswith(OF_PLATFORM):
            crash = Crash(kind, message)
        else:
            failed = kind
    elif record.error_type.startswith(("Runtime.", "Function.")):
        failed = record.error_type
    began = record.started + timings.queue + timings.cold
    return CallLog(
        request=request,
        function=record.function,
        began=began,
        end=began + timings.run,
        run_s=timings.run,
        memory_mb=record.memory_mb,
        peak_kb=record.peak_kb,
        init_s=timings.init if record.cold else 0.0,
        lost_s=timings.cold if record.cold and not timings.init else 0.0,
        crash=crash,
        failed=failed,
        load_s=load_s,
        options=options,
    )


def _stamp(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
