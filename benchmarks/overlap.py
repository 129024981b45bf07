"""Wall time per step when learning overlaps with playing, over that of synchronous training.

Both modes are whole runs of `pronghorn run`: hub, ZeroMQ, vLLM and learner in processes of their own. The
setting is the quickstart's, its model warm-started once for all runs, with environment steps that take
0.3 s on average, log-normal with sigma 1. A step trains on 8 groups of 8, and the actor has 64 sessions:
all episodes of a batch are played at once, the best that the synchronous mode can ask for. The modes differ
in `learner.staleness.max_staleness` alone: 0, and the quickstart's 2. Nothing is dropped and the learning
rate is next to nothing, so that all steps have the same size and the episodes of both modes the same length.

Seconds per step are wall time between lines of `metrics.jsonl`, the first `SKIPPED` steps left out. Where
fewer trajectories arrived in that time than were trained on, it is divided by what arrived: what was played
before would be time for free. Runs of the modes take turns; the ratio is of medians.
"""

import statistics
import sys
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.parts.commands import QUIET, ROOT, whole_run
from benchmarks.report import Report, parse
from common.metrics import read_metrics
from common.run_directory import RunDirectory
from learner.ledger import Ledger

CONFIG = ROOT / "configs" / "quickstart.toml"
GOAL = 0.6
REPETITIONS = 2
STEPS = 10
SKIPPED = 3
"""Steps that are not counted: engines warm up, and the asynchronous mode fills its pipeline."""
GROUPS, GROUP_SIZE, HORIZON = 8, 8, 9
DEADLINE_S = 900.0
"""Of one run."""
MODES = {"sync": 0, "async": 2}
"""Mode -> `learner.staleness.max_staleness`."""

WARM_START = ("--sft.steps=300", "--sft.num_demonstrations=1000", "--learner.steps=0")
MEASURED = (
    "--hub.latency_mean_s=0.3",
    "--hub.latency_sigma=1.0",
    f"--learner.groups_per_step={GROUPS}",
    f"--learner.group_size={GROUP_SIZE}",
    f"--actor.max_sessions={GROUPS * GROUP_SIZE}",
    "--learner.drops_zero_variance=false",
    "--learner.learning_rate=1e-6",
    "--learner.warmup_steps=0",
    "--horizon.kind=fixed",
    f"--horizon.rounds=[{HORIZON}]",
    "--sft.num_demonstrations=0",
)


@dataclass(frozen=True)
class Pace:
    """How fast one run went; means over the steps that count, except where it says otherwise."""

    step_s: float
    """Wall time per step, or per batch of arrivals where those were fewer: a stock is no time for free."""
    training_s: float
    waiting_s: float
    weight_sync_s: float
    episode_s: float
    """From the first observation to the end, of what was trained on."""
    slowest_episode_s: float
    """The slowest of each batch."""
    turns: float
    """Per trained episode."""
    trained_per_s: float
    played_per_s: float
    """Trajectories: trained on, and arrived."""
    tokens_per_s: float
    """Action tokens that were trained on."""
    engine_utilisation: float
    masked_share: float
    """Of action tokens, too old to be trained on."""
    max_staleness: int
    """Of the oldest token trained on in the whole run."""


def measure(folder: RunDirectory, skipped: int) -> Pace:
    """What a finished run says about the steps after the first `skipped`."""
    rows = [row for row in read_metrics(folder.metrics) if "time/step_s" in row]
    before, counted = rows[skipped - 1], rows[skipped:]
    seconds = counted[-1]["time"] - before["time"]
    ledger = Ledger(folder.ledger, folder.path.name)
    try:
        batches = [_batch(ledger, row["step"]) for row in counted]
        max_staleness = ledger.rows("SELECT MAX(max_staleness) FROM steps")[0][0]
    finally:
        ledger.close()
    durations = [[duration for duration, _ in batch] for batch in batches]
    trained, played = sum(map(len, batches)), sum(row["episodes/played"] for row in counted)
    return Pace(
        step_s=seconds / len(counted) * max(1.0, trained / played),
        training_s=_mean(counted, "time/training_s"),
        waiting_s=_mean(counted, "time/waiting_s"),
        weight_sync_s=_mean(counted, "time/weight_sync_s"),
        episode_s=sum(map(sum, durations)) / trained,
        slowest_episode_s=statistics.fmean(map(max, durations)),
        turns=sum(turns for batch in batches for _, turns in batch) / trained,
        trained_per_s=trained / seconds,
        played_per_s=played / seconds,
        tokens_per_s=sum(row["train/num_trained_tokens"] for row in counted) / seconds,
        engine_utilisation=_mean(counted, "engine/utilisation"),
        masked_share=_mean(counted, "staleness/masked_share"),
        max_staleness=max_staleness,
    )


