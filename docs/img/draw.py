"""Draws the pictures of the documentation from measurements.

    python docs/img/draw.py               draw them from measured.json
    python docs/img/draw.py --measure     first measure anew (two minutes and a half, with a server of its own), then draw

Colours are told apart by people who see few of them, and every line is also named beside itself.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
BLUE, RED, GREY, GREEN, SAND = "#2f6fde", "#d9480f", "#8a8f98", "#2b8a3e", "#e8b04b"
PORT = 18719
URL = f"http://127.0.0.1:{PORT}"
OFFSETS = {  # of names beside points that crowd
    "dayfly, 10 ms start": (8, -13),
    "dayfly, 1 s start": (-90, -3),
    "dayfly, 10 s start": (-102, -3),
    "hybrid 4 h, 5 seen": (-102, -3),
    "hybrid 4 h, 10 seen": (7, -12),
    "never unload": (4, 8),
}
NAP = "import time\n\n\ndef handler(event, context):\n    time.sleep(event['s'])\n    return {}\n"
HEAVY = (
    "import asyncio, decimal, email.message, http.client, xml.dom.minidom\n\n\ndef handler(event, context):\n    return {}\n"
)

mpl.rcParams.update(
    {"svg.fonttype": "none", "svg.hashsalt": "dayfly", "font.size": 10, "font.family": ["DejaVu Sans", "sans-serif"]}
)


# --- measuring --------------------------------------------------------------------------------------------------------


def dayfly(*arguments: str) -> str:
    return subprocess.run(
        [sys.executable, "-m", "dayfly", *arguments], check=True, text=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ).stdout


def ask(path: str, body: bytes | None = None) -> tuple[bytes, dict[str, str], float]:
    """Body, headers in lower case and milliseconds of one request."""
    request = urllib.request.Request(URL + path, data=body, headers={"content-type": "application/json"})
    began = time.perf_counter()
    with urllib.request.urlopen(request, timeout=60) as answer:
        data = answer.read()
        took = 1000 * (time.perf_counter() - began)
        return data, {name.lower(): value for name, value in answer.headers.items()}, took


def cold_starts(name: str, rounds: int = 25) -> dict[str, float]:
    """Medians in milliseconds: what a cold call spends where, and what a warm one takes."""
    rows, warm = [], []
    for _ in range(rounds):
        dayfly("recycle", name)
        time.sleep(0.2)  # the end of the old instance is not a part of the start of the new one
        _, headers, took = ask(f"/fn/default/{name}", b"{}")
        timing = {key: float(ms) for key, ms in re.findall(r"(\w+);dur=([\d.]+)", headers["server-timing"])}
        rows.append((headers["dayfly-invocation-id"], timing, took))
        warm.append(ask(f"/fn/default/{name}", b"{}")[2])
    time.sleep(1)  # records are written after the answer
    parts = []
    for identifier, timing, took in rows:
        record = json.loads(ask(f"/v1/namespaces/default/invocations/{identifier}")[0])
        init = 1000 * record["timings"]["init"]
        parts.append((timing["cold"] - init, init, timing["queue"] + timing["run"], took - timing["cold"] - timing["run"]))
    sandbox, init, run, rest = (statistics.median(column) for column in zip(*parts, strict=True))
    return {"sandbox": sandbox, "init": init, "run": run, "http": rest, "warm": statistics.median(warm)}


def burst() -> dict[str, list[list[float]]]:
    """Nothing, a trickle, sixteen at a time, a trickle, nothing: calls under way and instances, four times a second."""
    flying = [0]
    lock = threading.Lock()

    def caller(seconds: float) -> None:
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            with lock:
                flying[0] += 1
            ask("/fn/default/nap", b'{"s": 0.2}')
            with lock:
                flying[0] -= 1

    def play() -> None:
        for pause, callers, seconds in ((5, 1, 5), (0, 16, 10), (0, 1, 5)):
            time.sleep(pause)
            threads = [threading.Thread(target=caller, args=(seconds,)) for _ in range(callers)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()

    dayfly("recycle", "nap")
    time.sleep(0.5)
    player = threading.Thread(target=play)
    began = time.monotonic()
    player.start()
    samples: list[list[float]] = []
    while (at := time.monotonic() - began) < 130:
        found = json.loads(ask("/v1/namespaces/default/instances?function=nap")[0])["items"]
        samples.append([round(at, 2), flying[0], len(found), sum(one["state"] == "busy" for one in found)])
        time.sleep(0.25)
    player.join()
    usage = json.loads(ask("/v1/namespaces/default/usage?function=nap")[0])
    return {"samples": samples, "usage": [[usage["requests"], usage["billed_ms"], usage["gb_seconds"]]]}


def measure() -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        os.environ.update(DAYFLY_DATA=folder, DAYFLY_URL=URL)
        dayfly("up", "--detach", "--port", str(PORT))
        try:
            (Path(folder) / "nap.py").write_text(NAP)
            (Path(folder) / "heavy.py").write_text(HEAVY)
            dayfly("deploy", str(ROOT / "examples" / "hello"), "--name", "hello")
            dayfly("deploy", f"{folder}/heavy.py", "--name", "heavy")
            dayfly("deploy", f"{folder}/nap.py", "--name", "nap")
            return {"cold": {name: cold_starts(name) for name in ("hello", "heavy")}, "burst": burst()}
        finally:
            dayfly("down")


# --- drawing ----------------------------------------------------------------------------------------------------------


def save(figure: Any, name: str, folder: Path) -> None:
    figure.savefig(folder / f"{name}.svg", metadata={"Date": None})
    figure.savefig(folder / f"{name}.png", dpi=110) if folder != HERE else None
    plt.close(figure)


def bare(axes: Any) -> None:
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def draw_cold(cold: dict[str, dict[str, float]], folder: Path) -> None:
    figure, axes = plt.subplots(figsize=(8.6, 2.7), layout="constrained")
    kinds = (
        ("http", "HTTP in and out", GREY),
        ("sandbox", "fork, sandbox", BLUE),
        ("init", "your imports", SAND),
        ("run", "your handler", RED),
    )
    labels = {"hello": "hello", "heavy": "imports asyncio,\nemail, http, xml"}
    for place, name in enumerate(reversed(list(cold))):
        left = 0.0
        for key, label, colour in kinds:
            width = max(0.0, cold[name][key])
            axes.barh(place, width, left=left, color=colour, height=0.5, label=label if place == 0 else None)
            left += width
        axes.text(left, place, f"  {left:.0f} ms cold, {cold[name]['warm']:.1f} ms warm", va="center")
    axes.set_yticks(range(len(cold)), [labels[name] for name in reversed(list(cold))])
    axes.set_xlim(0, 1.45 * max(sum(c[k] for k, *_ in kinds) for c in cold.values()))
    axes.set(xlabel="milliseconds as the client sees them, medians of 25 cold calls")
    axes.legend(frameon=False, ncols=4, loc="lower left", bbox_to_anchor=(-0.02, 1.0), handlelength=1.2)
    bare(axes)
    save(figure, "cold-start", folder)


def draw_burst(burst: dict[str, list[list[float]]], folder: Path) -> None:
    at, flying, instances, _ = zip(*burst["samples"], strict=True)
    figure, axes = plt.subplots(figsize=(8.6, 3.4), layout="constrained")
    axes.fill_between(at, flying, color=BLUE, alpha=0.3, lw=0, step="post")
    axes.step(at, instances, color=RED, where="post", lw=1.6)
    top = max(instances)
    peak = at[instances.index(top)]
    last = max(moment for moment, calls in zip(at, flying, strict=True) if calls == max(flying))
    axes.text(last + 1.6, max(flying) * 0.55, "calls under way", color=BLUE)
    axes.text(peak + 12, top + 0.4, "instances", color=RED)
    axes.set(xlabel="seconds", ylabel="calls, instances", ylim=(0, top + 2.5), xlim=(0, 130))
    requests, billed, _ = burst["usage"][0]
    axes.set_title(f"{requests:.0f} calls of 200 ms: {billed / 1000:.0f} s were billed, the idle time was not", fontsize=10)
    axes.grid(alpha=0.25)
    bare(axes)
    save(figure, "scaling-run", folder)


def draw_rehearsals(folder: Path) -> None:
    """Two charts of the simulator, which runs the same decisions over time that is not waited for."""
    sys.path.insert(0, str(ROOT))
    from bench.keepalive import EXCERPT
    from bench.keepalive import burst as rehearse

    from dayfly.scaler.policy import BASE
    from dayfly.scaler.simulator import replay_folder

    report = rehearse()
    figure, axes = plt.subplots(figsize=(8.6, 3.6), layout="constrained")
    at = [sample.at for sample in report.samples]
    axes.fill_between(at, [s.running for s in report.samples], color=BLUE, alpha=0.35, lw=0, label="calls running")
    axes.step(at, [s.ready + s.starting for s in report.samples], color=RED, where="post", label="instances")
    axes.step(at, [s.reserve for s in report.samples], color="#343a40", ls=":", where="post", label="wanted by the autoscaler")
    axes.set(xlabel="seconds", ylabel="calls, instances")
    axes.set_title(
        f"{report.calls:,} calls, {report.cold} cold starts on demand, {report.ahead} ahead of need; "
        f"99 % waited at most {1000 * report.wait(99):.0f} ms",
        fontsize=10,
    )
    axes.legend(frameon=False)
    axes.grid(alpha=0.25)
    bare(axes)
    save(figure, "scaling-rehearsal", folder)

    outcomes = replay_folder(EXCERPT)
    base = next(outcome for outcome in outcomes if outcome.policy == BASE)
    figure, axes = plt.subplots(figsize=(8.6, 4.6), layout="constrained")
    for family, colour, marker in (("fixed", GREY, "o"), ("never", GREY, "o"), ("hybrid", BLUE, "s"), ("dayfly", RED, "D")):
        points = [
            (100 * outcome.idle_minutes / base.idle_minutes, outcome.cold_percent, outcome.policy)
            for outcome in outcomes
            if outcome.policy.startswith(family)
        ]
        axes.plot([p[0] for p in points], [p[1] for p in points], marker, color=colour, ls="-" if family == "fixed" else "")
        for waste, cold, name in points:
            right = family == "never"
            offset = OFFSETS.get(name, (7, 4))
            axes.annotate(
                name,
                (waste, cold),
                xytext=offset,
                textcoords="offset points",
                fontsize=8,
                color=colour,
                ha="right" if right else "left",
            )
    axes.set(
        yscale="log",
        xlabel="idle loaded time, per cent of keeping every function for ten minutes",
        ylabel="cold minutes per 100 minutes with calls",
    )
    axes.grid(alpha=0.25)
    bare(axes)
    save(figure, "keep-alive", folder)


def draw_states(folder: Path) -> None:
    """The states of `dayfly.model.instance`, and every transition that exists."""
    from dayfly.model.instance import TRANSITIONS

    places = {"starting": (0, 3), "idle": (3.2, 3), "busy": (6.4, 3), "draining": (6.4, 0), "stopped": (3.2, 0)}
    notes = {
        "starting": "sandbox and\nyour imports",
        "idle": "waits for a call",
        "busy": "runs calls",
        "draining": "ends its last call,\ntakes no new one",
        "stopped": "nothing of it is left",
    }
    bends = {("starting", "busy"): -0.35, ("idle", "busy"): -0.25, ("busy", "idle"): -0.25}
    figure, axes = plt.subplots(figsize=(8.6, 4.2), layout="constrained")
    boxes = {}
    for state, (x, y) in places.items():
        edge = GREY if state == "stopped" else BLUE
        box = FancyBboxPatch((x, y), 1.9, 0.95, boxstyle="round,pad=0.06", fc="white", ec=edge, lw=1.5, zorder=2)
        boxes[state] = axes.add_patch(box)
        axes.text(x + 0.95, y + 0.72, state, ha="center", va="center", weight="bold")
        axes.text(x + 0.95, y + 0.27, notes[state], ha="center", va="center", fontsize=8, color="#495057")
    for state, nexts in TRANSITIONS.items():
        for other in sorted(nexts):
            (x1, y1), (x2, y2) = places[state.value], places[other.value]
            axes.add_patch(
                FancyArrowPatch(
                    (x1 + 0.95, y1 + 0.475),
                    (x2 + 0.95, y2 + 0.475),
                    patchA=boxes[state.value],
                    patchB=boxes[other.value],
                    connectionstyle=f"arc3,rad={bends.get((state.value, other.value), 0)}",
                    arrowstyle="-|>",
                    mutation_scale=14,
                    color=GREY if other.value == "stopped" else "#343a40",
                    shrinkA=1,
                    shrinkB=2,
                )
            )
    axes.set(xlim=(-0.3, 8.7), ylim=(-0.3, 5.0))
    axes.axis("off")
    save(figure, "instance-states", folder)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--measure", action="store_true")
    parser.add_argument("--out", type=Path, default=HERE, help="elsewhere than beside this file, PNGs are written too")
    options = parser.parse_args()
    data = HERE / "measured.json"
    if options.measure:
        data.write_text(json.dumps(measure()) + "\n")
    measured = json.loads(data.read_text())
    options.out.mkdir(parents=True, exist_ok=True)
    draw_cold(measured["cold"], options.out)
    draw_burst(measured["burst"], options.out)
    draw_rehearsals(options.out)
    draw_states(options.out)


if __name__ == "__main__":
    main()
