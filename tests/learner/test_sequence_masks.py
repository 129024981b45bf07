import numpy as np
import pytest

from learner.algorithm_config import LossConfig
from learner.sequence_masks import is_out
from tests.learner.token_batches import KINDS, run, tokens_of, trained_tokens
from tests.reference_losses import Played


def sequence(log_ratios: list[float], advantages: list[float] | None = None) -> Played:
    behaviour = np.full(len(log_ratios), -3.0)
    (played,) = tokens_of(behaviour + log_ratios, behaviour, advantages or [1.0] * len(log_ratios))
    return played


def taken_out(batch: list[Played], **masks: float) -> list[bool]:
    return is_out(trained_tokens(batch), LossConfig.model_validate(masks)).tolist()


def test_without_masks_nothing_is_taken_out() -> None:
    assert taken_out([sequence([2.0, -2.0])]) == [False, False]


def test_the_geometric_mean_of_the_ratios_decides_over_the_whole_sequence() -> None:
    """A far token that another one balances stays; a sequence that leans to one side goes whole."""
    batch = [sequence([1.0, -1.0]), sequence([0.5, 0.0]), sequence([-0.5, 0.0])]
    out = taken_out(batch, geometric_low=0.9, geometric_high=1.1)
    assert out == [False, False, True, True, True, True]
    assert taken_out(batch, geometric_high=1.1) == [False, False, True, True, False, False]


def test_opsm_takes_out_negative_tokens_of_sequences_that_the_policy_has_left() -> None:
    batch = [sequence([-0.2, -0.4], [-1.0, 1.0]), sequence([0.2, 0.4], [-1.0, -1.0])]
    assert taken_out(batch, opsm_delta=0.1) == [True, False, False, False]
    assert taken_out(batch, opsm_delta=0.31) == [False] * 4


def test_one_ratio_beyond_its_bound_vetoes_its_sequence_and_no_other() -> None:
    batch = [sequence([0.0, -10.0, 0.0]), sequence([0.0]), sequence([6.0, 0.0])]
    assert taken_out(batch, veto_low=1e-4) == [True, True, True, False, False, False]
    assert taken_out(batch, veto_high=100.0) == [False, False, False, False, True, True]


@pytest.mark.parametrize("kind", KINDS)
def test_a_masked_sequence_has_no_policy_gradient_and_is_still_pulled_back(kind: str) -> None:
    """The others keep exactly the gradient that they had."""
    batch = [sequence([0.05, 0.02]), sequence([-9.9, 0.1], [1.0, -1.0])]
    bare = LossConfig.model_validate({"kind": kind, "behaviour_kl": 0.0})
    config = bare.model_copy(update={"veto_low": 1e-4})
    _, gradient, sums = run(config, batch)
    _, without, _ = run(bare, batch)
    *_, first = run(bare, batch[:1])
    np.testing.assert_array_equal(gradient[:2], without[:2])
    np.testing.assert_array_equal(gradient[2:], [0.0, 0.0])
    assert float(sums.masked) == 2 + float(first.masked)
    _, pulled, _ = run(config.model_copy(update={"behaviour_kl": 0.1}), batch)
    np.testing.assert_allclose(pulled[2:], 0.2 * np.array([-9.9, 0.1]))
