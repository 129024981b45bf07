"""Advantages: from rewards to the credit of every action token. NumPy only, float64 inside.

An estimator reads trajectories on their *action tokens* alone, in order, with everything else cut out: what
the policy only read is no time step. A turn's reward stands on its last action token.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from common.trajectory import Trajectory
from learner.algorithm_config import AdvantageConfig
from learner.returns import BoolVector, Vector, accumulate, gae, rates
from learner.vtrace import vtrace

FloatVector = NDArray[np.float32]

_STD_EPSILON = 1e-6
_TOKEN_STD_EPSILON = 1e-8
_SAME_RETURN = 1e-8


@dataclass(frozen=True, eq=False)
class RewardSequence:
    """One trajectory as an estimator reads it; [A] over its action tokens."""

    group: int
    """Members of one group have the same number."""
    rewards: Vector
    """A turn's reward on its last action token, less the KL penalty of every token where one is asked for."""
    is_turn_end: BoolVector
    """The last action token of its turn."""
    unplaced: float = 0.0
    """The reward of an episode without any action token (A = 0): part of its group's baseline, too."""
    values: Vector | None = None
    """V(state before each action token); None without a critic."""
    bootstrap: float = 0.0
    """V(state after the last action) of an episode that was cut; 0 where the task ended it."""
    log_ratios: Vector | None = None
    """log pi - log mu of each action token as the step began; `vtrace` reads them."""

    @property
    def episode_return(self) -> float:
        """All rewards."""
        return float(self.rewards.sum()) + self.unplaced


@dataclass(frozen=True, eq=False)
class Credit:
    """What an estimator says of one trajectory; [A] float32."""

    advantages: FloatVector
    returns: FloatVector
    """What the critic should have said before each action token; zero for estimators without one."""


def reward_sequence(
    trajectory: Trajectory, group: int, *, penalties: NDArray[np.floating[Any]] | None = None
) -> RewardSequence:
    """The trajectory's rewards on its action tokens; no critic and no log ratios yet.

    Each turn's reward stands on its last action token. That of a turn without action tokens goes to the
    nearest earlier action token, else to the first of all; without any it is `unplaced`. No reward is ever
    lost. `penalties` [A] (beta times the KL divergence) are taken from the reward of each action token.
    Raises ValueError when their number is another.
    """
    lengths = [len(turn.action_tokens) for turn in trajectory.turns]
    num = sum(lengths)
    if penalties is not None and penalties.shape != (num,):
        raise ValueError(
            f"trajectory {trajectory.identity.group}/{trajectory.identity.member} has {num} action tokens"
            f" but penalties of shape {penalties.shape}"
        )
    if num == 0:
        nothing = np.zeros(0, np.float64)
        return RewardSequence(group, nothing, np.zeros(0, np.bool_), unplaced=trajectory.episode_return)
    ends = np.cumsum(lengths) - 1
    is_turn_end = np.zeros(num, np.bool_)
    is_turn_end[ends[ends >= 0]] = True
    rewards = np.zeros(num, np.float64)
    np.add.at(rewards, np.maximum(ends, 0), [turn.reward for turn in trajectory.turns])
    return RewardSequence(group, rewards if penalties is None else rewards - penalties, is_turn_end)


def estimate(config: AdvantageConfig, sequences: Sequence[RewardSequence]) -> list[Credit]:
    """The credit of every trajectory of a batch, in order; whole groups, in any order, members in any order.

    A trajectory without action tokens has an empty credit and is still a member of its group. Whether a cut
    episode goes on with the critic's value is settled in `RewardSequence.bootstrap`. What is not a number
    stays so. Raises ValueError where a group of one would be compared, `gae` or `vtrace` lack the values and
    `vtrace` the log ratios of a trajectory, or a vector has another length than its rewards.
    """
    for sequence in sequences:
        _check(config, sequence)
    return _ESTIMATORS[config.kind](config, sequences)


def grpo(returns: Vector, *, normalizes_std: bool) -> FloatVector:
    """The return of each member minus the mean of its group, [G] float32; sums to zero.

        A_i = R_i - mean(R)                            Dr. GRPO, arXiv:2503.20783
        A_i = (R_i - mean(R)) / (std(R) + 1e-6)        GRPO, arXiv:2402.03300, with `normalizes_std`

    `std` is the sample standard deviation (divides by G - 1). Raises ValueError for fewer than two
    members: there is nothing to compare.
    """
    centred = _compared(returns, "grpo")
    if normalizes_std:
        centred = centred / (centred.std(ddof=1) + _STD_EPSILON)
    return np.asarray(centred, np.float32)


def rloo(returns: Vector) -> FloatVector:
    """The return of each member minus the mean of the others, [G] float32; sums to zero.

        A_i = R_i - sum_{j != i} R_j / (G - 1)  =  G / (G - 1) (R_i - mean(R))
    RLOO, arXiv:2402.14740. The baseline does not know the member's own return: the gradient is unbiased,
    where `grpo` without std gives (G - 1) / G of it. Raises ValueError for fewer than two members.
    """
    centred = _compared(returns, "rloo")
    return np.asarray(centred * (len(centred) / (len(centred) - 1)), np.float32)


def has_zero_variance(returns: Vector) -> bool:
    """Whether all members returned the same: every advantage is zero and the group teaches nothing."""
    return bool(np.ptp(np.asarray(returns, np.float64)) <= _SAME_RETURN)


