"""From groups to batches: freshness, scores laid where they belong, credit, minibatches."""

from dataclasses import replace
from itertools import chain

import numpy as np
import pytest

from common.trajectory import Group
from learner.batch import TrainingSequence
from learner.batch_builder import BatchBuilder, Draft
from learner.config import LearnerConfig
from learner.scores import Scores
from tests import making
from tests.learner.random_groups import random_groups


def config(**sections: object) -> LearnerConfig:
    return LearnerConfig.model_validate({"group_size": 4, **sections})


def draft(builder: BatchBuilder, groups: list[Group]) -> Draft:
    return builder.draft(groups, [[0] * len(g.trajectories) for g in groups], 0)


def scores_of(made: Draft, seed: int = 0) -> list[Scores]:
    """Random scores of every sequence."""
    rng = np.random.default_rng(seed)
    counts = [int(s.is_action.sum()) for s in made.sequences]
    return [
        Scores(
            *(rng.uniform(-5, -3, n).astype(np.float32) for _ in range(2)),
            rng.normal(size=n).astype("f4"),
            2.0,
        )
        for n in counts
    ]


def credited(settings: LearnerConfig, groups: list[Group]) -> tuple[Draft, list[TrainingSequence]]:
    builder = BatchBuilder(settings)
    made = draft(builder, groups)
    return made, builder.credit(made, scores_of(made) if builder.wants else None)


@pytest.mark.parametrize(
    ("sections", "expected"),
    [
        ({}, ()),
        ({"loss": {"kind": "decoupled_ppo"}}, ("proximal",)),
        ({"loss": {"second_moment": 0.04}}, ("proximal",)),
        ({"guards": {"max_update_kl": 0.1}}, ("proximal",)),
        ({"loss": {"reference_kl": 0.1}}, ("reference",)),
        ({"advantage": {"kind": "gae", "gamma": 0.9}, "critic": {"kind": "shared"}}, ("values",)),
        (
            {"advantage": {"kind": "vtrace", "gamma": 0.9}, "critic": {"kind": "separate"}},
            ("proximal", "values"),
        ),
    ],
)
def test_nothing_is_scored_that_nobody_reads(sections: dict[str, object], expected: tuple[str, ...]) -> None:
    assert BatchBuilder(config(**sections)).wants == expected


def test_the_default_credits_every_action_token_with_the_return_above_the_groups_mean() -> None:
    groups = random_groups()
    made, sequences = credited(config(), groups)
    means = [np.mean([t.episode_return for t in g.trajectories]) for g in groups]
    for trajectory, group, sequence in zip(made.trajectories, made.groups, sequences, strict=True):
        expected = trajectory.episode_return - means[group]
        np.testing.assert_allclose(sequence.advantages[sequence.is_action], expected, rtol=1e-5, atol=1e-7)
        assert not sequence.advantages[~sequence.is_action].any()


def test_scores_stand_at_the_action_tokens_they_were_made_for() -> None:
    settings = config(
        loss={"kind": "decoupled_ppo", "reference_kl": 0.1},
        advantage={"kind": "gae", "gamma": 0.9},
        critic={"kind": "shared"},
    )
    made, sequences = credited(settings, random_groups())
    for sequence, known in zip(sequences, scores_of(made), strict=True):
        for laid, found in (
            (sequence.proximal_logprobs, known.proximal_logprobs),
            (sequence.reference_logprobs, known.reference_logprobs),
            (sequence.values, known.values),
        ):
            np.testing.assert_array_equal(laid[sequence.is_action], found)
            assert not laid[~sequence.is_action].any()


@pytest.mark.parametrize("bootstraps", [True, False])
def test_only_an_episode_that_was_cut_goes_on_with_the_critics_value(bootstraps: bool) -> None:
    """With lambda 1 the critic's target is the discounted return, plus what follows where it was cut."""
    settings = config(
        advantage={"kind": "gae", "gamma": 0.5, "bootstraps": bootstraps}, critic={"kind": "shared"}
    )
    made, sequences = credited(settings, random_groups(seed=3))
    assert {t.is_truncated for t in made.trajectories} == {True, False}
    for trajectory, sequence in zip(made.trajectories, sequences, strict=True):
        follows = 2.0 if trajectory.is_truncated and bootstraps else 0.0
        rewards = [*(turn.reward for turn in trajectory.turns), follows]
        first = sequence.returns[sequence.is_action][0]
        assert first == pytest.approx(sum(0.5**k * reward for k, reward in enumerate(rewards)), abs=1e-5)
        assert len(sequence) == trajectory.num_tokens + 3 * (trajectory.is_truncated and bootstraps)


