"""What a step reads: one trajectory as vectors, and packed micro-batches of them. NumPy only."""

from dataclasses import dataclass, fields
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from common.trajectory import Trajectory

IntVector = NDArray[np.int32]
FloatVector = NDArray[np.float32]
BoolVector = NDArray[np.bool_]
Number = TypeVar("Number", np.int32, np.float32)

_DTYPES: dict[str, np.dtype[np.generic]] = {
    "tokens": np.dtype(np.int32),
    "position_ids": np.dtype(np.int32),
    "cu_seqlens": np.dtype(np.int32),
    "versions": np.dtype(np.int32),
    "is_action": np.dtype(np.bool_),
    "is_trained": np.dtype(np.bool_),
}


def dtype_of(name: str) -> np.dtype[np.generic]:
    """The dtype of a field of `TrainingSequence` or `MicroBatch`; float32 where nothing else is said."""
    return _DTYPES.get(name, np.dtype(np.float32))


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
    proximal_logprobs: FloatVector
    """log pi of action tokens as the step began; zero unless the loss asks for them."""
    reference_logprobs: FloatVector
    """Of the reference model; zero without one."""
    values: FloatVector
    """What the critic said before each action token as the step began; zero without a critic."""
    returns: FloatVector
    """What it should have said."""

    def __len__(self) -> int:
        return len(self.tokens)

    @classmethod
    def of(
        cls,
        tokens: IntVector,
        is_action: BoolVector,
        is_trained: BoolVector,
        behaviour_logprobs: FloatVector,
        advantages: FloatVector,
        versions: IntVector,
    ) -> "TrainingSequence":
        """A sequence that nothing has been scored of."""
        zeros = np.zeros(len(tokens), np.float32)
        return cls(
            tokens,
            is_action,
            is_trained,
            behaviour_logprobs,
            advantages,
            versions,
            zeros,
            zeros,
            zeros,
            zeros,
        )


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
    proximal_logprobs: FloatVector
    reference_logprobs: FloatVector
    values: FloatVector
    returns: FloatVector
    weights: FloatVector
    """What each action token counts in the mean over the update; see `packing.token_weights`."""

    @property
    def num_tokens(self) -> int:
        """T."""
        return len(self.tokens)

    @property
    def num_sequences(self) -> int:
        """B."""
        return len(self.cu_seqlens) - 1

    @property
    def num_action_tokens(self) -> int:
        """Tokens that the policy sampled, trained or masked."""
        return int(self.is_action.sum())

    def sequence_ids(self) -> IntVector:
        """[T] which of the micro-batch's sequences each token belongs to."""
        return np.repeat(np.arange(self.num_sequences, dtype=np.int32), np.diff(self.cu_seqlens))

    def to_bytes(self) -> dict[str, bytes]:
        """Every field's bytes by name: what travels to another rank."""
        return {field.name: getattr(self, field.name).tobytes() for field in fields(self)}

    @classmethod
    def from_bytes(cls, parts: dict[str, bytes]) -> "MicroBatch":
        """The micro-batch that `to_bytes` took apart."""
        return cls(**{name: np.frombuffer(part, dtype_of(name)) for name, part in parts.items()})


@dataclass(frozen=True)
class Batch:
    """What one update trains on: `ranks[r]` are the micro-batches of rank r, equally many on each."""

    ranks: tuple[tuple[MicroBatch, ...], ...]
    places: tuple[tuple[tuple[int, ...], ...], ...]
    """Of the same shape: which of the sequences that were packed lie in each micro-batch, in order."""

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
        """Action tokens over all ranks, before any masking."""
        return sum(microbatch.num_action_tokens for microbatch in self.microbatches)

    @property
    def num_sequences(self) -> int:
        """Sequences over all ranks."""
        return sum(microbatch.num_sequences for microbatch in self.microbatches)


def sequence_of(
    trajectory: Trajectory, fresh: BoolVector | None = None, *, bootstraps: bool = False
) -> TrainingSequence | None:
    """The trajectory without credit yet; None when it has no action token.

    With `bootstraps` an episode that was cut ends with what the policy would have read next: there a critic
    says what would have followed. `fresh` ([A], in the order of the action tokens) is False where a token is
    too stale to be trained on; such tokens are still read and still counted in the normalisation. Raises
    ValueError when the first token is an action (nothing predicts it) or `fresh` has another length.
    """
    if trajectory.num_action_tokens == 0:
        return None
    played = trajectory.is_action()
    where = f"trajectory {trajectory.identity.group}/{trajectory.identity.member}"
    if played[0]:
        raise ValueError(f"{where} begins with an action token: without a prompt nothing predicts it")
    if fresh is not None and fresh.shape != (trajectory.num_action_tokens,):
        raise ValueError(
            f"{where} has {trajectory.num_action_tokens} action tokens but a mask of shape {fresh.shape}"
        )
    tokens = trajectory.tokens()
    if bootstraps:
        tokens = np.concatenate([tokens, trajectory.next_prompt_tokens])
    is_action = np.concatenate([played, np.zeros(len(tokens) - len(played), np.bool_)])
    is_trained = is_action.copy()
    if fresh is not None:
        is_trained[is_action] = fresh
    return TrainingSequence.of(
        tokens,
        is_action,
        is_trained,
        spread(is_action, trajectory.behaviour_logprobs()),
        np.zeros(len(tokens), np.float32),
        spread(is_action, trajectory.token_versions(), elsewhere=-1),
    )


def spread(is_action: BoolVector, values: NDArray[Number], elsewhere: int = 0) -> NDArray[Number]:
    """[T] the [A] values at the action tokens, in order, and `elsewhere` at the others."""
    laid = np.full(len(is_action), elsewhere, values.dtype)
    laid[is_action] = values
    return laid
