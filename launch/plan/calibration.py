"""From a run, or from stated figures, to a plan: every figure with where it is from."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from common.config import load
from common.errors import ConfigurationError, PreflightError
from common.run_directory import RunDirectory
from launch.model_size import num_trained, weight_bytes
from launch.plan.config import PlannedConfig, PlanSection
from launch.plan.costs import Costs, Note, Origin
from launch.plan.episodes import Workload, synthetic
from launch.plan.fit import explained, fit_engine, fit_line
from launch.plan.recorded import Recorded, read
from launch.plan.simulation import Plan
from learner.staleness import min_version

MIN_STEPS = 4
"""Steps with metrics that a run must have for its speeds to be known."""
WARM_UP = 2
"""First steps that are left out where there are more than twice `MIN_STEPS`: engines and caches warm up."""

FloatArray = NDArray[np.float64]

STATED = ("decode_s", "training_per_token_s", "environment_s")
"""Without a run these have no default: a plan on invented speeds would say nothing."""

FIGURES = (
    "decode_s",
    "decode_per_request_s",
    "read_s",
    "request_s",
    "training_s",
    "training_per_token_s",
    "load_s",
    "pause_s",
    "delivery_s",
    "grant_s",
    "fault_share",
)
"""Single figures of `Costs` that have an option of the same name."""


class Notebook:
    """Takes a figure as given, else as measured, else as assumed, and remembers which."""

    def __init__(self, plan: PlanSection) -> None:
        self.notes: list[Note] = []
        self._plan = plan

    def add(self, name: str, value: float, origin: Origin, meaning: str) -> float:
        """Note a figure."""
        self.notes.append(Note(name, value, origin, meaning))
        return value

    def take(self, name: str, found: float | None, origin: Origin = "measured") -> float:
        """The figure `plan.NAME` if it was given, else `found`, else zero, an assumption."""
        given = getattr(self._plan, name)
        meaning = _meaning(name)
        if given is not None:
            return self.add(name, given, "given", meaning)
        if found is not None:
            return self.add(name, found, origin, meaning)
        return self.add(name, 0.0, "assumed", meaning)

    def assume(self, *names: str) -> None:
        """Note figures that no run measures: given where somebody has set them."""
        for name in names:
            origin: Origin = "given" if name in self._plan.model_fields_set else "assumed"
            self.add(name, float(getattr(self._plan, name)), origin, _meaning(name))


def _meaning(name: str) -> str:
    return (PlanSection.model_fields[name].description or "").partition("\n")[0]


def plan_from(sources: Sequence[Path], overrides: Sequence[str]) -> Plan:
    """The plan of a run's folder, or of configuration files with stated figures.

    One clear line for what is missing: PreflightError for a run that cannot be calibrated on,
    ConfigurationError for figures that were not given.
    """
    if len(sources) == 1 and sources[0].is_dir():
        return from_run(sources[0], overrides)
    if folders := [path for path in sources if path.is_dir()]:
        raise ConfigurationError(
            f"{folders[0]}: a run stands alone; allowed is one run, or configuration files"
        )
    if missing := [path for path in sources if not path.exists()]:
        raise ConfigurationError(f"{missing[0]}: no such configuration file, and no such run")
    return from_figures(load(PlannedConfig, sources, overrides))


def from_run(path: Path, overrides: Sequence[str]) -> Plan:
    """Speeds and episodes as a run has recorded them; its configuration with `overrides`."""
    folder = RunDirectory(path)
    if not folder.config.is_file():
        raise PreflightError(f"{path}: no run here, config.toml is missing")
    before = load(PlannedConfig, [folder.config])
    config = load(PlannedConfig, [folder.config], overrides)
    recorded = read(folder.ledger, reads_again=_reads_again(before))
    _refuse_too_little(path, config, recorded)
    book = Notebook(config.plan)
    workload = Workload(recorded.groups, recorded.heldout)
    book.take("environment_s", workload.environment_s)
    if config.plan.environment_s is not None:
        workload = workload.scaled(config.plan.environment_s)
    _note_horizons(book, config, workload)
    costs = _measured(book, before, config, recorded)
    _assume_the_rest(book, config)
    return Plan(config, costs, workload, tuple(book.notes))


def _refuse_too_little(path: Path, config: PlannedConfig, recorded: Recorded) -> None:
    if len(recorded.steps) < MIN_STEPS:
        raise PreflightError(
            f"{path}: {len(recorded.steps)} steps with metrics; at least {MIN_STEPS} are needed to calibrate"
        )
    if not recorded.groups or not any(e.turns for group in recorded.groups for e in group.episodes):
        raise PreflightError(f"{path}: no group was played to its end; nothing to simulate with")
    learner = config.learner
    compares = learner.drops_zero_variance and learner.advantage.compares_group
    if compares and all(group.has_zero_variance for group in recorded.groups):
        raise PreflightError(
            f"{path}: all members of each of {len(recorded.groups)} groups scored the same: with "
            "learner.drops_zero_variance = true no step would ever come"
        )


def _note_horizons(book: Notebook, config: PlannedConfig, workload: Workload) -> None:
    """Horizons that will be played and never were are an assumption worth a line."""
    for horizon in sorted({*config.horizon.rounds} - {*workload.horizons}):
        longer = [h for h in workload.horizons if h > horizon]
        how = (
            f"cut from horizon {longer[0]}"
            if longer
            else f"those of horizon {workload.horizons[-1]}, too short"
        )
        book.add(f"horizon {horizon}", float(horizon), "assumed", f"never played: its episodes are {how}")


def _measured(book: Notebook, before: PlannedConfig, config: PlannedConfig, recorded: Recorded) -> Costs:
    """What the parts took in the run, whose configuration was `before`."""
    rows = recorded.steps[WARM_UP:] if len(recorded.steps) > 2 * MIN_STEPS else recorded.steps
    engine = fit_engine(recorded.generated, before.actor.engine.max_num_seqs)
    seconds, tokens = _column(rows, "time/training_s"), _column(rows, "train/num_tokens")
    base, per_token = fit_line(tokens, seconds)
    stood_still = float(np.mean(_column(rows, "engine/paused_share") * _column(rows, "time/step_s")))
    synced = float(np.mean(_column(rows, "engine/weight_sync_s")))
    waits_for_version = min_version(before.learner.staleness, 1) > 0
    found = {
        **engine.speeds,
        "training_s": base,
        "training_per_token_s": per_token,
        "publish_s": _column(rows, "time/weight_sync_s"),
        "after_s": _rest(rows),
        "load_s": max(0.0, synced - stood_still),
        "pause_s": min(stood_still, synced),
        "delivery_s": np.median(recorded.delivery_s),
        "grant_s": np.quantile(recorded.grant_s, 0.05 if waits_for_version else 0.5),
        "fault_share": recorded.fault_share,
    }
    book.assume("slowdown")
    costs = _costs(book, config, before, found)
    predicted = base + per_token * tokens
    book.add(
        "engine fit", engine.explained, "measured", "Of the variance of generations' seconds, explained."
    )
    book.add(
        "engine load", engine.running, "measured", "Requests running while one is, itself included; mean."
    )
    fit = explained(predicted, seconds)
    book.add("step fit", fit, "measured", "Of the variance of training seconds, explained.")
    return replace(costs, training_noise=_floats(seconds / predicted)) if predicted.all() else costs


def _column(rows: Sequence[dict[str, float]], name: str) -> FloatArray:
    return np.array([row.get(name, 0.0) for row in rows])


def _rest(rows: Sequence[dict[str, float]]) -> FloatArray:
    """Of each step: neither waiting nor training nor publishing."""
    parts = ("time/training_s", "time/waiting_s", "time/weight_sync_s")
    return np.maximum(0.0, _column(rows, "time/step_s") - sum(_column(rows, part) for part in parts))


def _floats(values: FloatArray) -> tuple[float, ...]:
    return tuple(map(float, values))


def _costs(book: Notebook, config: PlannedConfig, before: PlannedConfig, found: dict[str, Any]) -> Costs:
    """Every figure as given, else as `found` on the engine and ranks of `before`, else zero."""
    found = {
        name: value * config.plan.slowdown if name.endswith("_s") else value for name, value in found.items()
    }
    figures: dict[str, Any] = {name: book.take(name, found.get(name)) for name in FIGURES}
    megabytes = book.take("weight_mb", weight_bytes(config, num_trained(config)) / 1e6, "configured")
    return Costs(
        **figures,
        publish_s=_samples(book, "publish_s", found),
        after_s=_samples(book, "after_s", found),
        weight_bytes=megabytes * 1e6,
        reads_again=_reads_again(before),
        num_ranks=before.learner.world_size,
    )


def _samples(book: Notebook, name: str, found: dict[str, Any]) -> tuple[float, ...]:
    """The recorded values, or the one that was given."""
    recorded = found.get(name, np.zeros(0))
    mean = float(recorded.mean()) if len(recorded) else None
    taken = book.take(name, mean)
    return _floats(recorded) if taken == mean else (taken,)


def _reads_again(config: PlannedConfig) -> bool:
    return config.actor.engine.kind == "transformers"


def _assume_the_rest(book: Notebook, config: PlannedConfig) -> None:
    book.assume("network_latency_s", "bandwidth_mb_s")
    if config.plan.bandwidth_mb_s:
        book.assume("actors_per_host", "fanout", "delta_share")
    book.assume("serial_share", "hub_capacity", "commit_s")
    sessions = float(config.actor.max_sessions)
    book.add(
        "sessions", sessions, "configured", "Episodes at the same time of each actor; actor.max_sessions."
    )
    book.add("engines per device", 1.0, "assumed", "Actors and learner never slow each other down.")


def from_figures(config: PlannedConfig) -> Plan:
    """Speeds and episodes as stated; ConfigurationError naming what was not."""
    plan = config.plan
    if missing := [name for name in STATED if getattr(plan, name) is None]:
        raise ConfigurationError(
            f"plan.{missing[0]} is missing: without a run give {', '.join(f'--plan.{n}=...' for n in STATED)}"
        )
    book = Notebook(plan)
    costs = _costs(book, config, config, {})
    book.take("environment_s", None)
    book.assume("environment_sigma", "turns", "prompt_tokens", "action_tokens", "success")
    _assume_the_rest(book, config)
    horizon, size = config.horizon.rounds[-1], config.learner.group_size
    workload = synthetic(plan, horizon=horizon, size=size, seed=config.run.seed)
    return Plan(config, costs, workload, tuple(book.notes))
