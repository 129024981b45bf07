import dataclasses
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from learner.algorithm_config import LossConfig
from learner.loss import imitation, objective, policy_loss
from tests import reference, reference_losses
from tests.learner.token_batches import KINDS, batches, random_batch, run, tokens_of, trained_tokens
from tests.reference_losses import Played

ALL_MASKS = {
    "geometric_low": 0.5, "geometric_high": 2.0, "opsm_delta": 0.1, "veto_low": 1e-3, "veto_high": 1e3,
}  # fmt: skip

options = st.fixed_dictionaries(
    {
        "behaviour_kl": st.sampled_from([0.0, 0.01]),
        "dual_clip": st.sampled_from([0.0, 1.1, 3.0]),
        "entropy": st.sampled_from([0.0, 0.01]),
        "geometric_high": st.sampled_from([0.0, 1.2]),
        "opsm_delta": st.sampled_from([0.0, 0.05]),
        "veto_low": st.sampled_from([0.0, 0.5]),
        "veto_high": st.sampled_from([0.0, 5.0]),
    },
    optional={"kl": st.tuples(st.sampled_from(["k1", "k2", "k3"]), st.sampled_from(["loss", "reward"]))},
)


def assert_equals_the_oracle(config: LossConfig, batch: list[Played]) -> None:
    loss, gradient, _ = run(config, batch)
    expected_loss, expected_gradient = reference_losses.policy_loss(batch, config)
    scale = 1 + np.abs(expected_gradient).sum()
    np.testing.assert_allclose(loss, expected_loss, rtol=1e-9, atol=1e-12 * scale)
    np.testing.assert_allclose(gradient, expected_gradient, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=60, deadline=None)
@given(batch=batches)
def test_loss_and_gradient_equal_the_paper(kind: str, batch: list[Played]) -> None:
    assert_equals_the_oracle(LossConfig(kind=kind, behaviour_kl=0), batch)  # type: ignore[arg-type]


@settings(max_examples=250, deadline=None)
@given(kind=st.sampled_from(KINDS), batch=batches, chosen=options)
def test_every_option_on_top_of_every_loss_equals_the_oracle(
    kind: str, batch: list[Played], chosen: dict[str, Any]
) -> None:
    kl = chosen.pop("kl", None)
    if kl is not None:
        chosen |= {"reference_kl": 0.1, "kl_kind": kl[0], "kl_in": kl[1]}
    assert_equals_the_oracle(LossConfig.model_validate({"kind": kind} | chosen), batch)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_on_policy_the_ratio_is_one_and_the_gradient_minus_weight_times_advantage(
    kind: str, dtype: torch.dtype
) -> None:
    """With every mask on: on policy none of them takes anything away."""
    batch = [
        dataclasses.replace(s, target=s.behaviour, proximal=s.behaviour) for s in random_batch([5, 1, 8])
    ]
    config = LossConfig.model_validate({"kind": kind, "dual_clip": 3.0} | ALL_MASKS)
    _, gradient, sums = run(config, batch, dtype)
    tokens = trained_tokens(batch, dtype)
    np.testing.assert_allclose(gradient, -(tokens.weights * tokens.advantages).numpy(), rtol=1e-6)
    assert float(sums.ratio) == float(sums.ratio_squared) == 14.0
    assert float(sums.max_ratio) == 1.0
    assert float(sums.mismatch_kl) == float(sums.update_kl) == float(sums.masked) == 0.0


