"""The two modes of the overlap benchmark, and what it makes of their runs."""

from pathlib import Path

import pytest

from benchmarks.overlap import ALWAYS, CONFIG, MODES, Pace, add_figures, overrides
from benchmarks.report import Report
from common.config import load
from launch.config import RunConfig


def pace(step_s: float, *, training_s: float, episode_s: float, max_staleness: int) -> Pace:
    return Pace(
        step_s=step_s,
        training_s=training_s,
        waiting_s=step_s - training_s,
        weight_sync_s=0.0,
        episode_s=episode_s,
        slowest_episode_s=2 * episode_s,
        turns=6.0,
        trained_per_s=64 / step_s,
        played_per_s=64 / step_s,
        tokens_per_s=0.0,
        engine_utilisation=1.0,
        masked_share=0.0,
        max_staleness=max_staleness,
    )


def test_the_modes_differ_in_the_staleness_limit_alone() -> None:
    one, other = (load(RunConfig, [CONFIG], [*overrides(m, Path("model"), 9), *ALWAYS]) for m in MODES)
    assert (one.learner.staleness.max_staleness, other.learner.staleness.max_staleness) == (0, 2)
    staleness = one.learner.staleness
    assert (
        other.model_copy(update={"learner": other.learner.model_copy(update={"staleness": staleness})}) == one
    )
    assert one.hub.latency_mean_s == 0.3
    assert not one.learner.drops_zero_variance


def test_the_ratio_is_of_medians_and_the_ideal_is_the_slower_of_playing_and_learning() -> None:
    report = Report("overlap")
    add_figures(
        report,
        {
            "sync": [pace(s, training_s=1, episode_s=3, max_staleness=0) for s in (8, 10, 99)],
            "async": [
                pace(s, training_s=1, episode_s=3, max_staleness=n) for s, n in ((4, 1), (5, 2), (6, 3))
            ],
        },
    )
    figures = report.figures
    assert figures["overlap_ratio"].value == pytest.approx(0.5)
    assert figures["overlap_ratio"].holds
    assert figures["overlap_ideal_ratio"].value == pytest.approx(0.3)
    assert figures["overlap_sync_step_s"].value == 10
    assert not figures["overlap_async_max_staleness"].holds, "one run trained on a token of 3 versions"
