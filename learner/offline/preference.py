"""Preference losses of pairs of trajectories, and what they ask of each token's log-likelihood. NumPy only.

The loss of a pair depends on the policy only through its margin

    m = D(chosen) - D(rejected),    D = sum_t log pi_t - log ref_t  over the action tokens of a trajectory

(or their mean, with `normalizes_length`). So the gradient of the loss is that of a weighted log-likelihood

    dL/dm (grad log pi(chosen) - grad log pi(rejected))

with dL/dm known before the backward pass: a step scores all sequences, then makes one update of
`loss.imitation`. The members of a pair may lie in different micro-batches, on different ranks.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from learner.offline.config import DpoConfig

Vector = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Preferences:
    """What the policy prefers, by pair; [P] float64."""

    losses: Vector
    """Without the imitation term."""
    margins: Vector
    chosen: Vector
    """beta D of the chosen trajectory: its implicit reward."""
    rejected: Vector
    slopes: Vector
    """dL/dm."""


def preferences(chosen: Vector, rejected: Vector, config: DpoConfig) -> Preferences:
    """Loss and slope of each pair from D of its members, [P] float64 in nats.

    sigmoid   L = -log sigmoid(beta m)      dL/dm = -beta sigmoid(-beta m)     arXiv:2305.18290, eq. 7
    ipo       L = (m - 1 / (2 beta))^2      dL/dm = 2 (m - 1 / (2 beta))       arXiv:2310.12036, eq. 17
    """
    margins, beta = chosen - rejected, config.beta
    if config.loss == "sigmoid":
        losses = np.logaddexp(0.0, -beta * margins)
        slopes = -beta * np.exp(-np.logaddexp(0.0, beta * margins))
    else:
        target = 1 / (2 * beta)
        losses, slopes = (margins - target) ** 2, 2 * (margins - target)
    return Preferences(losses, margins, beta * chosen, beta * rejected, slopes)


def log_ratio(logprobs: NDArray[np.float32], reference: NDArray[np.float32], config: DpoConfig) -> float:
    """D of one trajectory from the [A] logprobs of its action tokens; A is at least 1."""
    difference = np.float64(logprobs) - np.float64(reference)
    return float(difference.mean() if config.normalizes_length else difference.sum())


def advantages(
    preferred: Preferences, num_chosen: Sequence[int], num_rejected: Sequence[int], config: DpoConfig
) -> tuple[Vector, Vector]:
    """[P] what each action token of the chosen and of the rejected trajectory counts.

    `num_*` are the lengths A of the trajectories in action tokens. With these and a weight of 1 / (2 P) per
    token (`seq-mean-token-sum` over 2 P sequences) the gradient of `loss.imitation` is that of

        mean_p ( L_p - imitation mean_t log pi_t(chosen) )
    """
    per_chosen = np.asarray(num_chosen, np.float64)
    shares = (per_chosen, np.asarray(num_rejected, np.float64)) if config.normalizes_length else (1.0, 1.0)
    likelier = 2 * (-preferred.slopes / shares[0] + config.imitation / per_chosen)
    return likelier, 2 * preferred.slopes / shares[1]
