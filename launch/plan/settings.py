"""The settings that a plan compares, and what the simulations of each say."""

import itertools
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from statistics import fmean, pstdev
from typing import Any

from common.errors import ConfigurationError, PronghornError
from launch.plan.config import PlannedConfig
from launch.plan.record import Outcome
from launch.plan.simulation import Plan, simulate


@dataclass(frozen=True)
class Setting:
    """What differs between the rows of a plan."""

    actors: int
    ranks: int
    max_staleness: int
    bandwidth_mb_s: float
    environment_s: float
    """Mean of one environment step."""

    @property
    def size(self) -> tuple[int, int, int, float]:
        """What smaller means: fewer processes, then fewer ranks, fresher tokens, less bandwidth."""
        return (self.actors + self.ranks, self.ranks, self.max_staleness, self.bandwidth_mb_s)


@dataclass(frozen=True)
class Result:
    """The simulations of one setting."""

    setting: Setting
    outcomes: tuple[Outcome, ...]

    def mean(self, name: str) -> float:
        """Over the seeds."""
        return fmean(float(getattr(outcome, name)) for outcome in self.outcomes)

    def spread(self, name: str) -> float:
        """Standard deviation over the seeds."""
        return pstdev(float(getattr(outcome, name)) for outcome in self.outcomes)

    @property
    def bottleneck(self) -> str:
        """What most seeds name."""
        named = [outcome.bottleneck for outcome in self.outcomes]
        return max(sorted(set(named)), key=named.count)

    def seconds_to(self, steps: int) -> float:
        """Until `steps` are done: simulated ones as they were, more or fewer of them at the mean pace."""
        return fmean(o.seconds + (steps - o.simulated_steps) * o.step_s for o in self.outcomes)


def settings_of(plan: Plan, swept: dict[str, Sequence[Any]]) -> list[Setting]:
    """Every combination of the values given; what is not swept is as the plan has it."""
    config = plan.config
    present = Setting(
        actors=config.actor.num_actors,
        ranks=config.learner.num_ranks,
        max_staleness=config.learner.staleness.max_staleness,
        bandwidth_mb_s=config.plan.bandwidth_mb_s,
        environment_s=plan.workload.environment_s,
    )
    names = [name for name, values in swept.items() if values]
    combinations = itertools.product(*(swept[name] for name in names))
    return [replace(present, **dict(zip(names, values, strict=True))) for values in combinations]


def applied(plan: Plan, setting: Setting) -> Plan:
    """The plan with a setting in place of its own."""
    config = plan.config
    staleness = config.learner.staleness.model_copy(update={"max_staleness": setting.max_staleness})
    learner = config.learner.model_copy(update={"num_ranks": setting.ranks, "staleness": staleness})
    changed: PlannedConfig = config.model_copy(
        update={
            "actor": config.actor.model_copy(update={"num_actors": setting.actors}),
            "learner": learner,
            "plan": config.plan.model_copy(update={"bandwidth_mb_s": setting.bandwidth_mb_s}),
        }
    )
    if setting.bandwidth_mb_s and not plan.costs.weight_bytes:
        raise ConfigurationError(
            f"--bandwidth {setting.bandwidth_mb_s:g}: the model's size is not known; give --plan.weight_mb"
        )
    workload = plan.workload
    if setting.environment_s != workload.environment_s:
        workload = workload.scaled(setting.environment_s)
    return replace(plan, config=changed, workload=workload)


def results(plan: Plan, settings: Sequence[Setting], *, steps: int) -> list[Result]:
    """Every setting, simulated with `plan.seeds` seeds."""
    seeds = range(plan.config.run.seed, plan.config.run.seed + plan.config.plan.seeds)
    plans = [applied(plan, setting) for setting in settings]  # what cannot be planned is refused at once
    found = []
    for setting, changed in zip(settings, plans, strict=True):
        try:
            outcomes = tuple(simulate(changed, steps=steps, seed=seed) for seed in seeds)
        except PronghornError as error:
            named = ", ".join(f"{name} {value:g}" for name, value in asdict(setting).items())
            raise type(error)(f"{named}: {error}") from error
        found.append(Result(setting, outcomes))
    return found


def recommended(found: Sequence[Result], within: float) -> Result:
    """The smallest setting whose trained tokens per second reach the best of all, less `within`."""
    best = max(result.mean("tokens_per_s") for result in found)
    enough = [r for r in found if r.mean("tokens_per_s") >= (1 - within) * best]
    return min(enough, key=lambda result: result.setting.size)
