"""AgentEvol explores what an iteration lacks and nothing else; its table tells what every iteration did."""

import io
from pathlib import Path

import pytest
from rich.console import Console

from actors.engine.scripted import ScriptedEngine
from actors.rollout import Table
from common.errors import EngineFault
from common.run_directory import write_json
from envhub.local import LocalHub
from launch.config import RunConfig
from launch.evol import iteration, print_table, results
from launch.exploration import explore, explored_tasks, explored_trajectories, unplayed
from launch.tasks import freeze_tasks
from learner.ledger import Ledger
from tests.actors.spelled import END, SpelledDialogue, action
from tests.launch.making import run_config

MIXTURE = {"mixture": {"textcraft_generated": 1.0, "guess_number": 1.0}, "num_train": 9}


async def frozen(tmp_path: Path, **evol: object) -> RunConfig:
    config = run_config(tmp_path, tasks=MIXTURE, evol=evol, actor={"max_sessions": 1})
    async with LocalHub() as hub:
        await freeze_tasks(config, hub)
    return config


def guessing() -> ScriptedEngine:
    return ScriptedEngine([action("guess 1")], end_token_ids=(END,))


async def table(engine: ScriptedEngine) -> Table:
    await engine.start()
    return Table("explorer", LocalHub(), engine, SpelledDialogue, "plain", episode_s=60)


async def test_every_environment_gets_its_share_of_other_tasks_each_time(tmp_path: Path) -> None:
    config = await frozen(tmp_path, num_tasks=7)
    first, second = (explored_tasks(config, index) for index in (1, 2))
    for chosen in (first, second):
        names = [task.environment for task in chosen]
        assert (names.count("textcraft_generated"), names.count("guess_number")) == (4, 3)
        assert len({task.seed for task in chosen}) == 7
    assert [task.task for task in first] != [task.task for task in second]
    assert first == explored_tasks(config, 1)


async def test_without_a_number_every_training_task_is_explored(tmp_path: Path) -> None:
    config = await frozen(tmp_path)
    assert len({task.task for task in explored_tasks(config, 1)}) == 18


async def test_exploring_goes_on_with_what_is_missing(tmp_path: Path) -> None:
    config = await frozen(tmp_path, num_tasks=4, samples_per_task=2)
    ledger = Ledger(tmp_path / "ledger.sqlite", "trial")
    engine = guessing()
    broken = await table(engine)
    await explore(config, broken, ledger, 1)
    assert len(explored_trajectories(ledger, [1])) == 8
    assert unplayed(config, ledger, 1) == []
    engine.fail_next(1000)
    with pytest.raises(EngineFault, match="told to fail"):
        await explore(config, broken, ledger, 2)
    assert len(unplayed(config, ledger, 2)) == 4
    await explore(config, await table(guessing()), ledger, 2)
    played = explored_trajectories(ledger, [2])
    ledger.close()
    assert len({(t.identity.group, t.identity.member) for t in played}) == len(played) == 8
    assert {t.task.environment for t in played} == {"textcraft_generated", "guess_number"}


def test_the_table_tells_what_is_known_and_a_dash_for_the_rest(tmp_path: Path) -> None:
    config = run_config(tmp_path, evol={"iterations": 1, "objective": "filtered"})
    folder = config.run.folder
    write_json(iteration(folder, 1).counts, {"explored": 40, "kept": 7, "examples": 107})
    write_json(iteration(folder, 1).heldout, {"success": 0.5, "low": 0.25, "high": 0.75, "num_tasks": 12})
    assert [row["kept"] for row in results(config)] == [None, 7]
    written = io.StringIO()
    print_table(config, Console(file=written, width=110))
    lines = [line for line in written.getvalue().splitlines() if line.startswith("│")]
    assert [part.strip() for part in lines[0].strip("│").split("│")] == ["0", "-", "-", "-", "-", "-", "-"]
    assert [part.strip() for part in lines[1].strip("│").split("│")] == [
        "1", "40", "7", "107", "0.500", "0.250 - 0.750", "12",
    ]  # fmt: skip
    assert (folder.path / "evol" / "summary.json").exists()
