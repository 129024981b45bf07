"""Injected latency."""

import math
from statistics import mean, median

from envhub.config import HubConfig
from envhub.latency import StepLatency


def test_the_waits_have_the_configured_mean_and_a_long_tail() -> None:
    latency = StepLatency(HubConfig(latency_mean_s=0.5, latency_sigma=1.0))
    waits = [latency.next_s() for _ in range(50_000)]
    assert abs(mean(waits) - 0.5) < 0.02
    assert abs(median(waits) - 0.5 * math.exp(-0.5)) < 0.01


def test_the_waits_are_the_same_in_every_run() -> None:
    one, other = (StepLatency(HubConfig(latency_mean_s=0.5)) for _ in range(2))
    assert [one.next_s() for _ in range(10)] == [other.next_s() for _ in range(10)]


def test_no_latency_is_no_wait_and_no_spread_is_the_mean() -> None:
    assert StepLatency(HubConfig()).next_s() == 0.0
    assert math.isclose(StepLatency(HubConfig(latency_mean_s=0.2, latency_sigma=0.0)).next_s(), 0.2)
