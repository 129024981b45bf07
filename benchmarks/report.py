"""Figures of a benchmark, with their goals: a table for people, JSON for machines.

arguments = parse(__doc__)
report = Report("bus")
report.add("bus_trajectories_per_s", 2800.0, "1/s", at_least=1000.0)
report.finish(arguments.json)
"""

import argparse
import json
import os
import platform
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil
from rich.console import Console
from rich.table import Table

from common.version import __version__


@dataclass(frozen=True)
class Figure:
    """One measured number; without a goal it is only reported."""

    name: str
    value: float
    unit: str
    goal: float | None = None
    holds: bool | None = None


class Report:
    """The figures of one benchmark, in the order in which they were measured."""

    def __init__(self, title: str) -> None:
        self.title = title
        self.figures: dict[str, Figure] = {}
        self._load_before = os.getloadavg()[0]

    def add(
        self,
        name: str,
        value: float,
        unit: str,
        *,
        at_least: float | None = None,
        at_most: float | None = None,
    ) -> None:
        """Record a figure, with at most one of the two goals. ValueError for a name that is taken."""
        if name in self.figures:
            raise ValueError(f"the figure {name!r} is recorded already")
        if at_least is not None and at_most is not None:
            raise ValueError(f"the figure {name!r} has two goals: at_least {at_least} and at_most {at_most}")
        holds = None
        if at_least is not None:
            holds = value >= at_least
        if at_most is not None:
            holds = value <= at_most
        goal = at_most if at_least is None else at_least
        self.figures[name] = Figure(name, float(value), unit, goal, holds)

    def finish(self, file: Path | None = None) -> None:
        """Print the table and, when asked, write `{"figures": {NAME: ...}, "machine": {...}}` to `file`."""
        self._print()
        if file is not None:
            figures = {
                f.name: {"value": f.value, "unit": f.unit, "goal": f.goal, "holds": f.holds}
                for f in self.figures.values()
            }
            content = {"figures": figures, "machine": machine() | {"load_before": self._load_before}}
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(json.dumps(content, indent=2) + "\n")

    def _print(self) -> None:
        table = Table(title=self.title)
        for column in ("figure", "value", "unit", "goal", ""):
            table.add_column(column, justify="right" if column in ("value", "goal") else "left")
        for f in self.figures.values():
            verdict = {None: "", True: "holds", False: "MISSED"}[f.holds]
            goal = "" if f.goal is None else f"{f.goal:,.4g}"
            table.add_row(f.name, f"{f.value:,.4g}", f.unit, goal, verdict)
        Console().print(table)


def machine() -> dict[str, Any]:
    """What it was measured on."""
    return {
        "cpu": _cpu_model(),
        "num_cores": os.cpu_count(),
        "memory_bytes": psutil.virtual_memory().total,
        "system": platform.platform(),
        "python": platform.python_version(),
        "pronghorn": __version__,
        "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def parse(description: str | None, *extra: tuple[str, dict[str, Any]]) -> argparse.Namespace:
    """The command line that all benchmarks share: `--json FILE`, and `extra` (flag, settings) of this one."""
    parser = argparse.ArgumentParser(description=(description or "").partition("\n")[0])
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there")
    for flag, settings in extra:
        parser.add_argument(flag, **settings)
    return parser.parse_args()


def _cpu_model() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
