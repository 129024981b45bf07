"""What an evaluation tells: shares with their intervals, by the kind of task and by environment."""

import pytest

from common.trajectory import TaskReference, Trajectory
from learner.evaluation import summarize
from tests import making


def played(environment: str, kind: str, is_success: bool) -> Trajectory:
    task = TaskReference(environment=environment, task="some", kind=kind)
    return making.trajectory().model_copy(update={"task": task, "is_success": is_success})


def test_success_is_told_by_the_kind_of_task() -> None:
    result = summarize(
        [
            played("alfworld", "heat", True),
            played("alfworld", "heat", False),
            played("alfworld", "cool", True),
        ]
    )
    assert (result["num_tasks"], result["success"]) == (3, pytest.approx(2 / 3))
    assert result["by_kind"] == {
        "cool": {"success": 1.0, "num_tasks": 1},
        "heat": {"success": 0.5, "num_tasks": 2},
    }


def test_of_several_environments_each_is_told_too() -> None:
    result = summarize(
        [played("maze", "full", True), played("maze", "", False), played("wordle", "nyt", True)]
    )
    assert result["by_kind"] == {
        "maze": {"success": 0.5, "num_tasks": 2},
        "maze: full": {"success": 1.0, "num_tasks": 1},
        "wordle": {"success": 1.0, "num_tasks": 1},
        "wordle: nyt": {"success": 1.0, "num_tasks": 1},
    }


def test_tasks_without_kinds_are_told_by_their_environment() -> None:
    assert summarize([played("maze", "", True)])["by_kind"] == {"maze": {"success": 1.0, "num_tasks": 1}}


def test_nothing_played_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="no evaluation episode"):
        summarize([])