def test_a_penalty_in_the_reward_lowers_the_return_of_who_strayed_from_the_reference() -> None:
    groups = [making.group(0, (1.0, 1.0))]
    builder = BatchBuilder(
        config(group_size=2, loss={"reference_kl": 0.5, "kl_in": "reward", "kl_kind": "k1"})
    )
    made = draft(builder, groups)
    near, far = np.full(2, -0.5, np.float32), np.full(2, -1.5, np.float32)
    sequences = builder.credit(made, [Scores(reference_logprobs=near), Scores(reference_logprobs=far)])
    # log mu - log reference is 0 and 1 nat on two tokens: the returns are 1 and 0, their mean 0.5.
    assert [s.advantages[s.is_action][0] for s in sequences] == pytest.approx([0.5, -0.5])


def test_the_bound_on_the_second_moment_masks_tokens_but_not_their_count() -> None:
    settings = config(loss={"second_moment": 0.04})
    groups = random_groups()
    made, bounded = credited(settings, groups)
    _, free = credited(config(), groups)
    assert sum(int(s.is_trained.sum()) for s in bounded) < sum(int(s.is_trained.sum()) for s in free)
    batch = BatchBuilder(settings).packed(bounded)
    assert batch.num_action_tokens == sum(t.num_action_tokens for t in made.trajectories)


def test_stale_tokens_and_cut_episodes_are_masked_before_anything_is_credited() -> None:
    settings = config(mask_truncated=True, staleness={"max_staleness": 1})
    builder = BatchBuilder(settings)
    groups = random_groups(seed=3, version=5)
    received = [[6] * 4 for _ in groups]
    assert builder.draft(groups, received, 7).num_trained_tokens == 0
    made = builder.draft(groups, received, 6)
    for trajectory, sequence in zip(made.trajectories, made.sequences, strict=True):
        assert sequence.is_trained.any() != trajectory.is_truncated


def test_a_member_without_action_tokens_counts_for_the_baseline_and_is_not_trained() -> None:
    """AgentGym-RL divides by the zero action tokens of such a row; here it never becomes a row."""
    silent = making.trajectory(0, 0, turns=(making.turn(num_action=0, reward=1.0),))
    group = making.group(0).model_copy(update={"trajectories": (silent, making.trajectory(0, 1))})
    made, sequences = credited(config(group_size=2), [group])
    assert len(made.trajectories) == 2
    (sequence,) = sequences
    assert sequence.advantages[sequence.is_action].tolist() == [-0.5, -0.5]


def test_every_pass_trains_every_sequence_once_in_an_order_that_a_resume_repeats() -> None:
    settings = config(epochs=2, minibatches=3)
    made, sequences = credited(settings, random_groups())
    numbered = [replace(s, versions=np.full(len(s), i, np.int32)) for i, s in enumerate(sequences)]

    def seen(seed: int, step: int) -> list[list[int]]:
        batches = BatchBuilder(settings, seed).updates(numbered, step)
        return [sorted({int(v) for m in b.microbatches for v in m.versions}) for b in batches]

    parts = seen(0, 1)
    assert len(parts) == 6
    for epoch in (parts[:3], parts[3:]):
        assert sorted(chain.from_iterable(epoch)) == list(range(len(made.sequences)))
    assert parts[:3] != parts[3:]
    assert seen(0, 1) == parts
    assert seen(0, 2) != parts
    assert seen(1, 1) != parts


def test_each_minibatch_is_normalised_by_its_own_tokens() -> None:
    settings = config(minibatches=3)
    _, sequences = credited(settings, random_groups())
    for batch in BatchBuilder(settings).updates(sequences, 1):
        assert sum(m.weights.sum() for m in batch.microbatches) == pytest.approx(1, abs=1e-5)
