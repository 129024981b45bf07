"""Every estimator equals the sums of its paper, and reaches every action token of a multi-turn trajectory."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import product
from typing import get_args

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from learner.advantage import Credit, RewardSequence, estimate, grpo, has_zero_variance, rloo
from learner.algorithm_config import AdvantageConfig, Estimator
from tests import reference_advantages as reference
from tests.learner.reward_batches import assert_credits, batches, configs, played, with_critic

KINDS = get_args(Estimator)
UNITS = ("turn", "token")
returns = st.lists(st.floats(-100, 100, width=32), min_size=2, max_size=16)


def compared_in_groups(config: AdvantageConfig, batch: Sequence[RewardSequence]) -> list[list[float]]:
    advantages: list[list[float]] = [[] for _ in batch]
    for group in {s.group for s in batch}:
        places = [i for i, s in enumerate(batch) if s.group == group]
        totals = [sum(batch[i].rewards) + batch[i].unplaced for i in places]
        credit = (
            reference.rloo(totals) if config.kind == "rloo" else reference.grpo(totals, config.normalizes_std)
        )
        for i, a in zip(places, credit, strict=True):
            advantages[i] = [a] * len(batch[i].rewards)
    return advantages


@given(returns, st.booleans())
def test_grpo_equals_the_papers(values: list[float], normalizes_std: bool) -> None:
    result = grpo(np.array(values, np.float32), normalizes_std=normalizes_std)
    assert result.dtype == np.float32
    np.testing.assert_allclose(result, reference.grpo(values, normalizes_std), rtol=1e-4, atol=1e-4)


@given(returns)
def test_rloo_equals_the_paper(values: list[float]) -> None:
    np.testing.assert_allclose(rloo(np.array(values)), reference.rloo(values), rtol=1e-5, atol=1e-5)


@given(returns)
def test_advantages_of_a_group_sum_to_zero(values: list[float]) -> None:
    assert abs(grpo(np.array(values, np.float32), normalizes_std=False).sum()) < 1e-3
    assert abs(rloo(np.array(values)).sum()) < 1e-3


@given(batches(), st.sampled_from(["grpo", "rloo"]), st.booleans())
def test_comparing_groups_equals_the_papers_in_a_mixed_batch(
    batch: list[RewardSequence], kind: Estimator, normalizes_std: bool
) -> None:
    config = AdvantageConfig(kind=kind, normalizes_std=normalizes_std)
    results = estimate(config, batch)
    assert_credits(results, compared_in_groups(config, batch), "advantages")
    assert not any(credit.returns.any() for credit in results)


@given(
    batches(), st.sampled_from(["batch", "group"]), st.sampled_from(UNITS), st.sampled_from([0.0, 0.9, 1.0])
)
def test_reinforce_pp_equals_the_paper(
    batch: list[RewardSequence], baseline: str, unit: str, gamma: float
) -> None:
    config = AdvantageConfig.model_validate(
        {"kind": "reinforce_pp", "baseline": baseline, "gamma": gamma, "discount_unit": unit}
    )
    to_go = []
    for s in batch:
        rewards = s.rewards.tolist()
        if baseline == "group" and rewards:
            rewards[-1] -= reference.mean([m.episode_return for m in batch if m.group == s.group])
        to_go.append(reference.rewards_to_go(rewards, reference.applied(gamma, s.is_turn_end.tolist(), unit)))
    assert_credits(estimate(config, batch), reference.normalised(to_go), "advantages")


@given(
    batches(),
    st.sampled_from(UNITS),
    st.sampled_from([0.0, 0.9, 1.0]),
    st.sampled_from([0.0, 0.7, 1.0]),
    st.booleans(),
)
def test_gae_equals_the_paper(
    batch: list[RewardSequence], unit: str, gamma: float, gae_lambda: float, whitens: bool
) -> None:
    config = AdvantageConfig.model_validate(
        {"kind": "gae", "gamma": gamma, "gae_lambda": gae_lambda, "discount_unit": unit, "whitens": whitens}
    )
    advantages = [
        reference.gae(
            s.rewards.tolist(),
            s.values.tolist(),
            s.bootstrap,
            reference.applied(gamma, s.is_turn_end.tolist(), unit),
            reference.applied(gae_lambda, s.is_turn_end.tolist(), unit),
        )
        for s in batch
        if s.values is not None
    ]
    targets = [list(np.array(a) + s.values) for a, s in zip(advantages, batch, strict=True)]
    results = estimate(config, batch)
    assert_credits(results, reference.normalised(advantages) if whitens else advantages, "advantages")
    assert_credits(results, targets, "returns")


@given(batches(), st.sampled_from(UNITS), st.sampled_from([0.9, 1.0]))
def test_gae_with_lambda_1_is_the_monte_carlo_return_minus_the_value(
    batch: list[RewardSequence], unit: str, gamma: float
) -> None:
    config = AdvantageConfig.model_validate(
        {"kind": "gae", "gamma": gamma, "gae_lambda": 1.0, "discount_unit": unit}
    )
    for s, credit in zip(batch, estimate(config, batch), strict=True):
        gammas = reference.applied(gamma, s.is_turn_end.tolist(), unit)
        # The bootstrap is one more reward, one discount after the last.
        monte_carlo = reference.rewards_to_go([*s.rewards.tolist(), s.bootstrap], [*gammas, 1.0])[:-1]
        np.testing.assert_allclose(credit.returns, monte_carlo, rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(credit.advantages, monte_carlo - s.values, rtol=1e-5, atol=1e-5)


def policy_gradient(
    kind: Estimator, rewards: Sequence[float], probabilities: np.ndarray, size: int
) -> np.ndarray:
    """E over all groups of `size` of  mean_i A_i grad log pi(a_i),  enumerated; by a softmax's logits."""
    num = len(probabilities)
    expectation = np.zeros(num)
    for actions in product(range(num), repeat=size):
        group = [played(0, [(1, rewards[a])]) for a in actions]
        credits = estimate(AdvantageConfig(kind=kind), group)
        for a, credit in zip(actions, credits, strict=True):
            score = np.eye(num)[a] - probabilities
            expectation += np.prod(probabilities[list(actions)]) * float(credit.advantages[0]) * score / size
    return expectation


