"""Intervals of shares agree with published values, pass@k and the bootstrap with what they stand for."""

import math
from itertools import combinations, product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.statistics import (
    clustered_interval,
    paired_bootstrap,
    pass_at_k,
    wilson_interval,
)


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


def test_pass_at_k_is_the_share_of_all_choices_of_k_plays_that_hold_a_success() -> None:
    for samples, successes in ((1, 0), (1, 1), (5, 0), (5, 2), (6, 3), (7, 7)):
        plays = [index < successes for index in range(samples)]
        for k in range(1, samples + 1):
            choices = list(combinations(plays, k))
            expected = sum(any(choice) for choice in choices) / len(choices)
            assert pass_at_k(samples, successes, k) == pytest.approx(expected, abs=1e-12)


def test_pass_at_k_is_unbiased() -> None:
    # Over all outcomes of n plays, weighted by their probability: 1 - (1 - p)^k.
    n, p = 8, 0.15
    for k in (1, 3, 8):
        mean = sum(math.comb(n, c) * p**c * (1 - p) ** (n - c) * pass_at_k(n, c, k) for c in range(n + 1))
        assert mean == pytest.approx(1 - (1 - p) ** k)


@pytest.mark.parametrize("counts", [(4, 5, 1), (4, 2, 0), (4, 2, 5), (4, -1, 1)])
def test_an_impossible_pass_at_k_is_refused(counts: tuple[int, int, int]) -> None:
    with pytest.raises(ValueError, match=r"give 1 <= k <= samples"):
        pass_at_k(*counts)


@given(st.integers(1, 60).flatmap(lambda n: st.lists(st.booleans(), min_size=n, max_size=n)))
def test_with_one_play_per_task_the_clustered_interval_is_wilsons(won: list[bool]) -> None:
    assert clustered_interval([float(w) for w in won], len(won)) == pytest.approx(
        wilson_interval(sum(won), len(won))
    )


def test_plays_that_are_all_alike_say_no_more_than_one_play_of_each_task() -> None:
    shares = [1.0] * 12 + [0.0] * 28
    assert clustered_interval(shares, 40 * 8) == pytest.approx(wilson_interval(12, 40))
    assert clustered_interval([0.0] * 40, 40 * 8) == pytest.approx(wilson_interval(0, 40))


def test_tasks_that_are_all_alike_make_every_play_count() -> None:
    assert clustered_interval([0.5] * 40, 320) == pytest.approx(wilson_interval(160, 320))


@pytest.mark.parametrize("spread", ["none", "wide"])
def test_the_clustered_interval_covers_the_truth_as_often_as_it_says(spread: str) -> None:
    """Tasks whose own success rates are Beta(2, 2), or all 0.5: 95 % within four standard errors of 2,000."""
    rng = np.random.default_rng(11)
    repeats, tasks, plays = 2000, 60, 8
    rates = rng.beta(2, 2, (repeats, tasks)) if spread == "wide" else np.full((repeats, tasks), 0.5)
    shares = rng.binomial(plays, rates) / plays
    covered = 0
    for row in shares:
        low, high = clustered_interval(row.tolist(), tasks * plays)
        covered += low <= 0.5 <= high
    assert covered / repeats > 0.95 - 4 * math.sqrt(0.95 * 0.05 / repeats)
    # Wilson's interval over all plays, as if they were independent, claims far more than it knows.
    naive = [wilson_interval(round(row.sum() * plays), tasks * plays) for row in shares]
    share = sum(low <= 0.5 <= high for low, high in naive) / repeats
    assert share < 0.85 if spread == "wide" else share > 0.93


def test_the_paired_bootstrap_agrees_with_every_possible_draw() -> None:
    first, second = [0.0, 0.25, 0.5, 1.0, 0.0], [0.5, 0.25, 1.0, 0.75, 0.25]
    differences = [b - a for a, b in zip(first, second, strict=True)]
    every = sorted(sum(draw) / 5 for draw in product(differences, repeat=5))
    found = paired_bootstrap(first, second, seed=3, resamples=40_000)
    assert found.mean == pytest.approx(sum(differences) / 5)
    assert found.low == pytest.approx(np.percentile(every, 2.5), abs=0.051)
    assert found.high == pytest.approx(np.percentile(every, 97.5), abs=0.051)
    reached = sum(abs(mean - found.mean) >= found.mean - 1e-9 for mean in every) / len(every)
    assert found.p_value == pytest.approx(reached, abs=0.01)


def test_the_paired_bootstrap_covers_the_truth_and_rarely_cries_wolf() -> None:
    rng = np.random.default_rng(5)
    repeats, tasks = 300, 80
    covered = wolf = 0
    for index in range(repeats):
        first = (rng.random(tasks) < 0.4).astype(float)
        second = (rng.random(tasks) < 0.4).astype(float)
        found = paired_bootstrap(first.tolist(), second.tolist(), seed=index, resamples=600)
        covered += found.low <= 0 <= found.high
        wolf += found.p_value < 0.05
    assert covered / repeats > 0.90
    assert wolf / repeats < 0.09


def test_the_same_seed_gives_the_same_comparison() -> None:
    first, second = [0.0, 1.0, 0.5], [1.0, 1.0, 0.0]
    assert paired_bootstrap(first, second, seed=1) == paired_bootstrap(first, second, seed=1)


def test_equal_measurements_do_not_differ() -> None:
    found = paired_bootstrap([0.5, 1.0], [0.5, 1.0])
    assert (found.mean, found.low, found.high, found.p_value) == (0, 0, 0, 1)


def test_measurements_of_unequal_number_are_refused() -> None:
    with pytest.raises(ValueError, match="give as many of each"):
        paired_bootstrap([0.0], [])
