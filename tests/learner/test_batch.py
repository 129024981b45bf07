import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from learner.batch import Batch, MicroBatch, TrainingSequence, sequence_of
from learner.packing import pack
from tests import making


def sequence(length: int, first: int = 0) -> TrainingSequence:
    is_action = np.arange(length) >= length // 2
    is_action[0] = False
    return TrainingSequence.of(
        tokens=np.arange(first, first + length, dtype=np.int32),
        is_action=is_action,
        is_trained=is_action,
        behaviour_logprobs=np.where(is_action, -1, 0).astype(np.float32),
        advantages=np.where(is_action, 1, 0).astype(np.float32),
        versions=np.where(is_action, 3, -1).astype(np.int32),
    )


def pieces(batch: Batch) -> list[list[int]]:
    """The sequences of a batch, in tokens."""
    return [
        part.tolist()
        for microbatch in batch.microbatches
        for part in np.split(microbatch.tokens, microbatch.cu_seqlens[1:-1])
        if len(part)
    ]


lengths = st.lists(st.integers(2, 300), max_size=40)


@settings(max_examples=80, deadline=None)
@given(lengths, st.integers(64, 256), st.integers(1, 4))
def test_every_sequence_is_packed_once_within_the_budget_and_ranks_have_equally_many(
    sizes: list[int], budget: int, num_ranks: int
) -> None:
    sequences = [sequence(n, first=1000 * i) for i, n in enumerate(sizes)]
    batch = pack(sequences, microbatch_tokens=budget, num_ranks=num_ranks)
    assert sorted(pieces(batch)) == sorted(s.tokens.tolist() for s in sequences)
    assert len({len(rank) for rank in batch.ranks}) == 1
    assert len(batch.ranks) == num_ranks
    for microbatch in batch.microbatches:
        assert microbatch.num_tokens <= budget or len(microbatch.cu_seqlens) == 2
    assert batch.num_tokens == sum(sizes)
    assert batch.num_sequences == len(sizes)


def test_packing_does_not_depend_on_rounding_or_hashing() -> None:
    sequences = [sequence(n, first=1000 * i) for i, n in enumerate([9, 30, 30, 7, 64, 200])]
    batches = [pack(sequences, microbatch_tokens=64, num_ranks=2) for _ in range(2)]
    assert pieces(batches[0]) == pieces(batches[1])


def test_positions_restart_with_each_sequence_and_nothing_is_padded() -> None:
    (microbatch,) = pack([sequence(3), sequence(5), sequence(4)], microbatch_tokens=64).ranks[0]
    assert microbatch.cu_seqlens.tolist() == [0, 5, 9, 12]
    assert microbatch.position_ids.tolist() == [0, 1, 2, 3, 4, 0, 1, 2, 3, 0, 1, 2]


def test_loads_are_balanced() -> None:
    batch = pack([sequence(n) for n in [100] * 4 + [50] * 8], microbatch_tokens=256, num_ranks=2)
    loads = [microbatch.num_tokens for microbatch in batch.microbatches]
    assert max(loads) - min(loads) <= 50


def test_an_empty_batch_has_one_empty_micro_batch_per_rank() -> None:
    batch = pack([], microbatch_tokens=64, num_ranks=3)
    assert [len(rank) for rank in batch.ranks] == [1, 1, 1]
    assert batch.num_tokens == batch.num_action_tokens == 0


def test_tokens_masks_and_logprobs_come_from_the_trajectory() -> None:
    trajectory = making.trajectory(num_turns=2, version=4)
    made = sequence_of(trajectory)
    assert made is not None
    assert made.tokens.tolist() == trajectory.tokens().tolist()
    assert made.is_action.tolist() == ([False] * 3 + [True] * 2) * 2
    assert made.behaviour_logprobs.tolist() == ([0.0] * 3 + [-0.5] * 2) * 2
    assert made.versions.tolist() == ([-1] * 3 + [4] * 2) * 2


def test_stale_tokens_are_read_and_counted_but_not_trained() -> None:
    fresh = np.array([False, True, True, False])
    made = sequence_of(making.trajectory(num_turns=2), fresh)
    assert made is not None
    assert made.is_trained[made.is_action].tolist() == fresh.tolist()
    (microbatch,) = pack([made], microbatch_tokens=64).ranks[0]
    assert microbatch.num_action_tokens == 4
    assert int(microbatch.is_trained.sum()) == 2


def test_a_trajectory_without_action_tokens_is_no_sequence() -> None:
    assert sequence_of(making.trajectory(1, 0, turns=(making.turn(num_action=0),))) is None


def test_what_would_have_been_read_next_stands_at_the_end_for_a_critic_alone() -> None:
    cut = making.trajectory(outcome="truncated_by_horizon", next_prompt_tokens=np.array([7, 8], np.int32))
    plain, bootstrapped = sequence_of(cut), sequence_of(cut, bootstraps=True)
    assert plain is not None
    assert bootstrapped is not None
    assert bootstrapped.tokens.tolist() == [*plain.tokens.tolist(), 7, 8]
    assert bootstrapped.is_action.tolist() == [*plain.is_action.tolist(), False, False]


def test_every_sequence_is_found_again_where_it_was_packed() -> None:
    made = [sequence(n) for n in (9, 30, 4, 17, 22)]
    batch = pack(made, microbatch_tokens=40, num_ranks=2)
    for microbatches, places in zip(batch.ranks, batch.places, strict=True):
        for microbatch, place in zip(microbatches, places, strict=True):
            assert np.diff(microbatch.cu_seqlens).tolist() == [len(made[index]) for index in place]
    assert sorted(index for rank in batch.places for place in rank for index in place) == [0, 1, 2, 3, 4]


def test_an_action_without_a_prompt_is_refused() -> None:
    with pytest.raises(ValueError, match="trajectory 7/2 begins with an action"):
        sequence_of(making.trajectory(7, 2, turns=(making.turn(num_prompt=0),)))


def test_a_mask_of_another_length_is_refused() -> None:
    with pytest.raises(ValueError, match="2 action tokens but a mask of shape"):
        sequence_of(making.trajectory(), np.ones(3, np.bool_))


def test_a_micro_batch_survives_the_way_to_another_rank() -> None:
    (sent,) = pack([sequence(5), sequence(8)], microbatch_tokens=64).ranks[0]
    received = MicroBatch.from_bytes(sent.to_bytes())
    for name, value in vars(sent).items():
        np.testing.assert_array_equal(getattr(received, name), value)
        assert getattr(received, name).dtype == value.dtype