def _compare_groups(config: AdvantageConfig, sequences: Sequence[RewardSequence]) -> list[Credit]:
    """`grpo`, `rloo`: one number for all action tokens of a trajectory, undiscounted."""
    advantages = np.zeros(len(sequences), np.float32)
    for members, returns in _groups(sequences):
        advantages[members] = (
            rloo(returns) if config.kind == "rloo" else grpo(returns, normalizes_std=config.normalizes_std)
        )
    return [
        _credit(np.full(len(s.rewards), advantage, np.float32))
        for s, advantage in zip(sequences, advantages, strict=True)
    ]


def _reinforce_pp(config: AdvantageConfig, sequences: Sequence[RewardSequence]) -> list[Credit]:
    """Discounted rewards to go, normalised over all action tokens of the batch.

        G_t = r_t + gamma_t G_{t+1},   A_t = (G_t - mean(G)) / (std(G) + 1e-8)
    REINFORCE++, arXiv:2501.03262. With the group as baseline the mean return of the group is first taken
    from the reward of each member's last action token; with gamma 1 that is G_t - mean return.
    """
    baselines = np.zeros(len(sequences), np.float64)
    if config.baseline == "group":
        for members, returns in _groups(sequences):
            baselines[members] = returns - _compared(returns, "reinforce_pp with baseline = 'group'")
    to_go = []
    for sequence, baseline in zip(sequences, baselines, strict=True):
        rewards = sequence.rewards.astype(np.float64)
        rewards[-1:] -= baseline
        to_go.append(accumulate(rewards, rates(config.gamma, sequence.is_turn_end, config.discount_unit)))
    return [_credit(advantages) for advantages in _whitened(to_go)]


def _with_critic(config: AdvantageConfig, sequences: Sequence[RewardSequence]) -> list[Credit]:
    """`gae`, `vtrace`; the advantages are whitened where that is asked for, the returns never."""
    advantages, returns = [], []
    for sequence in sequences:
        advantage, target = _from_values(config, sequence)
        advantages.append(advantage)
        returns.append(target)
    if config.whitens:
        advantages = _whitened(advantages)
    return [_credit(advantage, target) for advantage, target in zip(advantages, returns, strict=True)]


def _from_values(config: AdvantageConfig, sequence: RewardSequence) -> tuple[Vector, Vector]:
    """Advantages and returns of one trajectory; [A] float64."""
    if len(sequence.rewards) == 0:
        return np.zeros(0, np.float64), np.zeros(0, np.float64)
    rewards, values = sequence.rewards.astype(np.float64), np.asarray(sequence.values, np.float64)
    discounts = rates(config.gamma, sequence.is_turn_end, config.discount_unit)
    traces = rates(config.gae_lambda, sequence.is_turn_end, config.discount_unit)
    if config.kind == "gae":
        return gae(rewards, values, sequence.bootstrap, discounts=discounts, traces=traces)
    return vtrace(
        rewards,
        values,
        sequence.bootstrap,
        np.asarray(sequence.log_ratios, np.float64),
        discounts=discounts,
        traces=traces,
        rho_cap=config.rho_cap,
        c_cap=config.c_cap,
    )


_ESTIMATORS: dict[str, Callable[[AdvantageConfig, Sequence[RewardSequence]], list[Credit]]] = {
    "grpo": _compare_groups,
    "rloo": _compare_groups,
    "reinforce_pp": _reinforce_pp,
    "gae": _with_critic,
    "vtrace": _with_critic,
}


def _check(config: AdvantageConfig, sequence: RewardSequence) -> None:
    """Everything the estimator reads is there, one value for each action token; ValueError otherwise."""
    num = len(sequence.rewards)
    for name, is_read in (
        ("is_turn_end", True),
        ("values", config.needs_critic),
        ("log_ratios", config.kind == "vtrace"),
    ):
        vector = getattr(sequence, name)
        if not is_read or num == 0:
            continue
        if vector is None:
            raise ValueError(
                f"{config.kind} needs the {name} of every trajectory; group {sequence.group} has none"
            )
        if vector.shape != (num,):
            raise ValueError(
                f"group {sequence.group}: {name} of shape {vector.shape} for {num} action tokens"
            )


def _groups(sequences: Sequence[RewardSequence]) -> Iterator[tuple[list[int], Vector]]:
    """The places of each group's members, and their returns."""
    places: dict[int, list[int]] = {}
    for place, sequence in enumerate(sequences):
        places.setdefault(sequence.group, []).append(place)
    for members in places.values():
        yield members, np.array([sequences[place].episode_return for place in members], np.float64)


def _compared(returns: Vector, estimator: str) -> Vector:
    """The returns of a group less their mean; exactly zero where all are the same."""
    if len(returns) < 2:
        raise ValueError(f"a group of {len(returns)}: {estimator} compares members, give at least 2")
    offsets = np.asarray(returns, np.float64) - np.float64(returns[0])
    return np.asarray(offsets - offsets.mean())


def _whitened(parts: Sequence[Vector]) -> list[Vector]:
    """The same, less the mean and over the standard deviation of all their entries (divides by N)."""
    lengths = np.cumsum([len(part) for part in parts])
    together = np.concatenate([np.zeros(0, np.float64), *parts])
    if len(together) == 0:
        return list(parts)
    # From the first entry on: equal entries then give exact zeros, however large they are.
    offsets = together - together[0]
    centred = offsets - offsets.mean()
    return np.split(centred / (centred.std() + _TOKEN_STD_EPSILON), lengths[:-1])


def _credit(advantages: NDArray[np.floating[Any]], returns: Vector | None = None) -> Credit:
    zeros = np.zeros(len(advantages), np.float32)
    return Credit(advantages.astype(np.float32), zeros if returns is None else returns.astype(np.float32))
