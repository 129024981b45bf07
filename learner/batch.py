"""From complete groups to packed micro-batches: no padding, the same number on every rank. NumPy only."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from heapq import heapify, heapreplace
from math import ceil
from typing import Any

import numpy as np
from numpy.typing import NDArray

from common.trajectory import Group, Trajectory

IntVector = NDArray[np.int32]
FloatVector = NDArray[np.float32]
BoolVector = NDArray[np.bool_]


_DTYPES: dict[str, np.dtype[np.generic]] = {
    "is_action": np.dtype(np.bool_),
    "is_trained": np.dtype(np.bool_),
    "behaviour_logprobs": np.dtype(np.float32),
    "advantages": np.dtype(np.float32),
}
"""Of the vectors that are not int32."""


@dataclass(frozen=True, eq=False)
class TrainingSequence:
    """One trajectory as the loss reads it; every field is [T], zero where it says nothing."""

    tokens: IntVector
    is_action: BoolVector
    """The policy sampled the token."""
    is_trained: BoolVector
    """It is an action token and fresh enough to be trained on."""
    behaviour_logprobs: FloatVector
    advantages: FloatVector
    versions: IntVector
    """Of action tokens; -1 elsewhere."""

    def __len__(self) -> int:
        return len(self.tokens)


@dataclass(frozen=True, eq=False)
class MicroBatch:
    """Sequences laid end to end, longest first; every vector is [T] over all of them.

    `cu_seqlens` [B + 1] holds where each sequence begins and, last, T; `position_ids` restart at 0 with
    each sequence. The first token of a sequence is never trained: nothing predicts it. An empty
    micro-batch (T = 0) contributes nothing to a step and keeps the ranks in lockstep.
    """

    tokens: IntVector
    position_ids: IntVector
    cu_seqlens: IntVector
    is_action: BoolVector
    is_trained: BoolVector
    behaviour_logprobs: FloatVector
    advantages: FloatVector
    versions: IntVector

    @property
    def num_tokens(self) -> int:
        """T."""
        return len(self.tokens)

    @property
    def num_action_tokens(self) -> int:
        """Tokens that the policy sampled, trained or masked."""
        return int(self.is_action.sum())

    def to_bytes(self) -> dict[str, bytes]:
        """Every field's bytes by name: what travels to another rank."""
        return {field.name: getattr(self, field.name).tobytes() for field in fields(self)}

    @classmethod
    def from_bytes(cls, parts: dict[str, bytes]) -> "MicroBatch":
        """The micro-batch that `to_bytes` took apart."""
        return cls(
            **{
                name: np.frombuffer(part, _DTYPES.get(name, np.dtype(np.int32)))
                for name, part in parts.items()
            }
        )


@dataclass(frozen=True)
class Batch:
    """What one optimizer step trains on: `ranks[r]` are the micro-batches of rank r, equally many on each."""

    ranks: tuple[tuple[MicroBatch, ...], ...]

    @property
    def microbatches(self) -> list[MicroBatch]:
        """Those of all ranks."""
        return [microbatch for rank in self.ranks for microbatch in rank]

    @property
    def num_tokens(self) -> int:
        """Tokens in all, over all ranks."""
        return sum(microbatch.num_tokens for microbatch in self.microbatches)

    @property
    def num_action_tokens(self) -> int:
        """What the loss is normalised by: action tokens over all ranks, before any masking."""
        return sum(microbatch.num_action_tokens for microbatch in self.microbatches)

    @property
    def num_sequences(self) -> int:
        """Sequences over all ranks."""
        return sum(len(microbatch.cu_seqlens) - 1 for microbatch in self.microbatches)


def sequence_of(
    trajectory: Trajectory, advantage: float, fresh: BoolVector | None = None
) -> TrainingSequence | None:
    """The trajectory with one advantage for all its action tokens; None when it has no action token.

    `fresh` ([A], in the order of the action tokens) is False where a token is too stale to be trained on;
    such tokens are still read and still counted in the normalisation. Raises ValueError when the first
    token is an action (nothing predicts it) or `fresh` has another length.
    """
    if trajectory.num_action_tokens == 0:
        return None
    is_action = trajectory.is_action()
    where = f"trajectory {trajectory.identity.group}/{trajectory.identity.member}"
    if is_action[0]:
        raise ValueError(f"{where} begins with an action token: without a prompt nothing predicts it")
    if fresh is not None and fresh.shape != (trajectory.num_action_tokens,):
        raise ValueError(
            f"{where} has {trajectory.num_action_tokens} action tokens but a mask of shape {fresh.shape}"
        )
    length = len(is_action)
    is_trained = is_action.copy()
    if fresh is not None:
        is_trained[is_action] = fresh
    behaviour_logprobs = np.zeros(length, np.float32)
    behaviour_logprobs[is_action] = trajectory.behaviour_logprobs()
    versions = np.full(length, -1, np.int32)
    versions[is_action] = trajectory.token_versions()
    advantages = np.where(is_action, np.float32(advantage), np.float32(0))
    return TrainingSequence(
        trajectory.tokens(), is_action, is_trained, behaviour_logprobs, advantages, versions
    )


