"""Numbers about shares: how sure one can be of a success rate, of one policy and of the better of two."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

Z_95 = 1.959963984540054
"""Two-sided 95 % quantile of the standard normal distribution."""

RESAMPLES = 10_000
_DRAWN_AT_ONCE = 2_000_000
"""Indices of a bootstrap held in memory at a time."""


def wilson_interval(successes: int, trials: int, z: float = Z_95) -> tuple[float, float]:
    """The Wilson score interval of a binomial share: (low, high), both within [0, 1].

    centre +- half with, for p = k / n,
        centre = (p + z^2 / 2n) / (1 + z^2 / n)
        half   = z sqrt(p (1 - p) / n + z^2 / 4n^2) / (1 + z^2 / n)
    E. B. Wilson, 1927. Honest for small n and for shares near 0 and 1, where k/n +- z sqrt(pq/n) is not.
    Raises ValueError when there are no trials, or more successes than trials.
    """
    if trials < 1 or not 0 <= successes <= trials:
        raise ValueError(
            f"{successes} successes of {trials} trials: give 0 <= successes <= trials and trials >= 1"
        )
    return _wilson(successes / trials, trials, z)


def _wilson(share: float, trials: float, z: float) -> tuple[float, float]:
    shrink = 1 + z * z / trials
    centre = (share + z * z / (2 * trials)) / shrink
    half = z * math.sqrt(share * (1 - share) / trials + z * z / (4 * trials * trials)) / shrink
    low = 0.0 if share == 0 else max(0.0, centre - half)
    high = 1.0 if share == 1 else min(1.0, centre + half)
    return low, high


def clustered_interval(shares: Sequence[float], trials: int, z: float = Z_95) -> tuple[float, float]:
    """Interval of the mean of one share per task, each measured on several plays of that task: (low, high).

    Plays of one task are alike, so n plays say less than n tasks. Wilson's interval at the number of
    independent plays that is as sure as these are,
        n_eff = p (1 - p) / V,   V = sum_i (p_i - p)^2 / (m (m - 1)),   p = mean of the m shares p_i,
    kept between m (all plays of a task alike) and `trials` (all independent); m where p is 0 or 1, or m = 1.
    With one play per task it is Wilson's interval over the tasks. Shares lie in [0, 1]. Raises ValueError
    without shares, with fewer trials than shares, or for a share outside.
    """
    m = len(shares)
    if m < 1 or trials < m or not all(0 <= share <= 1 for share in shares):
        raise ValueError(f"{m} shares of {trials} trials: give shares in [0, 1] and a trial or more for each")
    mean = math.fsum(shares) / m
    spread = math.fsum((share - mean) ** 2 for share in shares)
    if m == 1 or mean in (0, 1):
        return _wilson(mean, m, z)
    independent = math.inf if spread == 0 else mean * (1 - mean) * m * (m - 1) / spread
    return _wilson(mean, min(max(independent, m), trials), z)


def pass_at_k(samples: int, successes: int, k: int) -> float:
    """Probability that at least one of k plays succeeds, estimated without bias from `samples` plays.

    1 - C(n - c, k) / C(n, k) for c successes of n: arXiv:2107.03374, eq. 1. Exact integers until the last
    division. Raises ValueError unless 1 <= k <= samples and 0 <= successes <= samples.
    """
    if not 1 <= k <= samples or not 0 <= successes <= samples:
        raise ValueError(
            f"pass@{k} of {successes} successes in {samples} samples: give 1 <= k <= samples and "
            "0 <= successes <= samples"
        )
    return 1 - math.comb(samples - successes, k) / math.comb(samples, k)


@dataclass(frozen=True)
class Difference:
    """By how much the second of two measurements of the same tasks is larger than the first."""

    mean: float
    low: float
    high: float
    """95 % interval, percentiles of the bootstrap."""
    p_value: float
    """Two-sided: how often tasks without any difference would show one this large."""


def paired_bootstrap(
    first: Sequence[float], second: Sequence[float], *, seed: int = 0, resamples: int = RESAMPLES
) -> Difference:
    """Compare two measurements of the same tasks, in the same order, by drawing tasks with replacement.

    d_i = second_i - first_i; D* is the mean of m draws of d. The interval is the 2.5 and 97.5 percentile of
    D*; p = (1 + #{|D* - D| >= |D|}) / (1 + resamples) (B. Efron and R. Tibshirani, 1993, chapters 13 and
    16). The same seed gives the same numbers. Raises ValueError unless both have the same length, at least 1.
    """
    if len(first) != len(second) or not len(first):
        raise ValueError(f"{len(first)} and {len(second)} values: give as many of each, at least 1")
    differences = np.asarray(second, np.float64) - np.asarray(first, np.float64)
    m, mean = len(differences), float(differences.mean())
    generator = np.random.default_rng(seed)
    rows = max(1, _DRAWN_AT_ONCE // m)
    drawn = np.concatenate(
        [
            differences[generator.integers(0, m, (min(rows, resamples - start), m))].mean(axis=1)
            for start in range(0, resamples, rows)
        ]
    )
    low, high = np.percentile(drawn, [2.5, 97.5])
    # Sums of the same numbers in another order differ in the last bits.
    reached = np.abs(drawn - mean) >= abs(mean) - 1e-12
    p_value = (1 + int(reached.sum())) / (1 + resamples)
    return Difference(mean, float(low), float(high), p_value)
