"""The plan benchmark: its cases are valid configurations, its errors mean what they say."""

import pytest

from benchmarks.plan import ALWAYS, CONFIG, RUNS, STEPS, Case, error
from common.config import load
from launch.config import RunConfig
from launch.plan.simulation import skipped_steps


@pytest.mark.parametrize("case", RUNS, ids=lambda case: case.name)
def test_every_case_is_a_configuration_whose_steps_are_counted(case: Case) -> None:
    config = load(RunConfig, [CONFIG], [*ALWAYS, *case.overrides])
    assert 0 < skipped_steps(STEPS, config.learner.staleness.max_staleness) < STEPS


def test_errors_are_relative_but_for_shares_and_versions() -> None:
    assert error("trajectories_per_s", 4.0, 5.0) == "+25%"
    assert error("learner_idle", 0.10, 0.05) == "-5 pt"
    assert error("staleness_mean", 1.0, 1.25) == "+0.25"
