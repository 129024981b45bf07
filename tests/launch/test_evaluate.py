"""`pronghorn eval`: which model it plays with, and what it says when an episode cannot be played."""

from pathlib import Path

import pytest

from actors.engine.scripted import ScriptedEngine
from actors.rollout import Table
from common.errors import ConfigurationError, EngineFault
from common.trajectory import TaskReference
from envhub.local import LocalHub
from launch.cli import main
from launch.evaluate import MAX_ATTEMPTS, model_of_run, play_all
from tests.actors.spelled import END, SpelledDialogue, action
from tests.launch.making import run_config

TASKS = [TaskReference(environment="guess_number", task=f"number-00{index}", seed=3) for index in range(4)]


async def table(engine: ScriptedEngine) -> Table:
    await engine.start()
    return Table("evaluation", LocalHub(), engine, SpelledDialogue, "plain", episode_s=60)


def guessing() -> ScriptedEngine:
    return ScriptedEngine([action("guess 1")], end_token_ids=(END,))


async def test_every_task_is_played_once_with_the_evaluations_horizon(tmp_path: Path) -> None:
    config = run_config(tmp_path, evaluation={"horizon": 2})
    played = await play_all(config, await table(guessing()), TASKS)
    assert [trajectory.task for trajectory in played] == TASKS
    assert {trajectory.horizon for trajectory in played} == {2}


async def test_an_episode_that_broke_by_a_fault_is_played_again(tmp_path: Path) -> None:
    engine = guessing()
    engine.fail_next(MAX_ATTEMPTS - 1)
    config = run_config(tmp_path, actor={"max_sessions": 1})
    assert len(await play_all(config, await table(engine), TASKS)) == len(TASKS)


async def test_episodes_that_break_together_end_the_evaluation_with_one_error(tmp_path: Path) -> None:
    engine = guessing()
    engine.fail_next(MAX_ATTEMPTS * len(TASKS))
    with pytest.raises(EngineFault, match="told to fail"):
        await play_all(run_config(tmp_path), await table(engine), TASKS)


def test_the_model_is_the_final_one_else_what_learning_began_with(tmp_path: Path) -> None:
    config = run_config(tmp_path)
    folder = config.run.folder
    with pytest.raises(ConfigurationError, match="has no model yet"):
        model_of_run(config)
    for model in (folder.model, folder.warm_start, folder.final_model):
        model.mkdir(parents=True)
        assert model_of_run(config) == model


def test_the_help_says_which_model_is_played(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["eval", "--help"])
    said = " ".join(capsys.readouterr().out.split())
    assert "default: the run's final model, or what reinforcement learning began with" in said
