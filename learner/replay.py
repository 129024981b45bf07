"""`[torchrun ...] -m learner.replay RUN/config.toml --replay.report=FILE`: the recorded steps once more.

Feeds the recorded groups, in the recorded order, to a fresh learner that begins with policy zero or a kept
checkpoint, and compares every statistic of a step. Writes the report and nothing else; the run is only read.
`launch/replay.py` starts it and tells what came of it.
"""

import json
import math
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pydantic import Field

from common.config import Section
from common.errors import LedgerError
from common.role import run_role
from common.run_directory import write_json
from learner.batch_builder import BatchBuilder
from learner.checkpoint import CheckpointStore, step_of
from learner.conditions import differences, found, recorded
from learner.config import LearnerRoleConfig
from learner.ledger_reader import LedgerReader, RecordedStep
from learner.offline.progress import is_rank_zero
from learner.ranks import Ranks, open_trainer, serve
from learner.updates import take_step

MEASURED_TIMES = frozenset({"train/duration_s", "train/tokens_per_s"})
"""Statistics that are of the clock and no two runs share."""


class ReplaySection(Section):
    """Which steps."""

    first: int = Field(default=1, ge=1)
    last: int = Field(default=0, ge=0)
    """0: the last that was recorded."""
    report: str
    """A JSON file."""


class ReplayConfig(LearnerRoleConfig):
    """What it reads of a run's configuration."""

    replay: ReplaySection


@dataclass(frozen=True)
class Difference:
    """One statistic that is not as it was recorded."""

    name: str
    recorded: float | None
    """None: it was not recorded."""
    replayed: float

    @property
    def relative(self) -> float:
        """|a - b| over the larger of both; infinite where one of them is not a finite number."""
        if self.recorded is None or not (math.isfinite(self.recorded) and math.isfinite(self.replayed)):
            return math.inf
        return abs(self.recorded - self.replayed) / max(abs(self.recorded), abs(self.replayed))


@dataclass(frozen=True)
class StepReport:
    """One step, replayed."""

    step: int
    num_compared: int
    differences: tuple[Difference, ...]


def main() -> int:
    """Replay; 0 when every step was taken, whatever came of it: that is in the report."""
    return run_role("replay", ReplayConfig, _run)


def _run(config: ReplayConfig) -> int:
    trainer = open_trainer(config.run.folder.policy_zero, config.learner, config.model)
    if not is_rank_zero():
        serve(trainer)
        return 0
    now = found(config.learner, trainer.device)
    with Ranks(trainer) as ranks:
        write_json(Path(config.replay.report), as_json(replay(config, ranks, now, _tell)))
    return 0


def replay(
    config: ReplayConfig, ranks: Ranks, now: dict[str, Any], tell: Callable[[StepReport], None]
) -> dict[str, Any]:
    """Take the recorded steps again, tell each as it is done, and give the report.

    Raises LedgerError when steps are not recorded, or without the order of their groups.
    """
    folder = config.run.folder
    with LedgerReader(folder.ledger) as ledger:
        start = CheckpointStore(folder.checkpoints).latest(before=config.replay.first)
        behind = 0 if start is None else step_of(start)
        steps = chosen(ledger, config.replay.first, config.replay.last, behind)
        if start is not None:
            ranks.load(start)
        reports = []
        for report in _taken(config, ranks, ledger, steps):
            if report.step >= config.replay.first:
                tell(report)
                reports.append(report)
    then = {report.step: recorded(folder.path, report.step) for report in reports}
    notes = {note for row in then.values() if row is not None for note in differences(row, now)}
    return {
        "run": str(folder.path),
        "began_with": "policy zero" if start is None else start.name,
        "conditions": now,
        "is_known_under_which_conditions": all(row is not None for row in then.values()),
        "differing_conditions": sorted(notes),
        "steps": [asdict(report) for report in reports],
        "largest_relative_difference": max(
            (d.relative for report in reports for d in report.differences), default=0.0
        ),
    }


def as_json(report: dict[str, Any]) -> Any:
    """The report as JSON can hold it, which has no NaN and no infinity: they are told as texts."""
    return json.loads(json.dumps(report), parse_constant=str)


def chosen(ledger: LedgerReader, first: int, last: int, behind: int) -> list[RecordedStep]:
    """The recorded steps after `behind`, to `last`; LedgerError unless all of them are, and `first` too."""
    known = [step for step in ledger.steps() if step.values]
    top = known[-1].step if known else 0
    if not first <= (last or top) <= top:
        raise LedgerError(
            f"{ledger.path}: steps {first}:{last or top} asked for, recorded are "
            + (f"1:{top}" if known else "none")
        )
    steps = [step for step in known if behind < step.step <= (last or top)]
    if [step.step for step in steps] != list(range(behind + 1, (last or top) + 1)):
        raise LedgerError(f"{ledger.path}: not every step up to {last or top} is recorded")
    if unordered := [step.step for step in steps if not step.groups]:
        raise LedgerError(
            f"{ledger.path}: step {unordered[0]} was recorded by a release that did not keep the order of "
            "its groups: it cannot be replayed"
        )
    return steps


def _taken(
    config: ReplayConfig, ranks: Ranks, ledger: LedgerReader, steps: list[RecordedStep]
) -> Iterator[StepReport]:
    builder = BatchBuilder(config.learner, config.run.seed)
    for step in steps:
        groups, received = zip(*(ledger.group(group) for group in step.groups), strict=True)
        draft = builder.draft(groups, received, step.step - 1)
        done = take_step(
            ranks, builder, draft, config.learner, step=step.step, temperature=config.sampling.temperature
        )
        values = draft.values | {f"train/{name}": value for name, value in done.metrics().items()}
        yield compared(step, values)


def compared(step: RecordedStep, replayed: dict[str, float]) -> StepReport:
    """Every statistic that is no measured time, bit for bit; NaN equals NaN."""
    names = sorted(replayed.keys() - MEASURED_TIMES)
    different = tuple(
        Difference(name, step.values.get(name), replayed[name])
        for name in names
        if not _is_same(step.values.get(name), replayed[name])
    )
    return StepReport(step.step, len(names), different)


def _is_same(a: float | None, b: float) -> bool:
    return a is not None and (a == b or (math.isnan(a) and math.isnan(b)))


def _tell(report: StepReport) -> None:
    same = report.num_compared - len(report.differences)
    line = f"{report.step:>6}  {same:>4} of {report.num_compared} identical"
    if report.differences:
        first = report.differences[0]
        line += f"   {first.name}: {first.recorded!r} recorded, {first.replayed!r} replayed"
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
