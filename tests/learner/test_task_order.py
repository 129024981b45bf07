"""Which task the next group plays: seed and position alone decide, and environments take turns by weight."""

import pytest

from common.trajectory import TaskReference
from learner.task_order import TaskOrder

TASKS = [TaskReference(environment=name, task=f"{name}-{i}") for name in ("maze", "wordle") for i in range(5)]
WEIGHTS = {"maze": 3.0, "wordle": 1.0}


def test_every_task_is_played_once_per_epoch_and_epochs_differ() -> None:
    order = TaskOrder(TASKS, seed=0)
    epochs = [[order[10 * epoch + i].task for i in range(10)] for epoch in range(2)]
    assert sorted(epochs[0]) == sorted(epochs[1]) == sorted(task.task for task in TASKS)
    assert epochs[0] != epochs[1]


def test_environments_take_turns_by_their_weights_from_the_first_groups_on() -> None:
    order = TaskOrder(TASKS, 0, WEIGHTS)
    played = [order[i].environment for i in range(400)]
    for end in (4, 40, 400):
        assert played[:end].count("maze") == 3 * end // 4


def test_each_environment_of_a_mixture_has_epochs_of_its_own() -> None:
    order = TaskOrder(TASKS, 0, WEIGHTS)
    played = [order[i] for i in range(80)]
    mazes = [task.task for task in played if task.environment == "maze"]
    for epoch in range(12):
        assert sorted(mazes[5 * epoch : 5 * epoch + 5]) == [f"maze-{i}" for i in range(5)]


def test_any_position_can_be_asked_first_so_that_a_resume_continues() -> None:
    straight = TaskOrder(TASKS, 7, WEIGHTS)
    expected = [straight[i] for i in range(100)]
    for start in (99, 50, 0):
        assert TaskOrder(TASKS, 7, WEIGHTS)[start] == expected[start]


@pytest.mark.parametrize(("tasks", "weights"), [([], None), (TASKS[:5], WEIGHTS)])
def test_an_environment_without_tasks_is_a_mistake(
    tasks: list[TaskReference], weights: dict[str, float] | None
) -> None:
    with pytest.raises(ValueError, match="no training tasks"):
        TaskOrder(tasks, 0, weights)
