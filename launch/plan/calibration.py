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
    if missing := [path for path in sources if path.is_dir()]:
        raise ConfigurationError(
            f"{missing[0]}: a run stands alone; allowed is one run, or configuration files"
        )
    return from_figures(load(PlannedConfig, sources, overrides))


def from_run(path: Path, overrides: Sequence[str]) -> Plan:
    """Speeds and episodes as a run has recorded them; its configuration with `overrides`."""
    folder = RunDirectory(path)
    if not folder.config.is_file():
        raise PreflightError(f"{path}: no run here, config.toml is missing")
    before = load(PlannedConfig, [folder.config])
    config = load(PlannedConfig, [folder.config], overrides)
    reads_again = before.actor.engine.kind == "transformers"
    recorded = read(folder.ledger, reads_again=reads_again)
    _refuse_too_little(path, config, recorded)
    book = Notebook(config.plan)
    workload = Workload(recorded.groups, recorded.heldout)
    book.take("environment_s", workload.environment_s)
    if config.plan.environment_s is not None:
        workload = workload.scaled(config.plan.environment_s)
    _note_horizons(book, config, workload)
    costs = _measured(book, before, config, recorded, reads_again=reads_again)
    return Plan(config, replace(costs, notes=tuple(book.notes)), workload)


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


def _measured(
    book: Notebook, before: PlannedConfig, config: PlannedConfig, recorded: Recorded, *, reads_again: bool
) -> Costs:
    """What the parts took in the run."""
    rows = recorded.steps[WARM_UP:] if len(recorded.steps) > 2 * MIN_STEPS else recorded.steps
    engine = fit_engine(recorded.generated, before.actor.engine.max_num_seqs)
    seconds, tokens = _column(rows, "time/training_s"), _column(rows, "train/num_tokens")
    base, per_token = fit_line(tokens, seconds)
    stood_still = float(np.mean(_column(rows, "engine/paused_share") * _column(rows, "time/step_s")))
    synced = float(np.mean(_column(rows, "engine/weight_sync_s")))
    waits_for_version = before.learner.staleness.max_staleness == 0 or before.learner.staleness.mode == "wait"
    granted = np.quantile(recorded.grant_s, 0.05) if waits_for_version else np.median(recorded.grant_s)
    costs = Costs(
        decode_s=book.take("decode_s", engine.decode_s),
        decode_per_request_s=book.take("decode_per_request_s", engine.decode_per_request_s),
        read_s=book.take("read_s", engine.read_s),
        request_s=book.take("request_s", engine.request_s),
        reads_again=reads_again,
        training_s=book.take("training_s", base),
        training_per_token_s=book.take("training_per_token_s", per_token),
        publish_s=_samples(book, "publish_s", _column(rows, "time/weight_sync_s")),
        after_s=_samples(book, "after_s", _rest(rows)),
        load_s=book.take("load_s", max(0.0, synced - stood_still)),
        pause_s=book.take("pause_s", min(stood_still, synced)),
        delivery_s=book.take("delivery_s", float(np.median(recorded.delivery_s))),
        grant_s=book.take("grant_s", float(granted)),
        fault_share=book.take("fault_share", recorded.num_faulted / max(1, recorded.num_leases)),
        weight_bytes=_weight_bytes(book, config),
        num_ranks=before.learner.num_ranks,
    )
    predicted = base + per_token * tokens
    noise = tuple(seconds / np.where(predicted > 0, predicted, 1.0)) if predicted.all() else (1.0,)
    book.add(
        "engine fit", engine.explained, "measured", "Share of the variance of generations' seconds explained."
    )
    book.add(
        "engine load", engine.running, "measured", "Requests running while one is, itself included; mean."
    )
    book.add(
        "step fit",
        explained(predicted, seconds),
        "measured",
        "Share of the variance of training seconds explained.",
    )
    _assume_the_rest(book, config)
    return replace(costs, training_noise=tuple(map(float, noise)))


def _column(rows: Sequence[dict[str, float]], name: str) -> FloatArray:
    return np.array([row.get(name, 0.0) for row in rows])


def _rest(rows: Sequence[dict[str, float]]) -> FloatArray:
    """Of each step: neither waiting nor training nor publishing."""
    parts = ("time/training_s", "time/waiting_s", "time/weight_sync_s")
    return np.maximum(0.0, _column(rows, "time/step_s") - sum(_column(rows, part) for part in parts))


def _samples(book: Notebook, name: str, measured: FloatArray) -> tuple[float, ...]:
    """The recorded values, or the one that was given."""
    mean = float(measured.mean())
    taken = book.take(name, mean)
    return tuple(map(float, measured)) if taken == mean else (taken,)


def _weight_bytes(book: Notebook, config: PlannedConfig) -> float:
    """One version of the weights; ConfigurationError when it is needed and nobody knows it."""
    known = weight_bytes(config, num_trained(config)) / 1e6
    megabytes = book.take("weight_mb", known, "configured")
    if config.plan.bandwidth_mb_s and not megabytes:
        raise ConfigurationError(
            "plan.weight_mb: the model's size is not known from its configuration; give it, or bandwidth 0"
        )
    return megabytes * 1e6


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
    figures: dict[str, Any] = {name: book.take(name, None) for name in FIGURES}
    costs = Costs(
        **figures,
        publish_s=(book.take("publish_s", None),),
        after_s=(book.take("after_s", None),),
        weight_bytes=_weight_bytes(book, config),
        reads_again=config.actor.engine.kind == "transformers",
        num_ranks=config.learner.num_ranks,
    )
    book.take("environment_s", None)
    book.assume("environment_sigma", "turns", "prompt_tokens", "action_tokens", "success")
    _assume_the_rest(book, config)
    workload = synthetic(
        horizon=config.horizon.rounds[-1],
        size=config.learner.group_size,
        turns=plan.turns,
        prompt_tokens=plan.prompt_tokens,
        action_tokens=plan.action_tokens,
        environment_s=plan.environment_s or 0.0,
        environment_sigma=plan.environment_sigma,
        success=plan.success,
        seed=config.run.seed,
    )
    return Plan(config, replace(costs, notes=tuple(book.notes)), workload)
