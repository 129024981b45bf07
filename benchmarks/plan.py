"""What `pronghorn plan` predicts, against what runs measured: calibrated on one run, asked for the others.

All are whole runs of `pronghorn run`: hub, ZeroMQ, engines and learner in processes of their own; a tiny
model plays guess_number, whose steps wait as long as `hub.latency_mean_s` says, log-normal. The simulator is
calibrated on the first of `RUNS`; of the others it knows what differs in the configuration, nothing else.
With a policy that hardly learns (the learning rate is next to nothing) all of them play the same episodes.

Measured are the steps after those in which the pipeline fills, counted alike in both. Actors and learner
share this machine's cores, and the simulator gives each a device of its own: `shared cores` is the run in
which that is wrong on purpose. `slowdown` is what the learner took per token, over the calibrated run: where
it is far above 1, something held the cores meanwhile. So each case is predicted three times: with the speeds
of the first run, which is what a plan does; with these slowed down by that factor, as `--plan.slowdown` does;
and with those of the run itself, which tells a wrong model from a machine that was not the same.
"""

import statistics
import tempfile
from dataclasses import dataclass, fields, replace
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.parts.commands import QUIET, ROOT, whole_run
from benchmarks.report import Report, parse
from common.metrics import read_metrics
from common.run_directory import RunDirectory
from launch.plan.calibration import from_run
from launch.plan.record import Outcome
from launch.plan.settings import Setting, applied
from launch.plan.simulation import Plan, simulate, skipped_steps
from learner.ledger import Ledger

CONFIG = ROOT / "configs" / "debug.toml"
STEPS = 20
SEEDS = 5
DEADLINE_S = 600.0
"""Of one run."""
LATENCY_S = 0.3
ACTORS, MAX_STALENESS = 1, 2

ALWAYS = (
    "--actor.engine.kind=transformers",
    "--actor.max_sessions=8",
    "--hub.latency_sigma=0.7",
    "--horizon.kind=fixed",
    "--horizon.rounds=[6]",
    "--sft.num_demonstrations=128",
    "--sft.steps=60",
    "--learner.groups_per_step=4",
    "--learner.group_size=4",
    "--learner.learning_rate=1e-9",
    "--learner.warmup_steps=0",
    "--learner.drops_zero_variance=false",
    f"--learner.steps={STEPS}",
    f"--learner.checkpoint_every={STEPS}",
    *QUIET,
)


@dataclass(frozen=True)
class Case:
    """One run: what it changes in the calibrated one."""

    name: str
    actors: int = ACTORS
    latency_s: float = LATENCY_S
    max_staleness: int = MAX_STALENESS

    @property
    def overrides(self) -> tuple[str, ...]:
        """As `pronghorn run` and `pronghorn plan` take them."""
        return (
            f"--actor.num_actors={self.actors}",
            f"--hub.latency_mean_s={self.latency_s}",
            f"--learner.staleness.max_staleness={self.max_staleness}",
        )


RUNS = (
    Case("calibrated on"),
    Case("2 actors", actors=2),
    Case("latency halved", latency_s=LATENCY_S / 2),
    Case("latency doubled", latency_s=2 * LATENCY_S),
    Case("synchronous", max_staleness=0),
    Case("staleness 8", max_staleness=8),
    Case("2 actors, synchronous", actors=2, max_staleness=0),
    Case("shared cores", actors=4, latency_s=0.02),
)


@dataclass(frozen=True)
class Measures:
    """What is compared, of a run or of its simulations."""

    steps_per_hour: float
    trajectories_per_s: float
    staleness_mean: float
    in_flight: float
    in_queue: float
    staleness_trained: float
    learner_idle: float
    engine_idle: float
    episode_s: float
    training_s: float


def measured(folder: RunDirectory, case: Case, group_size: int) -> Measures:
    """A finished run, by its metrics and its ledger, after the steps in which the pipeline fills."""
    rows = [row for row in read_metrics(folder.metrics) if "time/step_s" in row]
    skipped = skipped_steps(len(rows), case.max_staleness)
    counted = rows[skipped:]
    seconds = counted[-1]["time"] - rows[skipped - 1]["time"]
    ledger = Ledger(folder.ledger, folder.path.name)
    try:
        oldest = ledger.rows("SELECT MAX(max_staleness) FROM steps WHERE step > ?", (skipped,))[0][0]
        trained = ledger.rows(
            "SELECT COUNT(*) FROM groups WHERE state = 'consumed' AND purpose = 'training' AND step > ?",
            (skipped,),
        )[0][0]
        sojourn = ledger.rows(
            "SELECT AVG(t.received_at - l.granted_at) FROM trajectories t JOIN groups g ON g.id = t.group_id"
            " JOIN leases l ON l.group_id = t.group_id AND l.member = t.member AND l.attempt = t.attempt"
            " WHERE g.step > ?",
            (skipped,),
        )[0][0]
    finally:
        ledger.close()

    def mean(name: str) -> float:
        return statistics.fmean(row[name] for row in counted)

    return Measures(
        steps_per_hour=3600 * len(counted) / seconds,
        trajectories_per_s=trained * group_size / seconds,
        staleness_mean=mean("staleness/mean"),
        in_flight=mean("staleness/in_flight"),
        in_queue=mean("staleness/in_queue"),
        staleness_trained=float(oldest),
        learner_idle=sum(row["time/waiting_s"] for row in counted) / seconds,
        engine_idle=1 - sum(row["engine/utilisation"] * row["time/step_s"] for row in counted) / seconds,
        episode_s=sojourn,
        training_s=mean("time/training_s"),
    )


