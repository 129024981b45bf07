"""From complete groups to the batch of a step: advantages, freshness, packing, and the staleness numbers."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from common.trajectory import Group, Trajectory
from learner.advantage import grpo
from learner.batch import Batch, build_batch
from learner.config import LearnerConfig
from learner.staleness import fresh_tokens, measure, token_staleness


@dataclass(frozen=True)
class StepBatch:
    """What a step trains on, and what is worth knowing about it."""

    batch: Batch
    max_staleness: int
    """Of the oldest token that is trained on."""
    num_trained_tokens: int
    """Action tokens that carry gradient: fresh ones, of trajectories that may be trained on."""
    num_tokens: int
    """Tokens that the learner reads."""
    values: dict[str, float]
    """Metrics by name."""


class BatchBuilder:
    """Builds step batches; a pure function of groups and version."""

    def __init__(self, config: LearnerConfig) -> None:
        self._config = config

    def build(self, groups: Sequence[Group], received: Sequence[list[int]], version: int) -> StepBatch:
        """Batch of `groups`, consumed at `version`; `received[g][i]`: version at member i's arrival.

        Tokens older than `max_staleness` are masked whatever the mode: the mode decides what happens before.
        """
        config = self._config
        fresh = [[self._is_trained(t, version) for t in group.trajectories] for group in groups]
        advantages = [
            grpo(np.array([t.episode_return for t in g.trajectories]), normalizes_std=config.normalizes_std)
            for g in groups
        ]
        batch = build_batch(
            groups,
            advantages,
            microbatch_tokens=config.microbatch_tokens,
            num_ranks=config.num_ranks,
            fresh=fresh,
        )
        trained = _trained_staleness(groups, fresh, version)
        num_actions = sum(t.num_action_tokens for group in groups for t in group.trajectories)
        values = self._values(groups, received, version)
        values["staleness/masked_share"] = 1 - len(trained) / max(1, num_actions)
        values["staleness/token_mean"] = float(trained.mean()) if len(trained) else 0.0
        return StepBatch(batch, int(trained.max(initial=0)), len(trained), batch.num_tokens, values)

    def _is_trained(self, trajectory: Trajectory, version: int) -> NDArray[np.bool_]:
        fresh = fresh_tokens(trajectory, version, self._config.staleness)
        if self._config.mask_truncated and trajectory.is_truncated:
            return np.zeros_like(fresh)
        return fresh

    def _values(
        self, groups: Sequence[Group], received: Sequence[list[int]], version: int
    ) -> dict[str, float]:
        measured = [measure(g, r, version) for g, r in zip(groups, received, strict=True)]
        values = {
            "staleness/mean": float(np.mean([m.oldest for m in measured])),
            "staleness/max": float(max(m.oldest for m in measured)),
            "staleness/in_flight": float(np.mean([m.in_flight for m in measured])),
            "staleness/in_queue": float(np.mean([m.in_queue for m in measured])),
        }
        for horizon in sorted({g.horizon for g in groups}):
            at = [m.oldest for g, m in zip(groups, measured, strict=True) if g.horizon == horizon]
            values[f"horizon/{horizon}/staleness"] = float(np.mean(at))
            values[f"horizon/{horizon}/trained_groups"] = float(len(at))
        return values


def _trained_staleness(
    groups: Sequence[Group], fresh: Sequence[Sequence[NDArray[np.bool_]]], version: int
) -> NDArray[np.int32]:
    """Staleness of every token that is trained on, over all groups."""
    parts = [
        token_staleness(trajectory, version)[mask]
        for group, masks in zip(groups, fresh, strict=True)
        for trajectory, mask in zip(group.trajectories, masks, strict=True)
        if len(mask)
    ]
    return np.concatenate([np.empty(0, np.int32), *parts])
