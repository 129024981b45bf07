"""Random batches of multi-turn trajectories as the estimators read them."""

from collections.abc import Sequence
from dataclasses import replace
from typing import get_args

import numpy as np
from hypothesis import strategies as st

from learner.advantage import Credit, RewardSequence, reward_sequence
from learner.algorithm_config import AdvantageConfig, Estimator
from tests.making import trajectory, turn

Turns = Sequence[tuple[int, float]]
"""(action tokens, reward) of each turn."""

configs = st.builds(
    AdvantageConfig,
    kind=st.sampled_from(get_args(Estimator)),
    normalizes_std=st.booleans(),
    baseline=st.sampled_from(["batch", "group"]),
    gamma=st.sampled_from([0.0, 0.5, 0.95, 1.0]),
    gae_lambda=st.sampled_from([0.0, 0.7, 1.0]),
    discount_unit=st.sampled_from(["turn", "token"]),
    whitens=st.booleans(),
    rho_cap=st.sampled_from([0.5, 1.0, 10.0]),
    c_cap=st.sampled_from([0.5, 1.0, 2.0]),
)


def played(group: int, turns: Turns) -> RewardSequence:
    made = tuple(turn(num_action=num, reward=reward) for num, reward in turns)
    return reward_sequence(trajectory(group, turns=made, horizon=max(1, len(made))), group)


def with_critic(sequence: RewardSequence) -> RewardSequence:
    """A critic that says 0, on policy."""
    zeros = np.zeros(len(sequence.rewards))
    return replace(sequence, values=zeros, log_ratios=zeros)


@st.composite
def batches(draw: st.DrawFn) -> list[RewardSequence]:
    """Groups of 2 to 4, episodes of 0 to 4 turns of 0 to 4 tokens: terminal rewards and rewards per turn,
    cut and terminated, log ratios from 0 to far beyond the clamp; members of all groups mixed up.
    """
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    made = []
    for group in draw(st.lists(st.integers(0, 1000), min_size=1, max_size=3, unique=True)):
        for lengths in draw(st.lists(st.lists(st.integers(0, 4), max_size=4), min_size=2, max_size=4)):
            made.append(_member(group, lengths, rng, draw))
    return draw(st.permutations(made))


def _member(group: int, lengths: list[int], rng: np.random.Generator, draw: st.DrawFn) -> RewardSequence:
    rewards = rng.normal(size=len(lengths)).round(2)
    if draw(st.booleans()):
        rewards[:-1] = 0
    sequence = played(group, list(zip(lengths, rewards.tolist(), strict=True)))
    num = len(sequence.rewards)
    spread = draw(st.sampled_from([0.0, 0.1, 3.0, 100.0]))
    return replace(
        sequence,
        values=rng.normal(size=num),
        bootstrap=float(rng.normal()) if draw(st.booleans()) else 0.0,
        log_ratios=rng.normal(size=num) * spread,
    )


def assert_credits(results: Sequence[Credit], expected: Sequence[Sequence[float]], field: str) -> None:
    """Equal to 1e-5 of the largest entry of the batch; float32, of the same lengths."""
    parts = [getattr(credit, field) for credit in results]
    assert [len(part) for part in parts] == [len(part) for part in expected]
    assert all(part.dtype == np.float32 for part in parts)
    truth = np.concatenate([np.zeros(1), *map(np.asarray, expected)])
    found = np.concatenate([np.zeros(1), *parts])
    np.testing.assert_allclose(found, truth, rtol=1e-5, atol=1e-5 * max(1.0, np.abs(truth).max()))
