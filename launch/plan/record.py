"""What a simulation counts while it runs, and what it says in the end."""

from collections import Counter
from dataclasses import dataclass

import numpy as np
import simpy

from common.errors import ConfigurationError
from launch.plan.engine import SharedEngine
from launch.plan.gauge import Gauge

WAITS = ("generation", "engine_queue", "environment", "hub_queue", "weights", "opening", "delivery")
"""Where an episode's time goes, from its grant to its commit."""


@dataclass(frozen=True)
class Outcome:
    """One simulation; means are over what was simulated after the pipeline had filled."""

    steps_per_hour: float
    trajectories_per_s: float
    """Trained on."""
    played_per_s: float
    tokens_per_s: float
    """Sampled tokens that were trained on."""
    staleness_mean: float
    """Of the oldest token of each group, mean over groups."""
    staleness_p95: float
    """Of the oldest token of each trajectory."""
    staleness_max: float
    """Of the oldest token of a batch, trained on or not."""
    staleness_trained: float
    """Of the oldest token that was trained on: never more than `max_staleness`."""
    in_flight: float
    in_queue: float
    """Shares of the staleness: means over trajectories, in versions."""
    masked_share: float
    dropped_stale: float
    dropped_zero_variance: float
    """Groups dropped per group trained on."""
    learner_idle: float
    engine_idle: float
    engine_paused: float
    capacity_idle: float
    """Share of the actors' places that were empty: no slot was free for them."""
    waits: dict[str, float]
    """Share of an episode's time, by `WAITS`."""
    episode_s: float
    step_s: float
    training_s: float
    queue_groups: float
    episodes_in_play: float
    engine_running: float
    seconds: float
    """Of the whole simulation, from the first grant to the end of the last step."""
    simulated_steps: int
    """All of them, those that were not counted too."""
    bottleneck: str


class Record:
    """Counters of one simulation; `restart` forgets what was before the pipeline had filled."""

    def __init__(self, env: simpy.Environment) -> None:
        self.leases = Counter[str]()
        """How many were granted, and how many ended how; never forgotten."""
        self.most_outstanding = 0
        self.in_play, self.queue, self.learner_waits = Gauge(env), Gauge(env), Gauge(env)
        self._env = env
        self.restart()

    def restart(self) -> None:
        """From now on it counts."""
        self._since = self._env.now
        for gauge in (self.in_play, self.queue, self.learner_waits):
            gauge.restart()
        self.steps = self.trained = self.trained_tokens = self.sampled_tokens = 0
        self.training_s = 0.0
        self.num_ended = self.num_submitted = 0
        self.sojourn_s = 0.0
        """Of the leases that have ended, since their grants."""
        self.dropped = Counter[str]()
        """Groups, by reason."""
        self.waits = dict.fromkeys(WAITS, 0.0)
        """What episodes spent their time on."""
        self.group_ages = list[int]()
        self.oldest = list[int]()
        self.trained_ages = list[int]()
        """The oldest trained token of each step."""
        self.in_flight = list[int]()
        self.in_queue = list[int]()

    def granted(self) -> None:
        """A lease went out."""
        self.leases["granted"] += 1
        self.in_play.add(1)

    def ended(self, how: str, seconds: float) -> None:
        """A lease ended so many seconds after it was granted."""
        self.leases[how] += 1
        self.in_play.add(-1)
        self.num_ended += 1
        self.num_submitted += how == "submitted"
        self.sojourn_s += seconds

    def outcome(self, engines: list[SharedEngine], places: int, steps: int) -> Outcome:
        """What it all comes to; ConfigurationError when no time has passed."""
        elapsed = self._env.now - self._since
        if not elapsed:
            raise ConfigurationError("nothing takes any time with these figures; give one that is not 0")
        trained_groups = max(1, len(self.group_ages))
        total_waits = sum(self.waits.values()) or 1.0
        waits = {name: seconds / total_waits for name, seconds in self.waits.items()}
        idle = self.learner_waits.mean()
        capacity_idle = max(0.0, 1 - self.in_play.mean() / places)
        masked = 1 - self.trained_tokens / max(1, self.sampled_tokens)
        stale = self.dropped["stale"] / trained_groups
        return Outcome(
            steps_per_hour=3600 * self.steps / elapsed,
            trajectories_per_s=self.trained / elapsed,
            played_per_s=self.num_submitted / elapsed,
            tokens_per_s=self.trained_tokens / elapsed,
            staleness_mean=_mean(self.group_ages),
            staleness_p95=float(np.quantile(self.oldest or [0], 0.95)),
            staleness_max=float(max(self.group_ages, default=0)),
            staleness_trained=float(max(self.trained_ages, default=0)),
            in_flight=_mean(self.in_flight),
            in_queue=_mean(self.in_queue),
            masked_share=masked,
            dropped_stale=stale,
            dropped_zero_variance=self.dropped["zero_variance"] / trained_groups,
            learner_idle=idle,
            engine_idle=1 - _mean([engine.busy.mean() for engine in engines]),
            engine_paused=_mean([engine.paused.mean() for engine in engines]),
            capacity_idle=capacity_idle,
            waits=waits,
            episode_s=self.sojourn_s / max(1, self.num_ended),
            step_s=elapsed / max(1, self.steps),
            training_s=self.training_s / max(1, self.steps),
            queue_groups=self.queue.mean(),
            episodes_in_play=self.in_play.mean(),
            engine_running=sum(engine.running.mean() for engine in engines),
            seconds=self._env.now,
            simulated_steps=steps,
            # Too old: masked, or of groups that were dropped for it.
            bottleneck=bottleneck(idle, capacity_idle, 1 - (1 - masked) / (1 + stale), waits),
        )


MOSTLY_BUSY = 0.1
"""A learner that waits less than this share of its time is what the system waits for."""
MANY_OLD = 0.2
"""More than this share of the tokens too old to be trained on: that is the first thing to change."""
MANY_EMPTY = 0.3
"""Actors' places empty for more than this share of the time: slots are missing, not actors."""
NAMES = {
    "generation": "engines",
    "engine_queue": "engine places",
    "environment": "environment",
    "hub_queue": "hub capacity",
    "weights": "weight transfer",
    "opening": "opening sessions",
    "delivery": "bus and ledger",
}


def bottleneck(learner_idle: float, capacity_idle: float, too_old: float, waits: dict[str, float]) -> str:
    """What holds the throughput down: age, the learner, slots, or where episodes spend their time."""
    if too_old > MANY_OLD:
        return "tokens too old"
    if learner_idle < MOSTLY_BUSY:
        return "learner"
    slowest = NAMES[max(waits, key=lambda name: waits[name])]
    return f"staleness bound, {slowest}" if capacity_idle > MANY_EMPTY else slowest


def _mean(values: list[int] | list[float]) -> float:
    return float(np.mean(values or [0]))
