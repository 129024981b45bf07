import dataclasses

import numpy as np
import pytest
import torch

from learner.algorithm_config import LossConfig
from learner.surrogates import SURROGATES
from tests.learner.token_batches import random_batch, run, tokens_of, trained_tokens
from tests.reference_losses import Played


def plain(kind: str, **changes: object) -> LossConfig:
    return LossConfig.model_validate({"kind": kind, "behaviour_kl": 0.0} | changes)


def assert_is_the_derivative(config: LossConfig, batch: list[Played]) -> None:
    """By central differences, of every token."""
    step, done = 1e-6, 0
    _, gradient, _ = run(config, batch)
    for number, played in enumerate(batch):
        for index in range(len(played)):
            losses = []
            for sign in (1, -1):
                moved = played.target.copy()
                moved[index] += sign * step
                changed = dataclasses.replace(played, target=moved)
                losses.append(run(config, [*batch[:number], changed, *batch[number + 1 :]])[0])
            slope = (losses[0] - losses[1]) / (2 * step)
            np.testing.assert_allclose(gradient[done], slope, atol=1e-8)
            done += 1


@pytest.mark.parametrize("kind", ["ppo", "decoupled_ppo", "reinforce"])
@pytest.mark.parametrize("changes", [{}, {"dual_clip": 1.05}, {"behaviour_kl": 0.1}], ids=str)
def test_a_true_derivative_is_the_slope_of_its_loss(kind: str, changes: dict[str, float]) -> None:
    """Away from the corners. The other losses have policy gradients: of frozen weights."""
    assert_is_the_derivative(plain(kind, **changes), random_batch([6, 1, 9]))


@pytest.mark.parametrize("kind", ["k1", "k2", "k3"])
def test_the_gradient_of_a_kl_term_is_the_slope_of_its_loss(kind: str) -> None:
    assert_is_the_derivative(plain("reinforce", reference_kl=0.5, kl_kind=kind), random_batch([6, 2]))


def test_the_gradient_of_gspo_is_the_slope_of_the_sequence_objective() -> None:
    """Where the advantage is that of the sequence; some sequences are clipped and some are not."""
    batch = [
        dataclasses.replace(s, advantages=np.full(len(s), sign))
        for s, sign in zip(random_batch([5, 1, 7, 4], spread=0.2), (1.0, -0.5, -2.0, 0.7), strict=True)
    ]
    config = plain("gspo", gspo_low=0.05, gspo_high=0.05)
    assert_is_the_derivative(config, batch)
    _, gradient, sums = run(config, batch)
    assert 0 < float(sums.masked) == (gradient == 0).sum() < 17


@pytest.mark.parametrize("kind", ["dppo_tv", "ipo", "tis", "icepop", "cispo"])
def test_a_policy_gradient_is_minus_weight_times_advantage(kind: str) -> None:
    """The weight is constant: no gradient flows through the ratio."""
    batch = random_batch([40], spread=1.0)
    (played,) = batch
    ratio = np.exp(played.target - played.behaviour)
    moved = np.exp(played.target) - np.exp(played.behaviour)
    weight = {
        "dppo_tv": np.where(moved * np.sign(played.advantages) > 0.2, 0, ratio),
        "ipo": np.where(np.abs(moved) > 0.1, 0, ratio),
        "tis": np.minimum(ratio, 2),
        "icepop": np.where((ratio < 0.5) | (ratio > 5), 0, ratio),
        "cispo": np.minimum(ratio, 5),
    }[kind]
    _, gradient, _ = run(plain(kind), batch)
    np.testing.assert_allclose(gradient, -played.weights * weight * played.advantages, rtol=1e-9)


@pytest.mark.parametrize(
    "config",
    [
        plain("ppo", clip_low=0.99, clip_high=99),
        plain("dppo_tv", tv_delta=1, max_ratio=99),
        plain("ipo", ipo_epsilon=1, max_ratio=99),
        plain("tis", tis_cap=99),
        plain("icepop", icepop_low=0, icepop_high=99),
        plain("cispo", cispo_high=99),
    ],
    ids=lambda config: config.kind,
)
def test_within_its_bounds_the_expected_gradient_is_the_on_policy_gradient(config: LossConfig) -> None:
    """Over every token that mu could have sampled: E_mu[r A grad log pi] = grad E_pi[A]."""
    rng = np.random.default_rng(4)
    logits = torch.tensor(rng.normal(size=6), requires_grad=True)
    behaviour = torch.tensor(rng.normal(size=6)).log_softmax(-1)
    advantages = torch.tensor(rng.normal(size=6))
    (expected,) = torch.autograd.grad((logits.softmax(-1) * advantages).sum(), logits)
    tokens = dataclasses.replace(
        trained_tokens(random_batch([6])),
        target_logprobs=logits.log_softmax(-1),
        behaviour_logprobs=behaviour,
        advantages=advantages,
    )
    per_token, is_masked = SURROGATES[config.kind](tokens, config)
    (found,) = torch.autograd.grad((behaviour.exp() * per_token).sum(), logits)
    torch.testing.assert_close(found, -expected)
    assert not is_masked.any()


