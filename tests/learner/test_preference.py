"""Preference losses and their slopes against the papers' equations."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from learner.offline.config import DpoConfig
from learner.offline.preference import advantages, log_ratio, preferences
from tests.reference_offline import dpo_loss, ipo_loss

LOGPROBS = st.floats(-60, 0, width=32)
ORACLES = {"sigmoid": dpo_loss, "ipo": ipo_loss}


def config(**changes: object) -> DpoConfig:
    return DpoConfig.model_validate({"beta": 0.3, **changes})


@pytest.mark.parametrize("loss", ORACLES)
@given(logprobs=st.tuples(LOGPROBS, LOGPROBS, LOGPROBS, LOGPROBS))
def test_the_loss_of_a_pair_is_the_papers(loss: str, logprobs: tuple[float, ...]) -> None:
    chosen, rejected, ref_chosen, ref_rejected = logprobs
    found = preferences(
        np.array([chosen - ref_chosen]), np.array([rejected - ref_rejected]), config(loss=loss)
    )
    np.testing.assert_allclose(found.losses[0], ORACLES[loss](*logprobs, 0.3), rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("loss", ORACLES)
@given(margin=st.floats(-50, 50))
def test_the_slope_is_the_derivative_of_the_loss(loss: str, margin: float) -> None:
    def at(value: float) -> float:
        return float(preferences(np.array([value]), np.array([0.0]), config(loss=loss)).losses[0])

    slope = preferences(np.array([margin]), np.array([0.0]), config(loss=loss)).slopes[0]
    step = 1e-4
    np.testing.assert_allclose(slope, (at(margin + step) - at(margin - step)) / (2 * step), atol=1e-5)


def test_a_margin_of_thousands_of_nats_neither_overflows_nor_vanishes() -> None:
    found = preferences(np.array([1e5, -1e5]), np.zeros(2), config())
    np.testing.assert_allclose(found.losses, [0.0, 3e4])
    np.testing.assert_allclose(found.slopes, [0.0, -0.3])


def test_a_wrongly_ordered_pair_pushes_harder_than_a_rightly_ordered_one() -> None:
    slopes = preferences(np.array([-5.0, 5.0]), np.zeros(2), config()).slopes
    assert slopes[0] < slopes[1] < 0


def test_normalised_by_length_a_trajectory_counts_by_its_mean() -> None:
    logprobs, reference = np.array([-1, -2, -6], np.float32), np.array([-2, -2, -2], np.float32)
    assert log_ratio(logprobs, reference, config()) == -3.0
    assert log_ratio(logprobs, reference, config(normalizes_length=True)) == -1.0


def test_the_imitation_term_is_the_mean_over_the_chosen_tokens_and_leaves_the_rejected_alone() -> None:
    found = preferences(np.array([1.0]), np.array([0.0]), config())
    plain = advantages(found, [4], [7], config())
    both = advantages(found, [4], [7], config(imitation=0.8))
    np.testing.assert_allclose(both[0] - plain[0], 2 * 0.8 / 4)
    np.testing.assert_array_equal(both[1], plain[1])