def build_batch(
    groups: Sequence[Group],
    advantages: Sequence[FloatVector],
    *,
    microbatch_tokens: int,
    num_ranks: int = 1,
    fresh: Sequence[Sequence[BoolVector]] | None = None,
) -> Batch:
    """Pack complete groups; `advantages[g]` is [G], one per member.

    `fresh[g][i]` is [A] of member i, see `sequence_of`. Members without action tokens are skipped.
    """
    sequences = []
    for g, (group, credits) in enumerate(zip(groups, advantages, strict=True)):
        masks = fresh[g] if fresh is not None else [None] * len(group.trajectories)
        for trajectory, credit, mask in zip(group.trajectories, credits, masks, strict=True):
            sequences.append(sequence_of(trajectory, float(credit), mask))
    return pack(
        [s for s in sequences if s is not None], microbatch_tokens=microbatch_tokens, num_ranks=num_ranks
    )


def pack(sequences: Iterable[TrainingSequence], *, microbatch_tokens: int, num_ranks: int = 1) -> Batch:
    """Pack sequences into micro-batches of at most `microbatch_tokens` and deal them to the ranks.

    A longer sequence gets a micro-batch of its own. The number of micro-batches is the least that holds
    the tokens, rounded up to a multiple of the ranks, and their sizes are as equal as a greedy longest-first
    placement makes them. At least one micro-batch per rank, empty when there is nothing to train on.
    """
    longest_first = sorted(sequences, key=len, reverse=True)
    bins = _fill_bins(longest_first, microbatch_tokens, num_ranks)
    bins.sort(key=lambda content: sum(map(len, content)), reverse=True)
    packed = [_concatenate(content) for content in bins]
    return Batch(tuple(tuple(packed[rank::num_ranks]) for rank in range(num_ranks)))


def _fill_bins(
    longest_first: list[TrainingSequence], budget: int, num_ranks: int
) -> list[list[TrainingSequence]]:
    """The fewest bins (a multiple of the ranks) for which least-loaded placement keeps the budget."""
    oversized = [[sequence] for sequence in longest_first if len(sequence) > budget]
    rest = longest_first[len(oversized) :]
    least = len(oversized) + ceil(sum(map(len, rest)) / budget)
    num_bins = max(1, ceil(least / num_ranks)) * num_ranks
    while True:
        placed = _place(rest, num_bins - len(oversized), budget)
        if placed is not None:
            return oversized + placed
        num_bins += num_ranks


def _place(
    longest_first: list[TrainingSequence], num_bins: int, budget: int
) -> list[list[TrainingSequence]] | None:
    """Each sequence into the emptiest bin; None when one does not fit."""
    bins: list[list[TrainingSequence]] = [[] for _ in range(num_bins)]
    loads = [(0, index) for index in range(num_bins)]
    heapify(loads)
    for sequence in longest_first:
        if not loads or loads[0][0] + len(sequence) > budget:
            return None
        load, index = loads[0]
        bins[index].append(sequence)
        heapreplace(loads, (load + len(sequence), index))
    return bins


def _concatenate(sequences: list[TrainingSequence]) -> MicroBatch:
    lengths = [len(sequence) for sequence in sequences]

    def joined(name: str) -> Any:
        dtype = _DTYPES.get(name, np.dtype(np.int32))
        return np.concatenate([np.empty(0, dtype), *(getattr(s, name) for s in sequences)]).astype(
            dtype, copy=False
        )

    return MicroBatch(
        position_ids=np.concatenate([np.arange(n, dtype=np.int32) for n in (0, *lengths)]),
        cu_seqlens=np.cumsum([0, *lengths]).astype(np.int32),
        **{field.name: joined(field.name) for field in fields(TrainingSequence)},
    )