def test_dppo_masks_only_in_the_direction_of_the_update_and_ipo_in_both() -> None:
    batch = tokens_of(np.log([0.6, 0.6, 0.5, 0.5]), np.log([0.3, 0.3, 0.8, 0.8]), [1.0, -1.0, 1.0, -1.0])
    _, gradient, sums = run(plain("dppo_tv"), batch)
    assert (gradient != 0).tolist() == [False, True, True, False]
    assert float(sums.masked) == 2
    _, gradient, sums = run(plain("ipo"), batch)
    assert not gradient.any()
    assert float(sums.masked) == 4


def test_beyond_the_cap_the_weight_is_the_cap_and_the_gradient_stays() -> None:
    """A token that has become far too likely can still be pushed down."""
    _, gradient, sums = run(plain("dppo_tv"), tokens_of([-0.01], [-10.0], [-1.0]))
    np.testing.assert_allclose(gradient, [20.0])
    assert float(sums.max_ratio) > 20
    assert float(sums.masked) == 1


def test_the_dual_clip_bounds_the_loss_of_a_bad_token_that_became_likely() -> None:
    batch = tokens_of([-0.1, -0.1], [-5.0, -5.0], [-1.0, 1.0])
    unbounded, *_ = run(plain("ppo"), batch)
    loss, gradient, sums = run(plain("ppo", dual_clip=3.0), batch)
    assert unbounded > 100
    np.testing.assert_allclose(loss, 3.0 - 1.28)
    assert not gradient.any()
    assert float(sums.masked) == 2


def test_decoupled_ppo_clips_around_the_proximal_policy_and_weighs_by_its_distance_from_behaviour() -> None:
    """A stale token is not clipped for being stale."""
    (played,) = tokens_of([-1.0, -1.0, -0.1], [-3.0, -9.0, -0.1], [1.0, 1.0, 1.0])
    played.proximal = np.array([-1.0, -1.0, -1.0])
    _, gradient, sums = run(plain("decoupled_ppo", max_ratio=20.0), [played])
    np.testing.assert_allclose(gradient, [-np.exp(2.0), -20.0, 0.0])
    assert float(sums.masked) == 2


def test_cispo_never_takes_a_gradient_away() -> None:
    batch = tokens_of([-0.01, -9.0], [-9.0, -0.01], [1.0, 1.0])
    _, gradient, _ = run(plain("cispo"), batch)
    np.testing.assert_allclose(gradient, [-5.0, -np.exp(-8.99)])


def test_gspo_gives_every_token_the_ratio_of_its_sequence() -> None:
    """The tokens' own ratios are 1.5 and 1 / 1.5; their geometric mean is 1."""
    behaviour = np.array([-2.0, -2.0])
    batch = tokens_of(behaviour + np.log([1.5, 1 / 1.5]), behaviour, [1.0, 1.0])
    _, gradient, sums = run(plain("gspo"), batch)
    np.testing.assert_allclose(gradient, [-1.0, -1.0])
    assert float(sums.masked) == 0


def test_reinforce_has_no_importance_weight() -> None:
    _, gradient, sums = run(plain("reinforce"), tokens_of([-0.1, -6.0], [-6.0, -0.1], [2.0, -3.0]))
    np.testing.assert_allclose(gradient, [-2.0, 3.0])
    assert float(sums.masked) == 0


@pytest.mark.parametrize(
    ("log_ratio", "advantage", "is_clipped"),
    [(-0.07, -1.0, True), (-0.07, 1.0, False), (0.07, 1.0, False), (0.2, 1.0, True), (0.2, -1.0, False)],
)
def test_gspo_clips_where_its_own_bound_in_the_direction_of_the_update_ends(
    log_ratio: float, advantage: float, is_clipped: bool
) -> None:
    batch = tokens_of([-2.0 + log_ratio] * 2, [-2.0] * 2, [advantage] * 2)
    _, gradient, sums = run(plain("gspo", gspo_low=0.05, gspo_high=0.15), batch)
    assert (gradient == 0).all() == (float(sums.masked) == 2) == is_clipped
