"""The set of an AgentEvol iteration: weights, the filter, and never the demonstrations alone."""

import numpy as np
import pytest

from common.errors import PronghornError
from common.trajectory import TaskReference, Trajectory, VersionSpan
from learner.offline.config import EvolConfig
from learner.offline.evol import kept, merged
from learner.offline.examples import Example, ExampleTurn
from tests.making import trajectory, turn

WEIGHTED, FILTERED = EvolConfig(), EvolConfig(objective="filtered")
EXPERT = [Example(item_id="shown", turns=(ExampleTurn(observation="seen", action="done"),))]


def play(
    name: str, value: float, *, won: bool, task: str = "t", environment: str = "toy", turns: int = 1
) -> Trajectory:
    """Of this return; its action tokens spell its name."""
    tokens = np.frombuffer(name.encode(), np.uint8).astype(np.int32)
    made = [
        turn(
            action_tokens=tokens,
            behaviour_logprobs=np.zeros(len(tokens), np.float32),
            versions=(VersionSpan(version=0, num_tokens=len(tokens)),),
            action=name,
            reward=value / turns,
        )
        for _ in range(turns)
    ]
    return trajectory(turns=tuple(made), is_success=won).model_copy(
        update={"task": TaskReference(environment=environment, task=task)}
    )


def learnt(plays: list[Trajectory], config: EvolConfig) -> list[tuple[str, float]]:
    return [(example.turns[0].action, example.weight) for example in kept(plays, config)]


def test_weighted_by_the_return_within_0_and_1_whatever_the_score_says() -> None:
    plays = [play("half", 0.5, won=False), play("lost", 0.0, won=False), play("fined", -0.4, won=False)]
    plays += [play("won", 1.0, won=True), play("more", 1.2, won=True)]
    assert learnt(plays, WEIGHTED) == [("half", 0.5), ("won", 1.0), ("more", 1.0)]


def test_filtered_by_the_environments_own_predicate_and_never_by_the_reward() -> None:
    plays = [play("rich", 1.0, won=False, task="a"), play("poor", 0.2, won=True, task="b")]
    assert learnt(plays, FILTERED) == [("poor", 1.0)]


def test_filtered_keeps_the_first_success_of_a_task_or_the_best() -> None:
    plays = [play("lost", 0.9, won=False), play("slow", 1.0, won=True, turns=3), play("fast", 1.0, won=True)]
    assert learnt(plays, FILTERED) == [("slow", 1.0)]
    assert learnt(plays, EvolConfig(objective="filtered", keeps="best")) == [("fast", 1.0)]


def test_tasks_of_one_name_in_two_environments_are_two() -> None:
    plays = [play("here", 1.0, won=True), play("there", 1.0, won=True, environment="other")]
    assert learnt(plays, FILTERED) == [("here", 1.0), ("there", 1.0)]


def test_plays_that_repeat_another_are_learnt_once() -> None:
    plays = [play("won", 1.0, won=True)] * 3
    assert learnt(plays, WEIGHTED) == [("won", 1.0)]


def test_what_was_explored_changes_the_set() -> None:
    """AgentGym's trainer of this name only ever cloned the demonstrations."""
    examples, counts = merged(EXPERT, [play("won", 1.0, won=True), play("lost", 0.0, won=False)], WEIGHTED)
    assert examples[: len(EXPERT)] == EXPERT
    assert [example.source for example in examples] == ["demonstration", "explored"]
    assert counts == (2, 1, 2)


@pytest.mark.parametrize(("config", "wanted"), [(WEIGHTED, "returned more than 0"), (FILTERED, "succeeded")])
@pytest.mark.parametrize("plays", [[], [play("lost", 0.0, won=False)]], ids=["nothing", "failures"])
def test_a_set_of_demonstrations_alone_is_refused(
    plays: list[Trajectory], config: EvolConfig, wanted: str
) -> None:
    with pytest.raises(
        PronghornError, match=f"none {wanted}: the set would be the demonstrations alone"
    ) as refused:
        merged(EXPERT, plays, config)
    assert "\n" not in str(refused.value)