@pytest.mark.parametrize("kind", KINDS)
def test_the_order_of_the_sequences_changes_nothing(kind: str) -> None:
    batch = random_batch([4, 7, 1, 3])
    order = [2, 0, 3, 1]
    config = LossConfig.model_validate({"kind": kind, "reference_kl": 0.1} | ALL_MASKS)
    loss, gradient, _ = run(config, batch)
    moved_loss, moved_gradient, _ = run(config, [batch[i] for i in order])
    parts = np.split(gradient, np.cumsum([len(s) for s in batch])[:-1])
    np.testing.assert_allclose(moved_loss, loss, rtol=1e-12)
    np.testing.assert_allclose(moved_gradient, np.concatenate([parts[i] for i in order]), rtol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_micro_batches_add_up_to_the_loss_of_the_update(kind: str) -> None:
    batch = random_batch([6, 2, 9, 0, 5, 3], spread=0.6)
    config = LossConfig.model_validate({"kind": kind, "reference_kl": 0.1} | ALL_MASKS)
    whole, gradient, sums = run(config, batch)
    parts = [run(config, part) for part in (batch[:1], batch[1:4], batch[4:], [])]
    np.testing.assert_allclose(sum(loss for loss, *_ in parts), whole, rtol=1e-12)
    np.testing.assert_allclose(np.concatenate([part for _, part, _ in parts]), gradient, rtol=1e-12)
    for field in dataclasses.fields(sums):
        assert not getattr(sums, field.name).requires_grad
        values = [float(getattr(part, field.name)) for *_, part in parts]
        total = max(values) if field.name == "max_ratio" else sum(values)
        np.testing.assert_allclose(total, float(getattr(sums, field.name)), rtol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_without_tokens_the_loss_is_zero_and_can_still_be_differentiated(kind: str) -> None:
    """An empty micro-batch keeps its rank in lockstep."""
    config = LossConfig.model_validate({"kind": kind, "entropy": 0.1, "reference_kl": 0.1} | ALL_MASKS)
    for batch in ([], [random_batch([0])[0]] * 3):
        for loss_of in (objective(config), imitation):
            tokens = trained_tokens(batch)
            loss, sums = loss_of(tokens)
            loss.backward()
            assert loss.item() == 0.0
            assert all(float(value) == 0.0 for value in vars(sums).values())


@pytest.mark.parametrize("kind", KINDS)
def test_a_trajectory_without_trained_tokens_is_no_nan_and_changes_nothing(kind: str) -> None:
    """The mean over the action tokens of a row that has none was 0 / 0 elsewhere, and the loss NaN."""
    empty, *others = random_batch([0, 4, 3])
    config = LossConfig.model_validate({"kind": kind} | ALL_MASKS)
    loss, gradient, _ = run(config, [others[0], empty, others[1], empty])
    expected_loss, expected_gradient, _ = run(config, others)
    assert np.isfinite(loss)
    assert loss == expected_loss
    np.testing.assert_array_equal(gradient, expected_gradient)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("sign", [1.0, -1.0])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("masks", [{}, ALL_MASKS], ids=["bare", "masked"])
def test_extreme_ratios_stay_finite(
    kind: str, sign: float, dtype: torch.dtype, masks: dict[str, float]
) -> None:
    """A ratio of exp(300) is infinite, and infinity times a mask of zero is NaN."""
    batch = tokens_of([-1e-6, -300.0, -1e30, -5.0], [-300.0, -1e-6, -5.0, -1e30], [sign] * 4)
    batch[0].proximal, batch[0].reference = batch[0].behaviour, batch[0].behaviour[::-1]
    settings = {"kind": kind, "dual_clip": 3.0, "reference_kl": 0.1}
    loss, gradient, sums = run(LossConfig.model_validate(settings | masks), batch, dtype)
    assert np.isfinite(loss)
    assert np.isfinite(gradient).all()
    assert all(torch.isfinite(value) for value in vars(sums).values())


def test_the_entropy_bonus_rewards_entropy() -> None:
    tokens = trained_tokens(random_batch([2]))
    loss, _ = policy_loss(tokens, LossConfig(entropy=0.1))
    loss.backward()
    assert tokens.entropy.grad is not None
    np.testing.assert_allclose(tokens.entropy.grad.numpy(), -0.1 * tokens.weights.numpy())


def test_the_sums_are_those_of_the_definitions() -> None:
    batch = random_batch([120, 80])
    *_, sums = run(LossConfig(), batch)
    target, behaviour, proximal, known = (
        np.concatenate([getattr(s, name) for s in batch])
        for name in ("target", "behaviour", "proximal", "reference")
    )
    np.testing.assert_allclose(float(sums.mismatch_kl) / 200, reference.k3(target, behaviour), rtol=1e-9)
    np.testing.assert_allclose(float(sums.reference_kl) / 200, reference.k3(known, target), rtol=1e-9)
    np.testing.assert_allclose(float(sums.update_kl) / 200, reference.k3(target, proximal), rtol=1e-9)
    np.testing.assert_allclose(float(sums.abs_log_ratio), np.abs(target - behaviour).sum(), rtol=1e-9)
    share = float(sums.ratio) ** 2 / (200 * float(sums.ratio_squared))
    np.testing.assert_allclose(share, reference.effective_sample_share(target, behaviour), rtol=1e-9)
    assert float(sums.num_tokens) == 200


def test_a_divergence_from_what_was_not_scored_is_zero() -> None:
    (played,) = random_batch([6])
    unscored = dataclasses.replace(played, proximal=np.zeros(6), reference=np.zeros(6))
    *_, sums = run(LossConfig(), [unscored])
    assert float(sums.reference_kl) == float(sums.update_kl) == 0.0


def test_imitation_is_the_weighed_negative_log_likelihood_and_its_ratio_is_one() -> None:
    batch = random_batch([3, 4])
    tokens = trained_tokens(batch)
    loss, sums = imitation(tokens)
    loss.backward()
    assert tokens.target_logprobs.grad is not None
    np.testing.assert_allclose(loss.item(), -sum((s.weights * s.advantages * s.target).sum() for s in batch))
    expected = -(tokens.weights * tokens.advantages).numpy()
    np.testing.assert_allclose(tokens.target_logprobs.grad.numpy(), expected)
    assert float(sums.ratio) == 7.0
    assert float(sums.mismatch_kl) == 0.0


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"kind": "a2c"}, "dppo_tv"),
        ({"dual_clip": 0.5}, "dual_clip = 0.5: must be above 1, or 0 for no bound"),
        ({"geometric_high": 0.9}, "geometric_high = 0.9: must be above 1"),
        ({"geometric_low": 0.9}, "geometric_low = 0.9: give geometric_high too"),
        ({"veto_high": 0.9}, "veto_high = 0.9: must be above 1"),
        ({"icepop_low": 1.5}, "less than 1"),
        ({"tis_cap": 0.5}, "greater than or equal to 1"),
        ({"kl_kind": "k4"}, "k1"),
        ({"aggregation": "mean"}, "token-mean"),
    ],
)
def test_a_setting_that_masks_the_policy_itself_or_says_nothing_is_refused(
    setting: dict[str, object], message: str
) -> None:
    with pytest.raises(ValidationError, match=message):
        LossConfig.model_validate(setting)
