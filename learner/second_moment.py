"""M2PO: which tokens of a batch carry the policy too far from the one that sampled. NumPy only."""

import numpy as np
from numpy.typing import NDArray


def second_moment_mask(
    log_ratios: NDArray[np.floating], advantages: NDArray[np.floating], threshold: float
) -> NDArray[np.bool_]:
    """[A] which tokens to keep so that the second moment of log r is at most `threshold`.

    Only tokens that the update would carry farther out count and are masked: A > 0 and r > 1, or A < 0
    and r < 1. From the largest (log r)^2 downwards they are masked until

        M2 = mean of (log r)^2 over the outward tokens that are kept  <=  threshold

    M2PO, arXiv:2510.01161, which takes 0.04 over the tokens of a whole batch. Tokens of the same (log r)^2
    share their fate: their order does not matter. `log_ratios` are log pi - log mu as the step began.
    Raises ValueError for a threshold that is not positive: it would mask every outward token.
    """
    if threshold <= 0:
        raise ValueError(f"second moment {threshold:g}: must be positive")
    moments = np.square(np.asarray(log_ratios, np.float64))
    is_outward = np.sign(log_ratios) * np.sign(advantages) > 0
    rising = np.sort(moments[is_outward])
    running_mean = np.cumsum(rising) / np.arange(1, len(rising) + 1)
    num_kept = int((running_mean <= threshold).sum())
    if num_kept == len(rising):
        return np.ones(len(moments), np.bool_)
    kept: NDArray[np.bool_] = ~is_outward | (moments < rising[num_kept])
    return kept
