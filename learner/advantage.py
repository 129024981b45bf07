"""Advantages: from the returns of a group to the credit of each of its members. NumPy only."""

import numpy as np
from numpy.typing import NDArray

FloatVector = NDArray[np.float32]

_STD_EPSILON = 1e-6
_SAME_RETURN = 1e-8


def grpo(returns: FloatVector, *, normalizes_std: bool) -> FloatVector:
    """The return of each member minus the mean of its group, [G] float32; sums to zero.

        A_i = R_i - mean(R)                            Dr. GRPO, arXiv:2503.20783
        A_i = (R_i - mean(R)) / (std(R) + 1e-6)        GRPO, arXiv:2402.03300, with `normalizes_std`

    `std` is the sample standard deviation (divides by G - 1). Raises ValueError for fewer than two
    members: there is nothing to compare.
    """
    if len(returns) < 2:
        raise ValueError(f"a group of {len(returns)}: grpo compares members, give at least 2")
    values = np.asarray(returns, np.float64)
    centred = values - values.mean()
    if normalizes_std:
        centred /= values.std(ddof=1) + _STD_EPSILON
    return np.asarray(centred, np.float32)


def has_zero_variance(returns: FloatVector) -> bool:
    """Whether all members returned the same: every advantage is zero and the group teaches nothing."""
    return bool(np.ptp(np.asarray(returns, np.float64)) <= _SAME_RETURN)
