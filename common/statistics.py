"""Numbers about shares: how sure one can be of a success rate measured on n tasks."""

import math

Z_95 = 1.959963984540054
"""Two-sided 95 % quantile of the standard normal distribution."""


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
    share = successes / trials
    shrink = 1 + z * z / trials
    centre = (share + z * z / (2 * trials)) / shrink
    half = z * math.sqrt(share * (1 - share) / trials + z * z / (4 * trials * trials)) / shrink
    low = 0.0 if successes == 0 else max(0.0, centre - half)
    high = 1.0 if successes == trials else min(1.0, centre + half)
    return low, high


def exceeds_by_chance(successes: int, trials: int, base_successes: int, base_trials: int) -> float:
    """Probability that a share at least this much larger than the base share arises by chance; one-sided.

    The pooled two-proportion z-test; 0.5 when the shares are equal. Raises ValueError without trials.
    """
    if trials < 1 or base_trials < 1:
        raise ValueError(f"{trials} and {base_trials} trials: give at least 1 each")
    pooled = (successes + base_successes) / (trials + base_trials)
    spread = math.sqrt(pooled * (1 - pooled) * (1 / trials + 1 / base_trials))
    if spread == 0:
        return 0.5
    z = (successes / trials - base_successes / base_trials) / spread
    return 0.5 * math.erfc(z / math.sqrt(2))
