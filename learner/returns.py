"""Sums over the action tokens of one trajectory, from the last to the first. NumPy only, float64.

The action tokens of a trajectory are its time steps 0 .. A - 1; what the policy only read lies between them
and takes no time. `discounts` and `traces` are gamma_t and lambda_t, [A]: they apply to what comes after t.
"""

from typing import Literal

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]
BoolVector = NDArray[np.bool_]


def rates(rate: float, is_turn_end: BoolVector, unit: Literal["turn", "token"]) -> Vector:
    """[A] `rate` where a turn ends, or with unit "token" everywhere; 1 elsewhere.

    A turn without action tokens is no time step: nothing is discounted for it.
    """
    if unit == "token":
        return np.full(len(is_turn_end), rate, np.float64)
    return np.where(is_turn_end, np.float64(rate), np.float64(1))


def accumulate(increments: Vector, factors: Vector) -> Vector:
    """[A] x_t = increments_t + factors_t x_{t+1}, with 0 after the last; such as discounted rewards to go."""
    sums: list[float] = []
    ahead = 0.0
    for increment, factor in zip(increments[::-1].tolist(), factors[::-1].tolist(), strict=True):
        ahead = increment + factor * ahead
        sums.append(ahead)
    return np.array(sums[::-1], np.float64)


def shifted(values: Vector, after: float) -> Vector:
    """[A] what stands one time step later; `after` follows the last."""
    return np.append(values, after)[1:]


def gae(
    rewards: Vector, values: Vector, bootstrap: float, *, discounts: Vector, traces: Vector
) -> tuple[Vector, Vector]:
    """Generalised advantages and the returns that the critic is fitted to; both [A].

        delta_t  = r_t + gamma_t V_{t+1} - V_t,   V_A = bootstrap
        A_t      = delta_t + gamma_t lambda_t A_{t+1}
        return_t = A_t + V_t
    GAE, arXiv:1506.02438, eq. 11, 16, on the action tokens alone: the value after the last token of a turn
    is the one before the next turn's first. With every lambda_t = 1 the return is the Monte Carlo return.
    """
    deltas = rewards + discounts * shifted(values, bootstrap) - values
    advantages = accumulate(deltas, discounts * traces)
    return advantages, advantages + values
