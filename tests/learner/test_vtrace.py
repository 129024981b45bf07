"""V-trace equals the definition in the IMPALA paper, and is what the paper says it is in the limits."""

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from learner.advantage import RewardSequence, estimate
from learner.algorithm_config import AdvantageConfig
from learner.vtrace import vtrace
from tests import reference_advantages as reference
from tests.learner.reward_batches import assert_credits, batches, played

UNITS = st.sampled_from(["turn", "token"])


@given(
    batches(),
    UNITS,
    st.sampled_from([0.0, 0.9, 1.0]),
    st.sampled_from([0.0, 0.7, 1.0]),
    st.sampled_from([0.5, 1.0, 10.0]),
    st.sampled_from([0.5, 1.0, 2.0]),
    st.booleans(),
)
def test_vtrace_equals_the_definition(
    batch: list[RewardSequence],
    unit: str,
    gamma: float,
    trace: float,
    rho_cap: float,
    c_cap: float,
    whitens: bool,
) -> None:
    config = AdvantageConfig.model_validate(
        {
            "kind": "vtrace",
            "gamma": gamma,
            "gae_lambda": trace,
            "discount_unit": unit,
            "rho_cap": rho_cap,
            "c_cap": c_cap,
            "whitens": whitens,
        }
    )
    advantages, targets = [], []
    for s in batch:
        assert s.values is not None
        assert s.log_ratios is not None
        advantage, target = reference.vtrace(
            s.rewards.tolist(),
            s.values.tolist(),
            s.bootstrap,
            s.log_ratios.tolist(),
            reference.applied(gamma, s.is_turn_end.tolist(), unit),
            reference.applied(trace, s.is_turn_end.tolist(), unit),
            rho_cap,
            c_cap,
        )
        advantages.append(advantage)
        targets.append(target)
    results = estimate(config, batch)
    assert_credits(results, reference.normalised(advantages) if whitens else advantages, "advantages")
    assert_credits(results, targets, "returns")


@given(batches(), UNITS, st.sampled_from([0.9, 1.0]), st.sampled_from([1.0, 1.5, 100.0]))
def test_on_policy_vtrace_is_the_monte_carlo_return(
    batch: list[RewardSequence], unit: str, gamma: float, cap: float
) -> None:
    config = AdvantageConfig.model_validate(
        {"kind": "vtrace", "gamma": gamma, "discount_unit": unit, "rho_cap": cap, "c_cap": cap}
    )
    on_policy = [replace(s, log_ratios=np.zeros(len(s.rewards))) for s in batch]
    for s, credit in zip(on_policy, estimate(config, on_policy), strict=True):
        gammas = reference.applied(gamma, s.is_turn_end.tolist(), unit)
        # The bootstrap is one more reward, one discount after the last.
        monte_carlo = reference.rewards_to_go([*s.rewards.tolist(), s.bootstrap], [*gammas, 1.0])[:-1]
        np.testing.assert_allclose(credit.returns, monte_carlo, rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(credit.advantages, monte_carlo - s.values, rtol=1e-5, atol=1e-5)


@given(batches(), UNITS, st.sampled_from([0.9, 1.0]))
def test_on_policy_vtrace_fits_the_critic_to_what_gae_does(
    batch: list[RewardSequence], unit: str, gamma: float
) -> None:
    on_policy = [replace(s, log_ratios=np.zeros(len(s.rewards))) for s in batch]
    settings = {"gamma": gamma, "gae_lambda": 0.7, "discount_unit": unit}
    for ours, gae in zip(
        *(
            estimate(AdvantageConfig.model_validate({"kind": k} | settings), on_policy)
            for k in ("vtrace", "gae")
        ),
        strict=True,
    ):
        np.testing.assert_allclose(ours.returns, gae.returns, rtol=1e-5, atol=1e-5)


def test_uncapped_vtrace_evaluates_the_target_policy_from_the_plays_of_another() -> None:
    """E_mu[v_0] = V_pi(x_0), by enumeration of two actions after two; the critic may say what it likes."""
    mu, pi = np.array([0.8, 0.2]), np.array([0.3, 0.7])
    rewards = {(0, 0): 1.0, (0, 1): -2.0, (1, 0): 0.5, (1, 1): 4.0}
    truth = sum(pi[a] * pi[b] * 0.9 * reward for (a, b), reward in rewards.items())
    critic = {0: -1.0, 1: 2.5}
    expectation = 0.0
    for a, b in product(range(2), repeat=2):
        _, targets = vtrace(
            np.array([0.0, rewards[a, b]]),
            np.array([0.7, critic[a]]),
            0.0,
            np.log([pi[a] / mu[a], pi[b] / mu[b]]),
            discounts=np.array([0.9, 1.0]),
            traces=np.ones(2),
            rho_cap=1e9,
            c_cap=1e9,
        )
        expectation += mu[a] * mu[b] * targets[0]
    assert expectation == pytest.approx(truth, abs=1e-12)


def test_the_weight_of_the_action_itself_is_left_to_the_loss() -> None:
    sequence = replace(played(0, [(1, 1.0)]), values=np.zeros(1), log_ratios=np.array([-3.0]))
    (credit,) = estimate(AdvantageConfig(kind="vtrace"), [sequence])
    assert credit.advantages[0] == 1
    assert credit.returns[0] == pytest.approx(np.exp(-3))


def test_where_the_policy_no_longer_goes_the_trace_is_cut() -> None:
    sequence = played(0, [(1, 0.0), (1, 0.0), (1, 5.0)])
    values = np.array([0.1, 0.2, 0.3])
    cut = replace(sequence, values=values, log_ratios=np.array([0.0, -1e6, 0.0]))
    (credit,) = estimate(AdvantageConfig(kind="vtrace"), [cut])
    np.testing.assert_allclose(credit.returns, [0.2, 0.2, 5.0], atol=1e-6)


@pytest.mark.parametrize("far", [1e6, np.inf, -np.inf])
def test_extreme_ratios_stay_finite(far: float) -> None:
    sequence = replace(played(0, [(3, 1.0)]), values=np.ones(3), log_ratios=np.full(3, far))
    config = AdvantageConfig(kind="vtrace", rho_cap=1e3, c_cap=1e3)
    (credit,) = estimate(config, [sequence])
    assert np.isfinite(credit.advantages).all()
    assert np.isfinite(credit.returns).all()


@pytest.mark.parametrize(("log_ratio", "weight"), [(100.0, np.exp(20.0)), (-100.0, np.exp(-20.0))])
def test_log_ratios_are_clamped_whatever_the_caps(log_ratio: float, weight: float) -> None:
    sequence = replace(played(0, [(1, 1.0)]), values=np.zeros(1), log_ratios=np.array([log_ratio]))
    (credit,) = estimate(AdvantageConfig(kind="vtrace", rho_cap=1e30), [sequence])
    assert credit.returns[0] == pytest.approx(weight)
