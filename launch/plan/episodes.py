"""What is played in a simulation: whole groups, as a run has recorded them or as figures describe them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from random import Random

import numpy as np

from common.errors import ConfigurationError
from launch.plan.config import PlanSection
from learner.advantage import has_zero_variance

SYNTHETIC_GROUPS = 500
"""Groups made up from figures; a simulation draws from them."""
NOTICEABLE_S = 0.001
"""A turn that took the environment less was answered by the actor itself: a malformed action."""


@dataclass(frozen=True)
class PlayedTurn:
    """Sizes and durations of one turn."""

    prompt_tokens: int
    action_tokens: int
    environment_s: float
    reward: float


@dataclass(frozen=True)
class Episode:
    """Sizes and durations of one episode."""

    turns: tuple[PlayedTurn, ...]
    opening_s: float = 0.0
    """Making and closing its session."""
    is_success: bool = False
    is_cut: bool = False
    """By the horizon."""

    @cached_property
    def num_tokens(self) -> int:
        """Read and sampled."""
        return sum(turn.prompt_tokens + turn.action_tokens for turn in self.turns)

    @cached_property
    def score(self) -> float:
        """The rewards summed."""
        return float(sum(turn.reward for turn in self.turns))

    def cut(self, horizon: int) -> "Episode":
        """The same, ended by a smaller horizon: without the success that came later."""
        if len(self.turns) <= horizon:
            return self
        return replace(self, turns=self.turns[:horizon], is_success=False, is_cut=True)


@dataclass(frozen=True)
class PlayedGroup:
    """The members of one group, correlated as they were."""

    horizon: int
    episodes: tuple[Episode, ...]

    @cached_property
    def has_zero_variance(self) -> bool:
        """Whether all members scored the same, as the dispatcher judges it."""
        return has_zero_variance(np.array([episode.score for episode in self.episodes]))


class Workload:
    """Groups to draw from, with replacement; `heldout` are episodes of evaluations."""

    def __init__(
        self,
        groups: Sequence[PlayedGroup],
        heldout: Sequence[Episode] = (),
        environment_s: float | None = None,
    ) -> None:
        if not groups:
            raise ValueError("a workload needs at least one group")
        self.groups = tuple(groups)
        self.heldout = tuple(heldout) or tuple(e for group in groups for e in group.episodes)
        self.environment_s = _mean_step_s(groups) if environment_s is None else environment_s
        """Mean of the environment's steps."""
        self._at_horizon = lru_cache(maxsize=None)(self._groups_at)

    @property
    def horizons(self) -> tuple[int, ...]:
        """Those at which groups were recorded, rising."""
        return tuple(sorted({group.horizon for group in self.groups}))

    def scaled(self, environment_s: float) -> "Workload":
        """The same with another mean of the environment's steps; ConfigurationError when it was zero."""
        if not self.environment_s:
            raise ConfigurationError(
                f"plan.environment_s = {environment_s:g}: the environment takes no time, nothing to scale"
            )
        factor = environment_s / self.environment_s

        def slow(episode: Episode) -> Episode:
            turns = tuple(replace(t, environment_s=t.environment_s * factor) for t in episode.turns)
            return replace(episode, turns=turns)

        groups = [replace(g, episodes=tuple(map(slow, g.episodes))) for g in self.groups]
        return Workload(groups, [slow(episode) for episode in self.heldout], environment_s)

    def draw(self, random: Random, horizon: int, size: int) -> PlayedGroup:
        """A group of `size` at `horizon`: a recorded one, its members drawn anew where `size` differs.

        Of a horizon that was never played: the next longer one's episodes, cut; else the longest there are.
        """
        group = random.choice(self._at_horizon(horizon))
        if len(group.episodes) == size:
            return group
        return replace(group, episodes=tuple(random.choices(group.episodes, k=size)))

    def _groups_at(self, horizon: int) -> tuple[PlayedGroup, ...]:
        longer = [h for h in self.horizons if h >= horizon]
        source = longer[0] if longer else self.horizons[-1]
        found = [group for group in self.groups if group.horizon == source]
        return tuple(replace(g, episodes=tuple(e.cut(horizon) for e in g.episodes)) for g in found)


def _mean_step_s(groups: Sequence[PlayedGroup]) -> float:
    times = [turn.environment_s for group in groups for e in group.episodes for turn in e.turns]
    return float(np.mean([t for t in times if t >= NOTICEABLE_S] or times or [0.0]))


def synthetic(stated: PlanSection, *, horizon: int, size: int, seed: int = 0) -> Workload:
    """Groups made up from means: geometric turns and tokens, log-normal environment steps."""
    rng = np.random.default_rng(seed)
    mean, sigma = stated.environment_s or 0.0, stated.environment_sigma

    def turn(reward: float) -> PlayedTurn:
        sampled = int(rng.geometric(1 / stated.action_tokens))
        seconds = float(rng.lognormal(np.log(mean) - sigma**2 / 2, sigma)) if mean else 0.0
        return PlayedTurn(stated.prompt_tokens, sampled, seconds, reward)

    def episode() -> Episode:
        wanted = int(rng.geometric(1 / stated.turns))
        won = wanted <= horizon and bool(rng.random() < stated.success)
        length = min(wanted, horizon)
        played = [turn(float(won and index == length - 1)) for index in range(length)]
        return Episode(tuple(played), is_success=won, is_cut=wanted > horizon)

    groups = [PlayedGroup(horizon, tuple(episode() for _ in range(size))) for _ in range(SYNTHETIC_GROUPS)]
    return Workload(groups)
