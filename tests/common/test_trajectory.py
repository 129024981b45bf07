"""What a trajectory refuses to be, and what it says about its tokens."""

import numpy as np
import pytest
from pydantic import ValidationError

from common.trajectory import Group, Member, TaskReference, Trajectory, Turn, VersionSpan
from tests.common.records import make_trajectory, make_turn


def turn(**changes: object) -> Turn:
    return Turn.model_validate(make_turn(num_actions=4).__dict__ | changes)


def test_a_logprob_per_action_token_or_no_turn() -> None:
    with pytest.raises(ValidationError, match="4 action tokens but 3 behaviour logprobs"):
        turn(behaviour_logprobs=np.zeros(3, np.float32))


@pytest.mark.parametrize("counts", [[], [3], [4, 1], [2, 1]])
def test_version_spans_cover_every_action_token(counts: list[int]) -> None:
    spans = tuple(VersionSpan(version=i, num_tokens=n) for i, n in enumerate(counts))
    with pytest.raises(ValidationError, match="4 action tokens but version spans of"):
        turn(versions=spans)


@pytest.mark.parametrize(
    "tokens",
    [np.zeros((2, 2), np.int32), np.zeros(4, np.float32), np.array(["a"] * 4), 5, "text", b"123", None],
)
def test_tokens_are_a_vector_of_integers(tokens: object) -> None:
    with pytest.raises(ValidationError):
        turn(action_tokens=tokens)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_no_number_of_a_record_is_other_than_finite(value: float) -> None:
    with pytest.raises(ValidationError, match="finite number"):
        turn(reward=value)
    with pytest.raises(ValidationError, match="finite number"):
        Trajectory.model_validate(make_trajectory().__dict__ | {"score": value})
    with pytest.raises(ValidationError, match="a behaviour logprob is not finite"):
        turn(behaviour_logprobs=np.array([-1, value, -1, -1], np.float32))


def test_finite_rewards_that_sum_to_infinity_are_refused() -> None:
    with pytest.raises(ValidationError, match="the rewards sum to inf"):
        Trajectory.model_validate(make_trajectory().__dict__ | {"turns": (turn(reward=1e308),) * 2})


@pytest.mark.parametrize("field", ["group", "member", "attempt"])
def test_an_identity_is_made_of_numbers_that_a_ledger_can_hold(field: str) -> None:
    with pytest.raises(ValidationError, match="less than 2147483648"):
        Member.model_validate({"run": "r", "group": 0, "member": 0, field: 1 << 31})


def test_a_span_holds_at_least_one_token() -> None:
    with pytest.raises(ValidationError):
        VersionSpan(version=0, num_tokens=0)


def test_a_record_cannot_be_changed_nor_its_arrays() -> None:
    trajectory = make_trajectory()
    with pytest.raises(ValidationError, match="frozen"):
        trajectory.score = 2.0  # type: ignore[misc]
    with pytest.raises(ValueError, match="read-only"):
        trajectory.turns[0].action_tokens[0] = 1


def test_an_unknown_field_is_refused() -> None:
    with pytest.raises(ValidationError, match="extra"):
        turn(colour="red")


def test_tokens_are_prompt_and_action_of_each_turn_in_order() -> None:
    trajectory = make_trajectory(num_turns=2, num_prompt=2, num_actions=3)
    assert trajectory.tokens().tolist() == [0, 1, 100, 101, 102] * 2
    assert trajectory.is_action().tolist() == [False, False, True, True, True] * 2
    assert trajectory.tokens()[trajectory.is_action()].tolist() == [100, 101, 102] * 2
    assert (trajectory.num_tokens, trajectory.num_action_tokens) == (10, 6)
    assert len(trajectory.behaviour_logprobs()) == 6


def test_each_action_token_knows_the_version_that_sampled_it() -> None:
    trajectory = make_trajectory(num_turns=2, num_actions=5, versions=(3, 4))
    assert trajectory.token_versions().tolist() == [3, 3, 3, 4, 4] * 2
    assert trajectory.token_versions().dtype == np.int32
    assert (trajectory.oldest_version, trajectory.newest_version) == (3, 4)


def test_an_action_may_be_empty() -> None:
    trajectory = make_trajectory(num_turns=1, num_actions=0, versions=())
    assert trajectory.is_action().tolist() == [False] * 5
    assert trajectory.token_versions().tolist() == []
    with pytest.raises(ValueError, match="empty"):
        _ = trajectory.oldest_version


def test_the_return_is_the_sum_of_rewards() -> None:
    assert make_trajectory(num_turns=3).episode_return == 1.5


def test_being_cut_is_not_being_terminated() -> None:
    assert make_trajectory(outcome="truncated_by_horizon").is_truncated
    assert not make_trajectory(outcome="terminated").is_truncated
    assert not make_trajectory(outcome="faulted").is_truncated


def test_a_group_mixes_neither_tasks_nor_horizons() -> None:
    trajectory = make_trajectory()
    group = Group(group=1, task=trajectory.task, horizon=10, trajectories=(trajectory,))
    with pytest.raises(ValidationError, match="mixes horizons 11 and 10"):
        Group(group=1, task=trajectory.task, horizon=11, trajectories=group.trajectories)
    other = TaskReference(environment="textcraft", task="craft.2")
    with pytest.raises(ValidationError, match=r"mixes tasks 'craft\.2' and 'craft\.1'"):
        Group(group=1, task=other, horizon=10, trajectories=group.trajectories)
