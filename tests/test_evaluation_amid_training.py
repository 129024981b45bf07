"""Actors, learner's door and evaluator on one wire: training steps and held-out episodes side by side."""

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from common.aio import background
from common.trajectory import TaskReference
from learner.config import LearnerRoleConfig
from learner.evaluator import Evaluator
from learner.status import Status
from tests.learner.test_evaluator import Curves
from tests.test_system import TASKS, System

HELDOUT = [
    TaskReference(environment="guess_number", task=f"number-{i:03d}", kind="held") for i in range(90, 98)
]


@pytest.fixture
async def make(tmp_path: Path) -> AsyncIterator[Callable[..., System]]:
    made = []

    def build(**changes: Any) -> System:
        made.append(System(tmp_path, **changes))
        return made[-1]

    yield build
    for system in made:
        system.close()


def evaluator(system: System) -> tuple[Evaluator, Curves]:
    config = LearnerRoleConfig.model_validate(
        {
            "run": {"name": "test", "directory": str(system.folder)},
            "model": {"source": "smollm2"},
            "horizon": {"rounds": (3,)},
            "sampling": {"max_action_tokens": 40, "max_episode_tokens": 4000},
            "evaluation": {"every": 2, "samples": 2, "max_share": 0.25},
        }
    )
    curves: Any = Curves()
    made = Evaluator(
        config,
        HELDOUT,
        dispatcher=system.dispatcher,
        door=system.door,
        ledger=system.ledger,
        metrics=curves,
        status=Status(system.folder / "status.json", 10, system.dispatcher, system.door),
    )
    return made, curves


async def test_steps_are_taken_while_held_out_tasks_are_played(make: Callable[..., System]) -> None:
    system = make()
    await system.bus.start()
    actors = [system.actor(name, max_sessions=4)[0] for name in ("a", "b")]
    chosen, curves = evaluator(system)
    trained: list[int] = []
    async with background(*system.loops(), chosen.serve()), asyncio.TaskGroup() as group:
        for actor in actors:
            group.create_task(actor.run())
        for number in range(1, 9):
            trained += await system.step(number)
            chosen.follow(number)
        system.dispatcher.is_training = False
        await system.door.grant()
        async with asyncio.timeout(20):
            assert await chosen.settled()
        await system.door.stop("enough")
    rows = system.ledger.rows("SELECT label, step, version FROM evaluations ORDER BY step")
    assert rows
    assert all(step <= version for _, step, version in rows)
    for label, *_ in rows:
        values = system.ledger.evaluation(label)
        assert values is not None
        assert (values["num_tasks"], values["num_episodes"], values["num_missing"]) == (8, 16, 0)
        assert set(values["by_kind"]) == {"held"}
    purposes = system.ledger.rows("SELECT DISTINCT purpose FROM groups WHERE step IS NOT NULL")
    assert purposes == [("training",)]
    assert len(trained) == len(set(trained)) == 16
    played = {task for (task,) in system.ledger.rows("SELECT task FROM groups WHERE purpose = 'training'")}
    assert played <= {task.task for task in TASKS}
    assert all("heldout/pass_at_2" in row for row in curves.rows.values())