def seconds_per_token(folder: RunDirectory) -> float:
    """What the learner took for each token that it read, median over steps."""
    rows = [row for row in read_metrics(folder.metrics) if "time/training_s" in row]
    return float(statistics.median(row["time/training_s"] / row["train/num_tokens"] for row in rows))


def predicted(plan: Plan, case: Case) -> Measures:
    """The mean of `SEEDS` simulations of a case; only what its configuration changes is known of it.

    The hub's wait is part of an environment step: what the rest of it took in the calibrated run stays.
    """
    own_s = plan.workload.environment_s - LATENCY_S
    setting = Setting(
        actors=case.actors,
        ranks=plan.config.learner.num_ranks,
        max_staleness=case.max_staleness,
        bandwidth_mb_s=0.0,
        environment_s=plan.workload.environment_s if case.latency_s == LATENCY_S else own_s + case.latency_s,
    )
    changed = applied(plan, setting)
    outcomes = [simulate(changed, steps=plan.config.learner.steps, seed=seed) for seed in range(SEEDS)]
    return Measures(**{f.name: _mean(outcomes, f.name) for f in fields(Measures)})


def _mean(outcomes: list[Outcome], name: str) -> float:
    return statistics.fmean(float(getattr(outcome, name)) for outcome in outcomes)


def run(folder: Path, case: Case) -> RunDirectory:
    """`pronghorn run` of a case, to its end, unless it is there; CalledProcessError when it fails."""
    name = case.name.replace(",", "").replace(" ", "-")
    finished = RunDirectory(folder / name)
    if finished.summary.is_file():
        return finished
    return whole_run(CONFIG, folder, name, *ALWAYS, *case.overrides, deadline_s=DEADLINE_S)


SHARES = ("learner_idle", "engine_idle")
"""Told as differences; a relative error of a share near zero says nothing."""


def error(name: str, was: float, said: float) -> str:
    """How wrong a prediction is: relative, of shares in points; versions as a difference."""
    if name in SHARES:
        return f"{100 * (said - was):+.0f} pt"
    if name.startswith(("staleness", "in_")):
        return f"{said - was:+.2f}"
    return f"{(said - was) / was:+.0%}"


def compare(folder: Path, report: Report) -> Table:
    """Every case but the first, and the first too: what is calibrated should at least be reproduced."""
    first = run(folder, RUNS[0])
    plan, per_token = from_run(first.path, ()), seconds_per_token(first)
    table = Table(title="predicted / measured (error)", title_justify="left")
    for column in ("run", "slowdown", "speeds of", *(f.name for f in fields(Measures))):
        table.add_column(column.replace("_", " "))
    for case in RUNS:
        finished = run(folder, case)
        was = measured(finished, case, plan.config.learner.group_size)
        slowdown = seconds_per_token(finished) / per_token
        slowed = from_run(first.path, [f"--plan.slowdown={slowdown}"])
        own = replace(plan, costs=from_run(finished.path, ()).costs)
        figure = "plan_" + case.name.replace(",", "").replace(" ", "_")
        report.add(f"{figure}_slowdown", slowdown, "")
        for speeds, used in (("first", plan), ("slowed", slowed), ("own", own)):
            said = predicted(used, case)
            table.add_row(case.name, f"{slowdown:.1f}", speeds, *_cells(was, said))
            wrong = said.trajectories_per_s / was.trajectories_per_s - 1
            report.add(f"{figure}_{speeds}_throughput_error", wrong, "")
            older = said.staleness_mean - was.staleness_mean
            report.add(f"{figure}_{speeds}_staleness_error", older, "versions")
    return table


def _cells(was: Measures, said: Measures) -> list[str]:
    pairs = [(f.name, getattr(was, f.name), getattr(said, f.name)) for f in fields(Measures)]
    return [f"{b:.3g} / {a:.3g} ({error(name, a, b)})" for name, a, b in pairs]


def main() -> None:
    """Make the runs, compare, report."""
    arguments = parse(
        __doc__,
        ("--runs", {"type": Path, "metavar": "FOLDER", "help": "keep the runs here; those there are read"}),
    )
    report = Report("plan")
    with tempfile.TemporaryDirectory() as scratch:
        table = compare((arguments.runs or Path(scratch)).resolve(), report)
    Console(width=300).print(table)
    report.finish(arguments.json)


if __name__ == "__main__":
    main()
