import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from learner.config import LossConfig
from learner.loss import LossSums, imitation, policy_loss
from tests import reference

KINDS = ("ppo", "dppo_tv", "tis")
COUNT = 1000


def run(
    config: LossConfig, target: np.ndarray, behaviour: np.ndarray, advantages: np.ndarray
) -> tuple[float, np.ndarray, LossSums]:
    """Loss, its gradient by the target logprobs, and the sums."""
    logprobs = torch.tensor(target, dtype=torch.float64, requires_grad=True)
    others = [torch.tensor(a, dtype=torch.float64) for a in (behaviour, advantages, np.zeros(len(target)))]
    loss, sums = policy_loss(logprobs, *others, config, COUNT)
    loss.backward()
    assert logprobs.grad is not None
    return loss.item(), logprobs.grad.numpy(), sums


def oracle(
    config: LossConfig, target: np.ndarray, behaviour: np.ndarray, advantages: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    if config.kind == "ppo":
        loss, gradient = reference.ppo_loss(target, behaviour, advantages, config.clip_low, config.clip_high)
    elif config.kind == "dppo_tv":
        loss, gradient = reference.dppo_tv_loss(
            target, behaviour, advantages, config.tv_delta, config.max_ratio
        )
    else:
        loss, gradient = reference.tis_loss(target, behaviour, advantages, config.tis_cap)
    penalty, pull = reference.behaviour_penalty(target, behaviour, config.behaviour_kl)
    return loss + penalty, gradient + pull


logprob = st.floats(-60, -1e-4)
tokens = st.lists(st.tuples(logprob, logprob, st.floats(-3, 3)), min_size=1, max_size=20)


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=60, deadline=None)
@given(rows=tokens)
def test_loss_and_gradient_equal_the_paper(kind: str, rows: list[tuple[float, float, float]]) -> None:
    target, behaviour, advantages = np.array(rows, np.float64).T
    config = LossConfig(kind=kind)  # type: ignore[arg-type]
    loss, gradient, _ = run(config, target, behaviour, advantages)
    expected_loss, expected_gradient = oracle(config, target, behaviour, advantages)
    np.testing.assert_allclose(loss, expected_loss.sum() / COUNT, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(gradient, expected_gradient / COUNT, rtol=1e-9, atol=1e-12)


def test_the_ppo_gradient_is_the_derivative_of_its_value() -> None:
    """Central differences away from the corners; the other losses have policy gradients, not derivatives."""
    rng = np.random.default_rng(0)
    behaviour = rng.uniform(-4, -0.5, 50)
    target, advantages = behaviour + rng.normal(0, 0.1, 50), rng.normal(size=50)
    config, h = LossConfig(kind="ppo"), 1e-6
    _, gradient, _ = run(config, target, behaviour, advantages)
    for index in range(50):
        above, below = target.copy(), target.copy()
        above[index] += h
        below[index] -= h
        rise = run(config, above, behaviour, advantages)[0] - run(config, below, behaviour, advantages)[0]
        np.testing.assert_allclose(gradient[index], rise / (2 * h), atol=1e-8)


@pytest.mark.parametrize("kind", KINDS)
def test_on_policy_the_ratio_is_one_and_the_gradient_is_minus_the_advantage(kind: str) -> None:
    target, advantages = np.array([-0.1, -2.0, -7.0]), np.array([1.0, -0.5, 2.0])
    _, gradient, sums = run(LossConfig(kind=kind), target, target, advantages)  # type: ignore[arg-type]
    np.testing.assert_allclose(gradient, -advantages / COUNT)
    assert float(sums.ratio) == 3.0
    assert float(sums.mismatch_kl) == 0.0
    assert float(sums.masked) == 0.0


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_extreme_ratios_stay_finite(kind: str, dtype: torch.dtype) -> None:
    target = torch.tensor([-1e-6, -300.0, -1e30, -5.0], dtype=dtype, requires_grad=True)
    behaviour = torch.tensor([-300.0, -1e-6, -5.0, -1e30], dtype=dtype)
    for sign in (1.0, -1.0):
        loss, sums = policy_loss(
            target, behaviour, torch.full((4,), sign, dtype=dtype), torch.zeros(4, dtype=dtype),
            LossConfig(kind=kind), 4,  # type: ignore[arg-type]
        )  # fmt: skip
        (gradient,) = torch.autograd.grad(loss, target)
        assert torch.isfinite(loss)
        assert torch.isfinite(gradient).all()
        assert all(torch.isfinite(value) for value in vars(sums).values())


def test_dppo_masks_only_in_the_direction_of_the_update() -> None:
    behaviour = np.log(np.array([0.3, 0.3, 0.8, 0.8]))
    target = np.log(np.array([0.6, 0.6, 0.5, 0.5]))
    _, gradient, sums = run(
        LossConfig(kind="dppo_tv", behaviour_kl=0), target, behaviour, np.array([1.0, -1.0, 1.0, -1.0])
    )
    assert (gradient != 0).tolist() == [False, True, True, False]
    assert float(sums.masked) == 2


def test_beyond_the_cap_the_weight_is_the_cap_and_the_gradient_stays() -> None:
    """A token that has become far too likely can still be pushed down."""
    _, gradient, sums = run(
        LossConfig(kind="dppo_tv", behaviour_kl=0), np.array([-0.01]), np.array([-10.0]), np.array([-1.0])
    )
    np.testing.assert_allclose(gradient * COUNT, [20.0])
    assert float(sums.max_ratio) > 20


def test_the_entropy_bonus_rewards_entropy() -> None:
    entropy = torch.tensor([1.0, 2.0], requires_grad=True)
    zeros = torch.zeros(2)
    loss, _ = policy_loss(zeros, zeros, zeros, entropy, LossConfig(entropy=0.1), 10)
    loss.backward()
    assert entropy.grad is not None
    np.testing.assert_allclose(entropy.grad.numpy(), [-0.01, -0.01], rtol=1e-6)


def test_without_tokens_the_loss_is_zero_and_can_still_be_differentiated() -> None:
    """An empty micro-batch keeps its rank in lockstep."""
    empty = torch.zeros(0, requires_grad=True)
    for loss, sums in (
        policy_loss(empty, empty.detach(), empty.detach(), empty.detach(), LossConfig(), 7),
        imitation(empty, empty.detach(), empty.detach(), empty.detach(), 7),
    ):
        loss.backward()
        assert loss.item() == 0.0
        assert float(sums.max_ratio) == 0.0


def test_micro_batches_add_up_to_the_loss_of_the_step() -> None:
    rng = np.random.default_rng(1)
    behaviour = rng.uniform(-4, -0.5, 40)
    target, advantages = behaviour + rng.normal(0, 0.3, 40), rng.normal(size=40)
    whole, *_ = run(LossConfig(), target, behaviour, advantages)
    parts = [
        run(LossConfig(), target[i : i + 7], behaviour[i : i + 7], advantages[i : i + 7])[0]
        for i in range(0, 40, 7)
    ]
    np.testing.assert_allclose(sum(parts), whole, rtol=1e-12)


def test_the_sums_are_those_of_the_definitions() -> None:
    rng = np.random.default_rng(2)
    behaviour = rng.uniform(-4, -0.5, 200)
    target = behaviour + rng.normal(0, 0.3, 200)
    *_, sums = run(LossConfig(), target, behaviour, rng.normal(size=200))
    np.testing.assert_allclose(float(sums.mismatch_kl) / 200, reference.k3(target, behaviour), rtol=1e-9)
    share = float(sums.ratio) ** 2 / (200 * float(sums.ratio_squared))
    np.testing.assert_allclose(share, reference.effective_sample_share(target, behaviour), rtol=1e-9)


def test_imitation_is_the_negative_log_likelihood_over_the_given_count() -> None:
    logprobs = torch.tensor([-1.0, -3.0], requires_grad=True)
    loss, _ = imitation(logprobs, torch.zeros(2), torch.zeros(2), torch.zeros(2), 8)
    loss.backward()
    assert loss.item() == 0.5
    assert logprobs.grad is not None
    np.testing.assert_allclose(logprobs.grad.numpy(), [-0.125, -0.125])
