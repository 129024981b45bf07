"""Intervals of shares agree with published values."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.statistics import exceeds_by_chance, wilson_interval


def test_the_interval_agrees_with_published_values() -> None:
    # Newcombe 1998, Statistics in Medicine 17, table I: method 3, score without continuity correction.
    for successes, trials, low, high in (
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (1, 29, 0.0061, 0.1718),
    ):
        assert wilson_interval(successes, trials) == pytest.approx((low, high), abs=1e-4)
    assert wilson_interval(0, 20) == pytest.approx((0.0, 0.1611), abs=1e-4)


@given(st.integers(1, 500).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_the_interval_always_holds_the_share_and_stays_within_0_and_1(counts: tuple[int, int]) -> None:
    successes, trials = counts
    low, high = wilson_interval(successes, trials)
    assert 0 <= low <= successes / trials <= high <= 1
    mirrored = wilson_interval(trials - successes, trials)
    assert (1 - mirrored[1], 1 - mirrored[0]) == pytest.approx((low, high))


@pytest.mark.parametrize("counts", [(0, 0), (3, 2), (-1, 5)])
def test_impossible_counts_are_refused(counts: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="give 0 <= successes"):
        wilson_interval(*counts)


def test_chance_is_half_when_shares_are_equal_and_small_when_they_are_far() -> None:
    assert exceeds_by_chance(10, 100, 10, 100) == pytest.approx(0.5)
    assert exceeds_by_chance(0, 10, 0, 10) == 0.5
    assert exceeds_by_chance(60, 100, 10, 100) < 1e-9
    # Two-proportion z for 30/100 against 20/100: z = 1.633, one-sided p = 0.0512.
    assert exceeds_by_chance(30, 100, 20, 100) == pytest.approx(0.0512, abs=1e-4)
