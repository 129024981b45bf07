"""How the losses of tokens become one: the weights of `packing` against loops over the sequences."""

from collections.abc import Sequence

import numpy as np
import pytest
import torch

from learner.algorithm_config import LossConfig
from learner.batch import MicroBatch, TrainingSequence
from learner.loss import TrainedTokens, policy_loss
from learner.packing import pack, token_weights
from tests.learner.torch_side import random_sequences

LENGTHS = [12, 40, 7, 25, 3, 18]
AGGREGATIONS = ("token-mean", "seq-mean-token-mean", "seq-mean-token-sum", "seq-mean-token-sum-norm")


def sequences() -> list[TrainingSequence]:
    """Multi-turn, with masked action tokens; one without any action, one whose actions are all masked."""
    made = random_sequences(LENGTHS)
    nothing = np.zeros(9, np.bool_)
    (silent,), (stale,) = random_sequences([9], seed=1), random_sequences([9], seed=2)
    silent.is_action[:], silent.is_trained[:], stale.is_trained[:] = nothing, nothing, nothing
    return [*made[:2], silent, *made[2:], stale]


def literal(played: Sequence[TrainingSequence], config: LossConfig) -> float:
    """The names spelled out; the loss of a token is -A log mu."""
    counted = [s for s in played if s.is_action.sum()]
    sums = [
        sum(
            -float(s.advantages[t]) * float(s.behaviour_logprobs[t]) for t in range(len(s)) if s.is_trained[t]
        )
        for s in counted
    ]
    counts = [int(s.is_action.sum()) for s in counted]
    if config.aggregation == "token-mean":
        return sum(sums) / sum(counts)
    if config.aggregation == "seq-mean-token-mean":
        return float(np.mean([total / count for total, count in zip(sums, counts, strict=True)]))
    if config.aggregation == "seq-mean-token-sum":
        return float(np.mean(sums))
    return float(np.mean([total / config.aggregation_tokens for total in sums]))


def loss_of(microbatch: MicroBatch, config: LossConfig) -> float:
    behaviour, advantages, weights, where = (
        torch.from_numpy(values[microbatch.is_trained])
        for values in (
            microbatch.behaviour_logprobs,
            microbatch.advantages,
            microbatch.weights,
            microbatch.sequence_ids().astype(np.int64),
        )
    )
    none = torch.zeros_like(behaviour)
    tokens = TrainedTokens(
        behaviour, none, behaviour, none, none, advantages, weights, where, microbatch.num_sequences
    )
    return float(policy_loss(tokens, config)[0])


@pytest.mark.parametrize("aggregation", AGGREGATIONS)
@pytest.mark.parametrize("num_ranks", [1, 3])
@pytest.mark.parametrize("budget", [64, 4096])
def test_the_loss_is_aggregated_as_its_name_says_however_it_is_packed(
    aggregation: str, num_ranks: int, budget: int
) -> None:
    settings = {"kind": "reinforce", "aggregation": aggregation, "aggregation_tokens": 50}
    config = LossConfig.model_validate(settings)
    batch = pack(sequences(), microbatch_tokens=budget, num_ranks=num_ranks, loss=config)
    total = sum(loss_of(microbatch, config) for microbatch in batch.microbatches)
    assert total == pytest.approx(literal(sequences(), config), rel=1e-5)


@pytest.mark.parametrize("aggregation", AGGREGATIONS)
def test_masking_a_token_does_not_make_the_others_louder(aggregation: str) -> None:
    played, config = sequences(), LossConfig.model_validate({"aggregation": aggregation})
    before = token_weights(played, config)
    for s in played:
        s.is_trained[::2] = False
    for masked, whole in zip(token_weights(played, config), before, strict=True):
        np.testing.assert_array_equal(masked, whole)


@pytest.mark.parametrize("aggregation", AGGREGATIONS)
def test_a_batch_without_action_tokens_weighs_nothing(aggregation: str) -> None:
    (silent,) = random_sequences([9])
    silent.is_action[:] = False
    (weights,) = token_weights([silent], LossConfig.model_validate({"aggregation": aggregation}))
    assert not weights.any()