@pytest.mark.parametrize("size", [2, 3])
def test_the_gradient_of_rloo_is_unbiased_and_that_of_grpo_is_shrunk_by_its_own_member(size: int) -> None:
    probabilities, rewards = np.array([0.2, 0.5, 0.3]), [1.0, -0.5, 3.0]
    truth = probabilities * (np.array(rewards) - probabilities @ rewards)
    np.testing.assert_allclose(policy_gradient("rloo", rewards, probabilities, size), truth, atol=1e-6)
    shrunk = truth * (size - 1) / size
    np.testing.assert_allclose(policy_gradient("grpo", rewards, probabilities, size), shrunk, atol=1e-6)


@given(batches(), configs, st.integers(0, 2**32 - 1))
def test_the_order_of_a_batch_changes_nothing(
    batch: list[RewardSequence], config: AdvantageConfig, seed: int
) -> None:
    order = np.random.default_rng(seed).permutation(len(batch)).tolist()
    straight, mixed = estimate(config, batch), estimate(config, [batch[i] for i in order])
    for field in ("advantages", "returns"):
        assert_credits(mixed, [getattr(straight[i], field).tolist() for i in order], field)


@given(batches(), st.sampled_from([k for k in KINDS if k != "reinforce_pp"]))
def test_another_group_changes_nothing_where_the_batch_is_not_normalised(
    batch: list[RewardSequence], kind: Estimator
) -> None:
    config = AdvantageConfig(kind=kind, gamma=0.9)
    other = [replace(s, group=s.group + 5000, rewards=s.rewards + 7) for s in batch]
    alone, among = estimate(config, batch), estimate(config, other + batch)[len(batch) :]
    for before, after in zip(alone, among, strict=True):
        assert (before.advantages == after.advantages).all()
        assert (before.returns == after.returns).all()


@given(batches(), configs)
def test_credit_has_one_entry_for_each_action_token_and_is_finite(
    batch: list[RewardSequence], config: AdvantageConfig
) -> None:
    for sequence, credit in zip(batch, estimate(config, batch), strict=True):
        assert credit.advantages.shape == credit.returns.shape == sequence.rewards.shape
        assert np.isfinite(credit.advantages).all()
        assert np.isfinite(credit.returns).all()


