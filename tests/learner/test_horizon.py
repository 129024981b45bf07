import pytest

from learner.config import HorizonConfig
from learner.horizon import StepEvidence, horizon_at


def test_fixed_is_the_first_round_for_ever():
    config = HorizonConfig(kind="fixed", rounds=(7,))
    assert [horizon_at(config, step) for step in (1, 2, 1000)] == [7, 7, 7]


def test_stepwise_follows_the_formula_of_scalinginter_rl():
    config = HorizonConfig(kind="stepwise", rounds=(4, 7, 10), every=3)
    assert [horizon_at(config, step) for step in range(1, 12)] == [4, 4, 4, 7, 7, 7, 10, 10, 10, 10, 10]


def test_linear_rises_from_first_to_last_and_stays():
    config = HorizonConfig(kind="linear", rounds=(2, 10), every=8)
    assert [horizon_at(config, step) for step in (1, 2, 5, 9, 50)] == [2, 3, 6, 10, 10]


def evidence(step: int, horizon: int, *, successes: int = 0, cut: int = 0) -> StepEvidence:
    return StepEvidence(step, horizon, num_trajectories=10, num_successes=successes, num_cut=cut)


def test_adaptive_is_raised_by_success_at_this_horizon_only():
    config = HorizonConfig(kind="adaptive", rounds=(4, 8), every=2, window=20, success_threshold=0.7)
    solved = [evidence(1, 4, successes=8), evidence(2, 4, successes=8)]
    assert horizon_at(config, 3, solved) == 8
    of_another_horizon = [evidence(1, 8, successes=10), evidence(2, 8, successes=10)]
    assert horizon_at(config, 3, of_another_horizon) == 4


def test_adaptive_is_raised_when_the_horizon_cuts_too_many():
    config = HorizonConfig(kind="adaptive", rounds=(4, 8), every=1, window=10, truncation_threshold=0.5)
    assert horizon_at(config, 2, [evidence(1, 4, cut=4)]) == 4
    assert horizon_at(config, 2, [evidence(1, 4, cut=5)]) == 8


def test_adaptive_is_never_judged_before_every_steps_nor_on_less_than_a_window():
    config = HorizonConfig(kind="adaptive", rounds=(4, 8), every=3, window=20)
    two = [evidence(1, 4, successes=10), evidence(2, 4, successes=10)]
    assert horizon_at(config, 3, two) == 4
    wide = HorizonConfig(kind="adaptive", rounds=(4, 8), every=1, window=50)
    assert horizon_at(wide, 3, two) == 4


def test_adaptive_is_never_lowered_and_stops_at_the_last_round():
    config = HorizonConfig(kind="adaptive", rounds=(4, 8), every=1, window=10)
    history = [evidence(1, 4, successes=10), evidence(2, 8), evidence(3, 8, successes=10), evidence(4, 8)]
    assert [horizon_at(config, step, history) for step in (1, 2, 3, 4, 5)] == [4, 8, 8, 8, 8]


@pytest.mark.parametrize("kind", ["fixed", "stepwise", "linear", "adaptive"])
def test_the_schedule_after_a_resume_equals_the_schedule_without_one(kind):
    config = HorizonConfig(kind=kind, rounds=(3, 6, 9), every=2, window=10)
    history = [evidence(step, 3 if step < 4 else 6, successes=9) for step in range(1, 8)]
    straight = [horizon_at(config, step, [e for e in history if e.step < step]) for step in range(1, 9)]
    resumed = [horizon_at(config, step, history) for step in range(1, 9)]
    assert straight == resumed


def test_steps_count_from_one():
    with pytest.raises(ValueError, match="step 0"):
        horizon_at(HorizonConfig(), 0)
