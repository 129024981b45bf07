import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from learner.second_moment import second_moment_mask
from tests import reference_losses

tokens = st.lists(
    st.tuples(st.floats(-3, 3), st.sampled_from([-1.0, 0.0, 2.0])), max_size=30, unique_by=lambda t: abs(t[0])
)
thresholds = st.floats(1e-3, 5)


def is_outward(log_ratios: np.ndarray, advantages: np.ndarray) -> np.ndarray:
    return ((log_ratios > 0) & (advantages > 0)) | ((log_ratios < 0) & (advantages < 0))


@given(tokens, thresholds)
def test_it_keeps_what_the_paper_keeps(rows: list[tuple[float, float]], threshold: float) -> None:
    log_ratios, advantages = np.array(rows, np.float64).reshape(-1, 2).T
    kept = second_moment_mask(log_ratios, advantages, threshold)
    assert set(np.flatnonzero(kept)) == reference_losses.second_moment_kept(log_ratios, advantages, threshold)


@given(tokens, thresholds, st.randoms())
def test_the_kept_second_moment_is_at_most_the_threshold_and_the_order_changes_nothing(
    rows: list[tuple[float, float]], threshold: float, random: object
) -> None:
    """Repeated tokens share their fate."""
    log_ratios, advantages = np.array(rows * 2, np.float64).reshape(-1, 2).T
    kept = second_moment_mask(log_ratios, advantages, threshold)
    outward = is_outward(log_ratios, advantages)
    assert kept[~outward].all()
    if (kept & outward).any():
        assert np.mean(log_ratios[kept & outward] ** 2) <= threshold * (1 + 1e-12)
    order = list(range(len(log_ratios)))
    random.shuffle(order)  # type: ignore[attr-defined]
    moved = second_moment_mask(log_ratios[order], advantages[order], threshold)
    np.testing.assert_array_equal(moved, kept[order])


def test_a_batch_within_the_threshold_and_an_empty_one_are_kept_whole() -> None:
    assert second_moment_mask(np.array([0.1, -0.1]), np.array([1.0, -1.0]), 0.04).all()
    assert second_moment_mask(np.empty(0), np.empty(0), 0.04).shape == (0,)


def test_only_what_the_update_would_carry_farther_out_is_masked() -> None:
    kept = second_moment_mask(np.array([9.0, -9.0, 9.0, -9.0, 0.0]), np.array([1, 1, -1, -1, 1]), 0.04)
    assert kept.tolist() == [False, True, True, False, True]


def test_float32_is_enough() -> None:
    kept = second_moment_mask(np.array([1.0, 0.1], np.float32), np.array([1, 1], np.float32), 0.04)
    assert kept.tolist() == [False, True]


def test_a_threshold_of_zero_is_refused() -> None:
    with pytest.raises(ValueError, match="second moment 0: must be positive"):
        second_moment_mask(np.array([1.0]), np.array([1.0]), 0.0)