@pytest.mark.parametrize("kind", ["gae", "vtrace"])
def test_whitened_advantages_have_mean_0_and_deviation_1_over_the_batch(kind: Estimator) -> None:
    batch = [with_critic(played(0, [(3, r), (2, -r)])) for r in (1.0, 2.0, 5.0)]
    plain, white = (estimate(AdvantageConfig(kind=kind, whitens=w), batch) for w in (False, True))
    together = np.concatenate([credit.advantages for credit in white])
    assert together.mean() == pytest.approx(0, abs=1e-6)
    assert together.std() == pytest.approx(1, abs=1e-6)
    assert all((a.returns == b.returns).all() for a, b in zip(plain, white, strict=True))


@pytest.mark.parametrize("kind", KINDS)
def test_an_empty_batch_has_no_credit(kind: Estimator) -> None:
    assert estimate(AdvantageConfig(kind=kind, whitens=True), []) == []
    silent = estimate(AdvantageConfig(kind=kind, whitens=True), [played(0, []), played(0, [(0, 1.0)])])
    assert [len(credit.advantages) for credit in silent] == [0, 0]


@pytest.mark.parametrize(
    ("kind", "baseline"), [("grpo", "batch"), ("rloo", "batch"), ("reinforce_pp", "group")]
)
def test_a_group_of_one_cannot_be_compared(kind: str, baseline: str) -> None:
    config = AdvantageConfig.model_validate({"kind": kind, "baseline": baseline})
    assert config.compares_group
    with pytest.raises(ValueError, match=f"a group of 1: {kind}.* compares members"):
        estimate(config, [played(0, [(1, 1.0)]), played(1, [(1, 1.0)]), played(1, [(1, 1.0)])])


@pytest.mark.parametrize("kind", ["gae", "vtrace"])
def test_a_critics_estimator_without_its_vectors_is_one_clear_line(kind: Estimator) -> None:
    config, sequence = AdvantageConfig(kind=kind), played(4, [(2, 1.0)])
    with pytest.raises(ValueError, match=f"^{kind} needs the values of every trajectory; group 4 has none$"):
        estimate(config, [sequence])
    short = replace(sequence, values=np.zeros(3), log_ratios=np.zeros(2))
    with pytest.raises(ValueError, match=r"^group 4: values of shape \(3,\) for 2 action tokens$"):
        estimate(config, [short])


def test_vtrace_without_log_ratios_is_one_clear_line() -> None:
    sequence = replace(played(4, [(2, 1.0)]), values=np.zeros(2))
    with pytest.raises(ValueError, match="vtrace needs the log_ratios of every trajectory; group 4 has none"):
        estimate(AdvantageConfig(kind="vtrace"), [sequence])


def test_zero_variance_is_when_all_members_returned_the_same() -> None:
    assert has_zero_variance(np.full(8, 0.1, np.float32))
    assert not has_zero_variance(np.array([0, 0, 1], np.float32))
    assert not grpo(np.full(8, 0.1, np.float32), normalizes_std=True).any()


@pytest.mark.parametrize("kind", ["grpo", "rloo", "reinforce_pp"])
def test_equal_returns_give_no_credit_at_all_however_large(kind: Estimator) -> None:
    config = AdvantageConfig(kind=kind, normalizes_std=True)
    credits: list[Credit] = estimate(config, [played(0, [(2, 0.0), (3, 1e9 + 0.1)])] * 7)
    assert not any(credit.advantages.any() for credit in credits)


@pytest.mark.parametrize("kind", ["gae", "vtrace"])
def test_what_is_not_a_number_is_never_hidden(kind: Estimator) -> None:
    sequence = replace(with_critic(played(0, [(3, 1.0)])), values=np.array([0.0, np.nan, 0.0]))
    credits = estimate(
        AdvantageConfig(kind=kind, whitens=True), [sequence, with_critic(played(0, [(1, 0.0)]))]
    )
    assert all(np.isnan(credit.advantages).all() for credit in credits)
