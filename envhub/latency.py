"""Slow environments for benchmarks: a seeded wait before every step."""

import math
from random import Random

from envhub.config import HubConfig


class StepLatency:
    """Waits drawn from a log-normal distribution with the configured mean; the same sequence in every run.

    ln X ~ N(mu, sigma^2) with mu = ln(mean) - sigma^2 / 2, so that E[X] = mean whatever sigma is.
    """

    def __init__(self, config: HubConfig, seed: int = 0) -> None:
        self._mean_s, self._sigma = config.latency_mean_s, config.latency_sigma
        self._random = Random(seed)

    def next_s(self) -> float:
        """Seconds to wait before the next step; 0 when no latency is configured."""
        if self._mean_s == 0:
            return 0.0
        return self._random.lognormvariate(math.log(self._mean_s) - self._sigma**2 / 2, self._sigma)
