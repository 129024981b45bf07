"""What was measured of a hub, one row for each environment, number of sessions, wire and mode."""

import statistics
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.parts.hub_modes import Mode
from benchmarks.parts.hub_player import Played
from envhub.wire import Wire

COLUMNS = ("environment", "sessions", "wire", "mode", "steps/s", "from - to", "p50 ms", "p99 ms")
CPU_COLUMNS = ("client", "hub", "workers", "busy cores", "most of it")
"""Processor seconds for 1,000 steps; then how many cores that kept busy, and by whom."""


@dataclass(frozen=True)
class Row:
    """One mode of one cell."""

    environment: str
    asked: int
    wire: Wire
    mode: Mode
    played: Played

    @property
    def rate(self) -> float:
        """Steps per second: the median of the repetitions."""
        return statistics.median(self.played.rates)

    @property
    def cpu_per_1000(self) -> dict[str, float]:
        """Processor seconds for 1,000 steps, by who used them."""
        cpu, thousands = self.played.cpu, self.played.steps / 1000
        return {
            "client": cpu.client / thousands,
            "hub": cpu.hub / thousands,
            "workers": cpu.workers / thousands,
        }

    @property
    def busy_cores(self) -> float:
        """How many cores the three kept busy, on average."""
        return sum(self.cpu_per_1000.values()) * self.played.steps / 1000 / self.played.seconds

    def latency_ms(self, share: float) -> float:
        """Of the calls, this share took at most so long."""
        ordered = sorted(self.played.latencies_s)
        return ordered[min(int(len(ordered) * share), len(ordered) - 1)] * 1e3

    def json(self) -> dict[str, Any]:
        """Everything, for machines."""
        return {
            "environment": self.environment,
            "sessions_asked": self.asked,
            "sessions": self.played.num_sessions,
            "wire": self.wire,
            "mode": self.mode,
            "steps_per_s": self.rate,
            "rates": self.played.rates,
            "latency_p50_ms": self.latency_ms(0.5),
            "latency_p99_ms": self.latency_ms(0.99),
            "cpu_s_per_1000_steps": self.cpu_per_1000,
            "busy_cores": self.busy_cores,
        }

    def cells(self) -> tuple[str, ...]:
        """Everything, for people."""
        played, cpu = self.played, self.cpu_per_1000
        most = max(cpu, key=lambda who: cpu[who])
        sessions = f"{played.num_sessions}" + (
            f" of {self.asked}" if played.num_sessions < self.asked else ""
        )
        return (
            self.environment,
            sessions,
            self.wire,
            self.mode,
            f"{self.rate:,.0f}",
            f"{min(played.rates):,.0f} - {max(played.rates):,.0f}",
            f"{self.latency_ms(0.5):.2f}",
            f"{self.latency_ms(0.99):.2f}",
            *(f"{cpu[who]:.3f}" for who in ("client", "hub", "workers")),
            f"{self.busy_cores:.2f}",
            f"{most} {cpu[most] / max(sum(cpu.values()), 1e-9):.0%}",
        )


def show(rows: Iterable[Row], missing: dict[str, str]) -> None:
    """Print them; then what could not be measured, and why."""
    table = Table(title="the hub; cpu columns: seconds for 1,000 steps")
    for column in (*COLUMNS, *CPU_COLUMNS):
        table.add_column(column, justify="left" if column in ("environment", "wire", "mode") else "right")
    for row in rows:
        if row.mode != "here":
            table.add_row(*row.cells())
    console = Console(width=160)
    console.print(table)
    for name, reason in missing.items():
        console.print(f"missing: {name}: {reason}", highlight=False)
