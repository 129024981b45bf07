"""From sequences to packed micro-batches: no padding, the same number on every rank. NumPy only."""

from collections.abc import Sequence
from dataclasses import fields
from heapq import heapify, heapreplace
from math import ceil
from typing import Any

import numpy as np

from learner.algorithm_config import Aggregation, LossConfig
from learner.batch import Batch, FloatVector, MicroBatch, TrainingSequence, dtype_of

Placed = tuple[int, TrainingSequence]
"""A sequence and where it stood among those that are packed."""


def pack(
    sequences: Sequence[TrainingSequence],
    *,
    microbatch_tokens: int,
    num_ranks: int = 1,
    loss: LossConfig | None = None,
) -> Batch:
    """Pack the sequences of one update into micro-batches of at most `microbatch_tokens`, for all ranks.

    A longer sequence gets a micro-batch of its own. The number of micro-batches is the least that holds
    the tokens, rounded up to a multiple of the ranks, and their sizes are as equal as a greedy longest-first
    placement makes them. At least one micro-batch per rank, empty when there is nothing to train on.
    Tokens are weighed as `loss` says, by `token-mean` without one.
    """
    numbered = sorted(enumerate(sequences), key=lambda placed: len(placed[1]), reverse=True)
    bins = _fill_bins(numbered, microbatch_tokens, num_ranks)
    bins.sort(key=_num_tokens, reverse=True)
    weights = token_weights(sequences, loss or LossConfig())
    packed = [_concatenate(content, weights) for content in bins]
    places = [tuple(index for index, _ in content) for content in bins]
    return Batch(
        tuple(tuple(packed[rank::num_ranks]) for rank in range(num_ranks)),
        tuple(tuple(places[rank::num_ranks]) for rank in range(num_ranks)),
    )


def token_weights(sequences: Sequence[TrainingSequence], loss: LossConfig) -> list[FloatVector]:
    """[T] of each sequence: what its action tokens count, so that the loss is a plain weighted sum.

    With N action tokens in all, B sequences that have any, and A in a sequence, masked ones included
    (a mask must not make the other tokens louder):

        token-mean                1 / N             DAPO, arXiv:2503.14476
        seq-mean-token-mean       1 / (B A)         GRPO, arXiv:2402.03300
        seq-mean-token-sum        1 / B
        seq-mean-token-sum-norm   1 / (B L)         Dr. GRPO, arXiv:2503.20783; L is `aggregation_tokens`
    """
    counts = [int(sequence.is_action.sum()) for sequence in sequences]
    total, num = sum(counts), sum(count > 0 for count in counts)
    weights: dict[Aggregation, list[float]] = {
        "token-mean": [1 / max(1, total)] * len(counts),
        "seq-mean-token-mean": [1 / max(1, num * count) for count in counts],
        "seq-mean-token-sum": [1 / max(1, num)] * len(counts),
        "seq-mean-token-sum-norm": [1 / max(1, num * loss.aggregation_tokens)] * len(counts),
    }
    return [
        np.where(sequence.is_action, np.float32(weight), np.float32(0))
        for sequence, weight in zip(sequences, weights[loss.aggregation], strict=True)
    ]


def _num_tokens(content: Sequence[Placed]) -> int:
    return sum(len(sequence) for _, sequence in content)


def _fill_bins(longest_first: list[Placed], budget: int, num_ranks: int) -> list[list[Placed]]:
    """The fewest bins (a multiple of the ranks) for which least-loaded placement keeps the budget."""
    oversized = [[placed] for placed in longest_first if len(placed[1]) > budget]
    rest = longest_first[len(oversized) :]
    least = len(oversized) + ceil(_num_tokens(rest) / budget)
    num_bins = max(1, ceil(least / num_ranks)) * num_ranks
    while True:
        bins = _place(rest, num_bins - len(oversized), budget)
        if bins is not None:
            return oversized + bins
        num_bins += num_ranks


def _place(longest_first: list[Placed], num_bins: int, budget: int) -> list[list[Placed]] | None:
    """Each sequence into the emptiest bin; None when one does not fit."""
    bins: list[list[Placed]] = [[] for _ in range(num_bins)]
    loads = [(0, index) for index in range(num_bins)]
    heapify(loads)
    for placed in longest_first:
        length = len(placed[1])
        if not loads or loads[0][0] + length > budget:
            return None
        load, index = loads[0]
        bins[index].append(placed)
        heapreplace(loads, (load + length, index))
    return bins


def _concatenate(content: list[Placed], weights: list[FloatVector]) -> MicroBatch:
    sequences = [sequence for _, sequence in content]
    lengths = [len(sequence) for sequence in sequences]

    def joined(name: str, parts: Sequence[Any]) -> Any:
        dtype = dtype_of(name)
        return np.concatenate([np.empty(0, dtype), *parts]).astype(dtype, copy=False)

    return MicroBatch(
        position_ids=np.concatenate([np.arange(n, dtype=np.int32) for n in (0, *lengths)]),
        cu_seqlens=np.cumsum([0, *lengths]).astype(np.int32),
        weights=joined("weights", [weights[index] for index, _ in content]),
        **{
            field.name: joined(field.name, [getattr(s, field.name) for s in sequences])
            for field in fields(TrainingSequence)
        },
    )
