"""What holds a step back when its batch is too far from the policy; every rank decides the same."""

from math import sqrt

from learner.algorithm_config import GuardConfig


def rate_scale(config: GuardConfig, effective_sample_share: float) -> float:
    """What the learning rate of an update is multiplied by, 0 to 1; 1 without `ess_scaling`.

        sqrt(ESS / n),   ESS / n = (sum r)^2 / (n sum r^2)        VCPO, arXiv:2602.17616

    The variance of an importance-weighted mean is that of ESS samples, and the rate follows the square
    root of the number of samples. Of tokens here; the paper counts sequences.
    """
    if not config.ess_scaling:
        return 1.0
    return sqrt(min(1.0, max(0.0, effective_sample_share)))


def skips_update(config: GuardConfig, effective_sample_share: float) -> bool:
    """Whether an update is left out: too few tokens carry all of its weight."""
    return effective_sample_share < config.min_ess


def ends_epochs(config: GuardConfig, update_kl: float) -> bool:
    """Whether the updates of a step end: the policy is farther from where it began than `max_update_kl`."""
    return 0 < config.max_update_kl < update_kl