def _batch(ledger: Ledger, step: int) -> list[tuple[float, int]]:
    """Seconds and turns of every episode that a step trained on."""
    ids = [
        row[0] for row in ledger.rows("SELECT id FROM groups WHERE step = ? AND state = 'consumed'", (step,))
    ]
    trajectories = [trajectory for group in ids for trajectory in ledger.group(group).trajectories]
    return [(t.finished_at - t.started_at, len(t.turns)) for t in trajectories]


def _mean(rows: Iterable[dict[str, Any]], name: str) -> float:
    return statistics.fmean(row[name] for row in rows)


def overrides(mode: str, model: Path, steps: int) -> list[str]:
    """What a measured run of `mode` changes in the quickstart."""
    return [
        *MEASURED,
        *QUIET,
        "--model.source=path",
        f"--model.path={model}",
        f"--learner.steps={steps}",
        f"--learner.checkpoint_every={steps}",
        f"--learner.staleness.max_staleness={MODES[mode]}",
    ]


def measure_modes(folder: Path, repetitions: int, steps: int) -> dict[str, list[Pace]]:
    """One warm start, then the modes in turns."""
    run = partial(whole_run, CONFIG, folder, deadline_s=DEADLINE_S)
    model = run("warm-start", *WARM_START, *QUIET).warm_start
    paces: dict[str, list[Pace]] = {mode: [] for mode in MODES}
    for repetition in range(1, repetitions + 1):
        for mode in MODES:
            finished = run(f"{mode}-{repetition}", *overrides(mode, model, steps))
            paces[mode].append(measure(finished, SKIPPED))
    return paces


def add_figures(report: Report, paces: dict[str, list[Pace]]) -> None:
    """The ratio, how old tokens got, and where the time of both modes went.

    `overlap_ideal_ratio` is what these episodes and this learner allow when nothing ever waits for the
    slowest: sessions always in play, or the learner always training, whichever takes longer for one batch.
    """
    median = {
        mode: {f.name: statistics.median(getattr(pace, f.name) for pace in runs) for f in fields(Pace)}
        for mode, runs in paces.items()
    }
    ideal_s = max(median["async"]["training_s"], median["async"]["episode_s"])
    ratio = median["async"]["step_s"] / median["sync"]["step_s"]
    report.add("overlap_ratio", ratio, "", at_most=GOAL)
    report.add("overlap_ideal_ratio", ideal_s / median["sync"]["step_s"], "")
    oldest = max(pace.max_staleness for pace in paces["async"])
    report.add("overlap_async_max_staleness", oldest, "versions", at_most=MODES["async"])
    oldest = max(pace.max_staleness for pace in paces["sync"])
    report.add("overlap_sync_max_staleness", oldest, "versions", at_most=MODES["sync"])
    for name, unit in UNITS.items():
        for mode in MODES:
            report.add(f"overlap_{mode}_{name}", median[mode][name], unit)


UNITS = {
    "step_s": "s",
    "training_s": "s",
    "waiting_s": "s",
    "weight_sync_s": "s",
    "episode_s": "s",
    "slowest_episode_s": "s",
    "turns": "",
    "trained_per_s": "trajectories/s",
    "played_per_s": "trajectories/s",
    "tokens_per_s": "tokens/s",
    "engine_utilisation": "",
    "masked_share": "",
}
"""What is reported of both modes."""


def main() -> None:
    """Run both modes and report."""
    arguments = parse(
        __doc__,
        ("--repetitions", {"type": int, "default": REPETITIONS, "help": "runs of each mode"}),
        ("--steps", {"type": int, "default": STEPS, "help": f"of one run, the first {SKIPPED} not counted"}),
        ("--keep", {"type": Path, "metavar": "FOLDER", "help": "keep the runs here; must be new"}),
    )
    if arguments.steps <= SKIPPED:
        sys.exit(
            f"pronghorn: --steps {arguments.steps}: allowed are more than {SKIPPED}, which are not counted"
        )
    report = Report("overlap")
    with tempfile.TemporaryDirectory() as scratch:
        if arguments.keep:
            # A run that is there already would be resumed, not measured.
            arguments.keep.mkdir(parents=True)
        folder = (arguments.keep or Path(scratch)).resolve()
        add_figures(report, measure_modes(folder, arguments.repetitions, arguments.steps))
    report.finish(arguments.json)


if __name__ == "__main__":
    main()
