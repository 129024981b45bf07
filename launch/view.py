"""What a person sees while a run lives: a live panel on a terminal, one line per step elsewhere.

Reads `status.json` and `metrics.jsonl` of the run folder; a run without a view is the same run.
"""

import asyncio
import json
import time
from pathlib import Path
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from launch.config import RunConfig

REFRESH_S = 0.5
BARS = "▁▂▃▄▅▆▇█"
SPARKLINE_POINTS = 48
RECENT_STEPS = 10
"""What is left is estimated from so many."""


class View:
    """Follows one run for as long as `follow` runs."""

    def __init__(self, config: RunConfig, console: Console | None = None) -> None:
        self._config = config
        self._console = console or Console()
        self._stage = "starting"
        self._stage_began = time.time()
        self._notice = ""
        self._rows: list[dict[str, Any]] = []
        self._metrics = Tail(config.run.folder.metrics)
        mode = config.monitor.live_view
        self._is_live = mode == "on" or (mode == "auto" and self._console.is_terminal)

    def stage(self, name: str) -> None:
        """From now on this stage is shown."""
        self._stage, self._stage_began = name, time.time()
        if not self._is_live:
            self._console.print(f"pronghorn: {name}", highlight=False)

    def say(self, line: str) -> None:
        """Show one line about something unusual."""
        self._notice = line
        if not self._is_live:
            self._console.print(f"pronghorn: {line}", highlight=False, soft_wrap=True, markup=False)

    async def follow(self) -> None:
        """Endless: refresh the panel, or print a line for each new step; one last time when cancelled."""
        if not self._is_live:
            try:
                while True:
                    self._print_new()
                    await asyncio.sleep(REFRESH_S)
            finally:
                self._print_new()
        with Live(self.render(), console=self._console, auto_refresh=False, transient=True) as live:
            while True:
                self._rows += self._metrics.new_rows()
                live.update(self.render(), refresh=True)
                await asyncio.sleep(REFRESH_S)

    def _print_new(self) -> None:
        for row in self._metrics.new_rows():
            self._console.print(step_line(row, self._config.learner.steps), highlight=False, soft_wrap=True)

    def status(self) -> dict[str, Any]:
        """The newest status that was written in this stage; {} when there is none."""
        file = self._config.run.folder.status
        try:
            if file.stat().st_mtime < self._stage_began:
                return {}
            return dict(json.loads(file.read_text()))
        except (OSError, json.JSONDecodeError):
            return {}

    def render(self) -> RenderableType:
        """The panel."""
        status = self.status()
        step, steps = int(status.get("step") or 0), int(status.get("steps") or 0)
        rows = Table.grid(padding=(0, 2))
        rows.add_column(style="dim")
        rows.add_column()
        stage = Text(str(status.get("stage") or self._stage), style="bold")
        rows.add_row("stage", stage + Text(f"  {time.time() - self._stage_began:.0f} s", style="dim"))
        if steps:
            bar = Table.grid(padding=(0, 1))
            bar.add_row(ProgressBar(total=steps, completed=step, width=40), f"{step}/{steps}")
            rows.add_row("step", bar)
        for name, value in readings(status, self._rows):
            rows.add_row(name, value)
        notes = [
            Text(line, style="yellow") for line in (self._notice, str(status.get("message") or "")) if line
        ]
        return Panel(Group(rows, *notes), title=f"pronghorn · {self._config.run.name}", title_align="left")


class Tail:
    """The complete lines that a growing JSON-lines file gained since the last look; begins at its end."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._offset = file.stat().st_size if file.exists() else 0

    def new_rows(self) -> list[dict[str, Any]]:
        """Rows that were completed since the last call, oldest first."""
        if not self._file.exists():
            return []
        with self._file.open("rb") as file:
            file.seek(self._offset)
            complete = file.read().rpartition(b"\n")[0]
        if not complete:
            return []
        self._offset += len(complete) + 1
        return [json.loads(line) for line in complete.splitlines() if line.endswith(b"}")]


def readings(status: dict[str, Any], rows: list[dict[str, Any]]) -> list[tuple[str, str]]:
    """The numbers of the panel that are known, named and formatted."""
    curve = [row["train/success"] for row in rows if row.get("train/success") is not None]
    recent = [row["time/step_s"] for row in rows if row.get("time/step_s") is not None][-RECENT_STEPS:]
    left = int(status.get("steps") or 0) - int(status.get("step") or 0)
    minutes = left * sum(recent) / len(recent) / 60 if recent else None
    shown: list[tuple[str, str | None]] = [
        ("success", with_sparkline(curve, status.get("success"))),
        ("held-out", _number(status.get("heldout"), ".3f")),
        ("horizon", _number(status.get("horizon"), "d", " turns")),
        ("staleness", _number(status.get("staleness"), ".2f", " versions")),
        ("generated", _number(status.get("generated_tokens_per_s"), ",.0f", " tokens/s")),
        ("trained", _number(status.get("trained_tokens_per_s"), ",.0f", " tokens/s")),
        ("queue", _number(status.get("queue"), "d", " groups")),
        ("sessions", _number(status.get("sessions"), "d", " episodes")),
        ("left", _number(minutes, ".0f", " minutes at this pace")),
    ]
    return [(name, value) for name, value in shown if value is not None]


def with_sparkline(curve: list[float], newest: float | None) -> str | None:
    """The newest value and the shape of the curve, on a scale from 0 to 1."""
    if newest is None:
        return None
    points = curve[-SPARKLINE_POINTS:]
    return f"{newest:.3f}  " + "".join(BARS[min(7, int(max(0.0, point) * 8))] for point in points)


def step_line(row: dict[str, Any], steps: int) -> str:
    """One step or one evaluation as a line of text."""
    if "heldout/success" in row:
        return f"held-out at step {row['step']}: success {row['heldout/success']:.3f}"
    parts = [f"step {row['step']}/{steps}"]
    for label, name, form in (
        ("success", "train/success", ".3f"),
        ("horizon", "horizon/current", ".0f"),
        ("staleness", "staleness/mean", ".2f"),
        ("generated", "throughput/generated_tokens_per_s", ",.0f"),
        ("trained", "throughput/trained_tokens_per_s", ",.0f"),
        ("queue", "queue/complete_groups", ".0f"),
    ):
        value = _number(row.get(name), form)
        if value is not None:
            parts.append(f"{label} {value}")
    return "  ".join(parts)


def _number(value: Any, form: str, unit: str = "") -> str | None:
    return None if value is None else f"{value:{form}}{unit}"
