import numpy as np
import pytest
import torch

from learner.algorithm_config import LossConfig
from learner.divergence import Kind, estimate, kl_penalty
from tests import reference_losses
from tests.learner.token_batches import random_batch, run

KINDS: tuple[Kind, ...] = ("k1", "k2", "k3")


def policies() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Logits, and log pi and log reference of every token of a small vocabulary."""
    rng = np.random.default_rng(7)
    logits = torch.tensor(rng.normal(size=6), requires_grad=True)
    return logits, logits.log_softmax(-1), torch.tensor(rng.normal(size=6)).log_softmax(-1)


def divergence(left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    """KL(left || right)."""
    return (left.exp() * (left - right)).sum()


def expected_gradient(kind: Kind) -> torch.Tensor:
    """Of the estimate as a loss on tokens that pi samples: the sampling carries no gradient."""
    logits, target, known = policies()
    (gradient,) = torch.autograd.grad((target.detach().exp() * estimate(kind, target, known)).sum(), logits)
    return gradient


@pytest.mark.parametrize("kind", ["k1", "k3"])
def test_as_values_k1_and_k3_are_unbiased(kind: Kind) -> None:
    _, target, known = policies()
    torch.testing.assert_close(
        (target.exp() * estimate(kind, target, known)).sum(), divergence(target, known)
    )


def test_as_losses_k2_has_the_gradient_of_the_divergence_k1_none_and_k3_that_of_the_reverse() -> None:
    logits, target, known = policies()
    (forward,) = torch.autograd.grad(divergence(target, known), logits, retain_graph=True)
    (reverse,) = torch.autograd.grad(divergence(known, target), logits)
    torch.testing.assert_close(expected_gradient("k2"), forward)
    torch.testing.assert_close(expected_gradient("k1"), torch.zeros_like(forward))
    torch.testing.assert_close(expected_gradient("k3"), reverse)


def test_in_the_reward_k1_has_the_policy_gradient_of_the_divergence() -> None:
    logits, target, known = policies()
    (expected,) = torch.autograd.grad(divergence(target, known), logits, retain_graph=True)
    penalty = estimate("k1", target, known).detach()
    (found,) = torch.autograd.grad((target.detach().exp() * penalty * target).sum(), logits)
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("kind", KINDS)
def test_the_penalty_of_the_reward_is_the_weighed_estimate_of_each_token(kind: Kind) -> None:
    mu, known = np.array([-1.0, -2.0, -0.5, -60.0]), np.array([-1.5, -2.0, -0.1, -0.1])
    config = LossConfig(reference_kl=0.3, kl_kind=kind, kl_in="reward")
    penalty = kl_penalty(config, mu.astype(np.float32), known.astype(np.float32))
    expected = [0.3 * reference_losses.kl(kind, m - k)[0] for m, k in zip(mu, known, strict=True)]
    assert penalty.dtype == np.float64
    np.testing.assert_allclose(penalty, expected, rtol=1e-6)


@pytest.mark.parametrize("config", [LossConfig(), LossConfig(reference_kl=0.3)], ids=["none", "in loss"])
def test_a_reward_loses_nothing_unless_it_is_asked_for(config: LossConfig) -> None:
    assert not kl_penalty(config, np.array([-1.0], np.float32), np.array([-2.0], np.float32)).any()


@pytest.mark.parametrize("kind", KINDS)
def test_a_term_that_stands_in_the_reward_is_not_in_the_loss_too(kind: Kind) -> None:
    batch = random_batch([5])
    in_reward = run(LossConfig(reference_kl=0.3, kl_kind=kind, kl_in="reward"), batch)
    without = run(LossConfig(), batch)
    assert in_reward[0] == without[0]
    np.testing.assert_array_equal(in_reward[1], without[1])
