"""Tasks are frozen once, held-out ones spread over depths, and demonstrations never touch them."""

import json
from collections import Counter
from pathlib import Path

import pytest

from actors.assembly import hub_client
from common.errors import ConfigurationError, PreflightError
from envhub import registry
from envhub.local import LocalHub
from envhub.task import Task
from launch.demonstrations import demonstration_tasks
from launch.stages import wait_for_hub
from launch.tasks import freeze_tasks, spread_over_depths, vocabulary_file, write_vocabulary
from tests.launch.making import run_config


def tasks(**number_of_depth: int) -> list[Task]:
    return [
        Task(name=f"{depth}-{index}", split="test", depth=int(depth[1:]))
        for depth, number in number_of_depth.items()
        for index in range(number)
    ]


def test_heldout_tasks_are_spread_evenly_over_depths() -> None:
    chosen = spread_over_depths(tasks(d1=50, d2=50, d3=4), 24, 0, "test")
    assert Counter(task.depth for task in chosen) == {1: 10, 2: 10, 3: 4}


def test_heldout_tasks_depend_on_the_seed_alone() -> None:
    everything = tasks(d1=50, d2=50)
    chosen = spread_over_depths(everything, 20, 1, "test")
    assert chosen == spread_over_depths(everything, 20, 1, "test")
    assert chosen != spread_over_depths(everything, 20, 2, "test")


def test_more_heldout_tasks_than_there_are_is_a_mistake() -> None:
    for split in ("test", "unseen"):
        with pytest.raises(ConfigurationError, match=rf"evaluation\.num_tasks = 9: the {split} split has 5"):
            spread_over_depths(tasks(d1=5), 9, 0, split)


async def test_frozen_tasks_are_those_of_the_splits(tmp_path: Path) -> None:
    config = run_config(tmp_path, tasks={"num_train": 7}, evaluation={"num_tasks": 5})
    async with LocalHub() as hub:
        await freeze_tasks(config, hub)
        await write_vocabulary(config, hub)
    frozen = json.loads(config.run.folder.tasks.read_text())
    assert (len(frozen["train"]), len(frozen["heldout"])) == (7, 5)
    names = {split: {task["task"] for task in frozen[split]} for split in frozen}
    assert not names["train"] & names["heldout"]
    assert "guess" in json.loads(vocabulary_file(config.run.folder).read_text())


def test_demonstrations_show_training_tasks_of_the_wanted_depths_alone(tmp_path: Path) -> None:
    config = run_config(
        tmp_path, tasks={"environment": "textcraft_generated"}, sft={"num_demonstrations": 20, "depths": [2]}
    )
    shown = demonstration_tasks(config)
    known = registry.environment("textcraft_generated")
    assert len({reference.task for reference in shown}) == 20
    assert {(known.task(r.task).split, known.task(r.task).depth) for r in shown} == {("train", 2)}


def test_past_the_last_training_task_they_begin_again_under_another_seed(tmp_path: Path) -> None:
    config = run_config(tmp_path, tasks={"num_train": 3}, sft={"num_demonstrations": 7})
    shown = demonstration_tasks(config)
    assert [r.task for r in shown[3:6]] == [r.task for r in shown[:3]]
    assert len({(r.task, r.seed) for r in shown}) == 7


def test_demonstrations_of_a_depth_that_no_training_task_has_are_a_mistake(tmp_path: Path) -> None:
    config = run_config(tmp_path, sft={"num_demonstrations": 4, "depths": [9]})
    with pytest.raises(ConfigurationError, match=r"sft\.depths = \[9\]: no training task of the run"):
        demonstration_tasks(config)


MIXTURE = {"mixture": {"textcraft_generated": 2.0, "guess_number": 1.0}, "depths": [2]}


async def test_the_tasks_of_a_mixture_are_those_of_every_environment(tmp_path: Path) -> None:
    config = run_config(tmp_path, tasks={**MIXTURE, "num_train": 7}, evaluation={"num_tasks": 5})
    async with LocalHub() as hub:
        await freeze_tasks(config, hub)
        await write_vocabulary(config, hub)
    frozen = json.loads(config.run.folder.tasks.read_text())
    counts = Counter(task["environment"] for task in frozen["train"])
    assert counts == {"textcraft_generated": 7, "guess_number": 7}
    assert {t["depth"] for t in frozen["train"] if t["environment"] == "textcraft_generated"} == {2}
    counts = Counter(task["environment"] for task in frozen["heldout"])
    assert counts == {"textcraft_generated": 3, "guess_number": 2}
    assert frozen["weights"] == MIXTURE["mixture"]
    assert {"guess", "craft"} <= set(json.loads(vocabulary_file(config.run.folder).read_text()))


def test_the_environments_of_a_mixture_take_turns_in_its_demonstrations(tmp_path: Path) -> None:
    config = run_config(tmp_path, tasks=MIXTURE, sft={"num_demonstrations": 6, "depths": [2]})
    shown = [reference.environment for reference in demonstration_tasks(config)]
    assert shown == ["textcraft_generated", "guess_number"] * 3


async def test_a_hub_that_does_not_answer_ends_the_wait(tmp_path: Path) -> None:
    config = run_config(tmp_path, hub={"port": 1}, supervision={"hub_start_s": 0.05})
    async with hub_client(config.hub, config.actor) as hub:
        with pytest.raises(PreflightError, match=r"the hub did not answer on 127\.0\.0\.1:1 within"):
            await wait_for_hub(config, hub)
