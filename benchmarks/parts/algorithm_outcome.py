"""What finished runs say: held-out success along training, pooled over the seeds of a row, with intervals."""

import json
import statistics
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.parts.algorithm_rows import Row
from common.run_directory import RunDirectory
from common.statistics import wilson_interval
from learner.ledger import Ledger


@dataclass(frozen=True)
class Share:
    """Held-out episodes that succeeded."""

    successes: int
    trials: int

    @property
    def value(self) -> float:
        """As a share."""
        return self.successes / self.trials

    @property
    def interval(self) -> tuple[float, float]:
        """Wilson, 95 %."""
        return wilson_interval(self.successes, self.trials)

    def text(self) -> str:
        """For a table."""
        low, high = self.interval
        return f"{self.value:.3f} ({low:.3f} to {high:.3f})"

    def values(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self) | {"success": self.value, "interval": self.interval}


def pooled(shares: Iterable[Share]) -> Share:
    """All episodes together."""
    known = list(shares)
    return Share(sum(s.successes for s in known), sum(s.trials for s in known))


@dataclass(frozen=True)
class Outcome:
    """One finished run."""

    seed: int
    heldout: dict[int, Share]
    """By step; 0 is the warm start."""
    training: list[tuple[int, float]]
    """Step, and success of the training episodes that arrived since the step before."""
    staleness: list[float]
    """Mean over the trained tokens of each step, in versions."""
    effective_share: float
    """Effective sample size over sample size, mean over the steps."""
    num_played: int
    """Training episodes, those of dropped groups too."""
    training_s: float
    """Wall time of the training stage, with its evaluations and the start of the engine."""

    @property
    def before(self) -> Share:
        """The warm start."""
        return self.heldout[0]

    @property
    def after(self) -> Share:
        """The last policy."""
        return self.heldout[max(self.heldout)]


def outcome(folder: RunDirectory, seed: int) -> Outcome:
    """Read a finished run."""
    ledger = Ledger(folder.ledger, folder.path.name)
    try:
        evaluations = ledger.rows("SELECT step, values_json FROM evaluations ORDER BY step")
        rows = ledger.rows("SELECT step, values_json FROM steps ORDER BY step")
        steps = [(step, json.loads(values)) for step, values in rows]
    finally:
        ledger.close()
    return Outcome(
        seed,
        {step: _share(json.loads(values)) for step, values in evaluations},
        [(step, values["train/success"]) for step, values in steps if "train/success" in values],
        [values["staleness/token_mean"] for _, values in steps],
        statistics.fmean(values["train/effective_sample_share"] for _, values in steps),
        int(sum(values["episodes/played"] for _, values in steps)),
        json.loads((folder.path / "stages.json").read_text())["training"],
    )


def _share(values: dict[str, Any]) -> Share:
    return Share(round(values["success"] * values["num_tasks"]), values["num_tasks"])


@dataclass(frozen=True)
class Result:
    """A row and the runs of its seeds."""

    row: Row
    runs: tuple[Outcome, ...]

    @property
    def curve(self) -> dict[int, Share]:
        """Step -> held-out success, over all seeds."""
        points = defaultdict(list)
        for run in self.runs:
            for step, share in run.heldout.items():
                points[step].append(share)
        return {step: pooled(shares) for step, shares in sorted(points.items())}

    @property
    def before(self) -> Share:
        """The warm start, as these runs measured it."""
        return pooled(run.before for run in self.runs)

    @property
    def after(self) -> Share:
        """The last policies."""
        return pooled(run.after for run in self.runs)

    @property
    def is_above(self) -> bool:
        """Whether the interval after training lies above the interval before."""
        return self.after.interval[0] > self.before.interval[1]

    @property
    def staleness(self) -> float:
        """Of the trained tokens, mean over the steps; when forced, over those after the first s steps."""
        first = self.row.staleness or 0
        return statistics.fmean(value for run in self.runs for value in run.staleness[first:])

    def values(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "name": self.row.name,
            "changes": dict(self.row.changes),
            "forced_staleness": self.row.staleness,
            "staleness": self.staleness,
            "before": self.before.values(),
            "after": self.after.values(),
            "is_above_warm_start": self.is_above,
            "curve": {step: share.values() for step, share in self.curve.items()},
            "runs": [_run_values(run) for run in self.runs],
        }


def _run_values(run: Outcome) -> dict[str, Any]:
    return asdict(run) | {
        "heldout": {step: share.values() for step, share in run.heldout.items()},
        "staleness": statistics.fmean(run.staleness),
    }


def results(
    rows: Sequence[Row], seeds: Sequence[int], folder_of: dict[tuple[str, int], Path]
) -> list[Result]:
    """The rows of which every seed is in `folder_of`, by row and seed."""
    whole = [row for row in rows if all((row.name, seed) in folder_of for seed in seeds)]
    return [
        Result(row, tuple(outcome(RunDirectory(folder_of[row.name, seed]), seed) for seed in seeds))
        for row in whole
    ]
