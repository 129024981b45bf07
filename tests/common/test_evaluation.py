"""What an evaluation tells: shares with their intervals, by the kind of task, by depth and by environment."""

import pytest

from common.evaluation import EpisodeResult, episode_results, summarize
from common.statistics import wilson_interval
from common.trajectory import TaskReference
from tests import making


def played(
    environment: str = "alfworld", kind: str = "", is_success: bool = True, **changes: object
) -> EpisodeResult:
    values = {"task": "some", "score": 0.0, "episode_return": 0.0, "outcome": "terminated", "num_turns": 1}
    return EpisodeResult.model_validate(
        {"environment": environment, "kind": kind, "is_success": is_success, **values, **changes}
    )


def told(part: dict[str, dict[str, float]]) -> dict[str, tuple[float, float]]:
    return {name: (values["success"], values["num_tasks"]) for name, values in part.items()}


def test_success_is_told_by_kind_and_by_depth() -> None:
    result = summarize(
        [
            played(kind="heat", task="a", depth=1),
            played(kind="heat", task="b", is_success=False, depth=2),
            played(kind="cool", task="c", depth=2),
        ]
    )
    assert (result["num_tasks"], result["success"]) == (3, pytest.approx(2 / 3))
    assert told(result["by_kind"]) == {"cool": (1.0, 1), "heat": (0.5, 2)}
    assert told(result["by_depth"]) == {"depth 1": (1.0, 1), "depth 2": (0.5, 2)}
    assert told(result["by_environment"]) == {"alfworld": (pytest.approx(2 / 3), 3)}


def test_of_several_environments_each_is_told_and_kinds_bear_its_name() -> None:
    result = summarize(
        [
            played("maze", "full", task="a", depth=3),
            played("maze", task="b", is_success=False),
            played("wordle", "nyt"),
        ]
    )
    assert told(result["by_environment"]) == {"maze": (0.5, 2), "wordle": (1.0, 1)}
    assert told(result["by_kind"]) == {"maze: full": (1.0, 1), "wordle: nyt": (1.0, 1)}
    assert told(result["by_depth"]) == {"maze: depth 3": (1.0, 1)}


def test_of_several_plays_avg_and_pass_are_told_apart() -> None:
    won = {"a": [True, False, False, False], "b": [False] * 4, "c": [True] * 4}
    result = summarize(
        [played(task=t, is_success=w, sample=i) for t, wins in won.items() for i, w in enumerate(wins)]
    )
    assert (result["num_tasks"], result["num_episodes"], result["samples"]) == (3, 12, 4)
    assert result["success"] == pytest.approx((1 / 4 + 0 + 1) / 3)
    shares = {k: passed["share"] for k, passed in result["pass_at"].items()}
    assert shares == {
        "1": pytest.approx(result["success"]),
        "2": pytest.approx((1 / 2 + 0 + 1) / 3),
        "4": pytest.approx(2 / 3),
    }
    assert all(passed["low"] <= passed["share"] <= passed["high"] for passed in result["pass_at"].values())


def test_with_one_play_per_task_the_interval_is_wilsons() -> None:
    results = [played(task=str(i), is_success=i < 7) for i in range(20)]
    assert (summarize(results)["low"], summarize(results)["high"]) == pytest.approx(wilson_interval(7, 20))


def test_a_partial_score_is_no_success_however_high() -> None:
    """AgentGym-RL counts pass@k by score > 0: of SciWorld, 0 to 100, nearly everything passes."""
    results = [
        played("sciworld", task=str(i // 2), sample=i % 2, is_success=False, score=83.0, episode_return=0.83)
        for i in range(8)
    ]
    done = played("sciworld", task="4", is_success=True, score=100.0, episode_return=1.0)
    result = summarize([*results, done, done.model_copy(update={"sample": 1, "is_success": False})])
    assert result["pass_at"]["2"]["share"] == pytest.approx(1 / 5)
    assert result["success"] == pytest.approx(1 / 10)
    assert result["score"] == pytest.approx((8 * 83 + 200) / 10)


def test_a_reward_of_one_is_no_success_where_the_environment_says_it_is_none() -> None:
    task = TaskReference(environment="toy", task="t")
    trajectory = making.trajectory(reward=1.0).model_copy(update={"task": task, "is_success": False})
    assert summarize(episode_results([trajectory]))["success"] == 0


def test_the_versions_that_played_are_told() -> None:
    trajectories = [making.trajectory(version=v, task=f"task-{v}") for v in (3, 5)]
    result = summarize(episode_results(trajectories))
    assert (result["oldest_version"], result["newest_version"]) == (3, 5)


def test_plays_of_one_task_are_numbered() -> None:
    results = episode_results([making.trajectory(), making.trajectory(task="other"), making.trajectory()])
    assert [result.sample for result in results] == [0, 0, 1]


def test_nothing_played_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="no evaluation episode"):
        summarize([])
