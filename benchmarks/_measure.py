"""How the benchmarks measure: process time of one thread, medians of interleaved rounds, memory in fresh processes."""

from __future__ import annotations

import argparse
import json
import multiprocessing
import platform
import resource
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

TOLD = "none, told"


@dataclass(frozen=True)
class Row:
    """One claim: what was asked for, what was found."""

    name: str
    target: str
    measured: str
    holds: bool | None  # None: it cannot be run here
    note: str = ""

    def __str__(self) -> str:
        verdict = {True: "holds", False: "MISSED", None: "n/a"}[self.holds]
        return f"{verdict:7s} {self.name}: {self.measured} (target {self.target}) {self.note}"


def interleaved(calls: Mapping[str, Callable[[], object]], *, rounds: int, clock: str = "cpu") -> dict[str, float]:
    """Return the median milliseconds of each call; every round runs each of them once, after one that warms up."""
    now = time.process_time if clock == "cpu" else time.perf_counter
    taken: dict[str, list[float]] = {name: [] for name in calls}
    for r in range(rounds + 1):
        for name, call in calls.items():
            start = now()
            call()
            if r:
                taken[name].append((now() - start) * 1e3)
    return {name: statistics.median(values) for name, values in taken.items()}


def in_fresh_process(call: Callable[..., Any], *arguments: object) -> Any:
    """Return what a call returns in a process of its own."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(call, arguments)


def peak_mb() -> float:
    """Return the most memory this process has held, in MB; getrusage would count the parent's too."""
    status = Path("/proc/self/status")
    if status.exists():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return float(line.split()[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2  # bytes on macOS


def has_bf16() -> bool:
    """Say whether the CPU multiplies bf16 matrices itself."""
    flags = cpu_flags()
    return "avx512_bf16" in flags or "amx_bf16" in flags


def cpu_flags() -> str:
    """Return the flags of the CPU as the kernel lists them."""
    return _cpu("flags") or ""


def _cpu(field: str) -> str | None:
    """Return what the kernel says of the first CPU."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith(field)), None)


def options(description: str | None, **flags: str) -> argparse.Namespace:
    """Read the command line: flags of the benchmark, and where its rows go."""
    parser = argparse.ArgumentParser(description=description)
    for name, text in flags.items():
        parser.add_argument(f"--{name}", action="store_true", help=text)
    parser.add_argument("--json", type=Path, help="write the rows here")
    parser.add_argument("--page", type=Path, help="write a table for the docs here")
    return parser.parse_args()


def report(
    rows: list[Row], given: argparse.Namespace, *, title: str = "", page: Callable[[], str] | None = None
) -> None:
    """Print the rows and write what was asked for; the page is a table of the rows, or what ``page`` returns."""
    for row in rows:
        print(row, flush=True)
    if given.json:
        given.json.write_text(json.dumps({"machine": machine(), "rows": [asdict(row) for row in rows]}, indent=1))
    if given.page:
        given.page.write_text(markdown(rows, title) if page is None else page())


def markdown(rows: list[Row], title: str) -> str:
    """Return the rows as a table."""
    said = {True: "holds", False: "**missed**", None: "n/a"}
    lines = [f"## {title}", "", f"{machine()}", "", "| | target | measured | |", "|---|---|---|---|"]
    for row in rows:
        verdict = "" if row.target == TOLD else said[row.holds]
        lines.append(f"| {row.name} | {row.target} | {row.measured} | {verdict} |")
    notes = [f"- {row.name}: {row.note}" for row in rows if row.note]
    return "\n".join([*lines, "", *notes]) + "\n"


def machine() -> str:
    """Name the machine in a line."""
    import torch

    name = _cpu("model name") or platform.processor()
    return f"{name}, one thread unless said, torch {torch.__version__}"
