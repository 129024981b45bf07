"""`pronghorn compare A B`: paired by task, honest about what was not alike, refusing other tasks."""

import json
from pathlib import Path

import numpy as np
import pytest

from common.evaluation import EpisodeResult
from launch.cli import main
from launch.compare import compare
from launch.evaluation_folder import EpisodeLine, opened
from launch.evaluation_results import write_results


def evaluation(path: Path, wins: dict[str, list[bool]], **settings: object) -> Path:
    """A finished evaluation of tasks `environment/name` with these successes."""
    asked = {"samples": 1, "horizon": 5} | settings
    with opened(path, asked, resumes=False) as folder:
        for name, won in wins.items():
            environment, _, task = name.rpartition("/")
            for sample, is_success in enumerate(won):
                result = EpisodeResult(
                    environment=environment or "maze",
                    task=task,
                    sample=sample,
                    is_success=is_success,
                    score=float(is_success),
                    episode_return=float(is_success),
                    outcome="terminated",
                    num_turns=3,
                )
                folder.append(EpisodeLine(result=result))
        write_results(folder, settings=asked, config={}, prices=(0, 0))
    return path


def test_a_policy_that_solves_what_the_other_solves_and_more_is_better(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    hard = rng.random(80) < 0.5
    first = evaluation(tmp_path / "a", {f"t{i}": [bool(hard[i])] for i in range(80)})
    second = evaluation(tmp_path / "b", {f"t{i}": [bool(hard[i] or i % 8 == 0)] for i in range(80)})
    found = compare(first, second)["differences"]["all"]["avg"]
    assert (
        found["mean"]
        == pytest.approx(found["second"] - found["first"])
        == pytest.approx(sum(not hard[i] for i in range(0, 80, 8)) / 80)
    )
    assert 0 < found["low"] < found["mean"] < found["high"]
    assert found["p_value"] < 0.05


def test_an_evaluation_does_not_differ_from_itself(tmp_path: Path) -> None:
    first = evaluation(tmp_path / "a", {f"t{i}": [i % 3 == 0, i % 2 == 0] for i in range(20)})
    for found in (compare(first, first)["differences"]["all"][name] for name in ("avg", "pass_at_2")):
        assert (found["mean"], found["low"], found["high"], found["p_value"]) == (0, 0, 0, 1)


def test_where_no_task_differs_the_interval_is_not_taken_for_certainty(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = evaluation(tmp_path / "a", {f"t{i}": [False] for i in range(5)})
    assert main(["compare", str(first), str(first)]) == 0
    assert "no task came out differently" in capsys.readouterr().out


def test_other_tasks_are_refused_and_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first = evaluation(tmp_path / "a", {"t0": [True], "t1": [True], "t2": [False]})
    second = evaluation(tmp_path / "b", {"t0": [True], "t9": [True]})
    assert main(["compare", str(first), str(second)]) == 2
    said = capsys.readouterr().err.strip().splitlines()
    assert len(said) == 1
    assert f"2 only in {first} (first: maze t1 0), 1 only in {second} (first: maze t9 0)" in said[0]


def test_an_unfinished_evaluation_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first = evaluation(tmp_path / "a", {"t0": [True]})
    assert main(["compare", str(first), str(tmp_path / "nothing")]) == 2
    assert "holds no finished evaluation" in capsys.readouterr().err


def test_each_environment_is_compared_and_what_was_not_alike_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wins = {f"{name}/t{i}": [i % 2 == 0] for name in ("maze", "wordle") for i in range(6)}
    first = evaluation(tmp_path / "a", wins, model="x")
    second = evaluation(tmp_path / "b", wins, model="y", horizon=9)
    assert main(["compare", str(first), str(second), f"--out={tmp_path / 'difference.json'}"]) == 0
    assert "not alike: horizon = 5 and 9" in capsys.readouterr().out
    values = json.loads((tmp_path / "difference.json").read_text())
    assert set(values["differences"]) == {"all", "maze", "wordle"}
    assert values["conditions"] == {"horizon": [5, 9], "model": ["x", "y"]}
