"""Held-out tasks amid training: what is granted, what is recorded, and what never happens."""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from common.aio import background
from common.bus.config import BusConfig
from common.bus.memory import MemoryLearnerBus, MemoryWire
from common.messages import Cancel, Grant, Lease, Sampling
from common.trajectory import Member, TaskReference
from learner.config import LearnerRoleConfig
from learner.dispatcher import Dispatcher
from learner.door import Door
from learner.evaluator import Evaluator
from learner.leases import LeaseBook
from learner.ledger import Ledger
from learner.status import Status
from learner.task_order import TaskOrder
from tests import making

TASKS = [TaskReference(environment="toy", task=f"task-{i}") for i in range(6)]
HELDOUT = [TaskReference(environment="toy", task=f"heldout-{i}", depth=1 + i % 2) for i in range(4)]


@dataclass
class Curves:
    """Remembers what was written, by step."""

    rows: dict[int, dict[str, float]] = field(default_factory=dict)

    def write(self, values: dict[str, float], step: int) -> None:
        self.rows.setdefault(step, {}).update(values)


class Scene:
    """A learner's dispatcher and evaluator, and one actor whose part the test plays."""

    def __init__(self, folder: Path, *, version: int, **evaluation: Any) -> None:
        values = {"every": 2, "max_share": 0.25, "num_tasks": len(HELDOUT)} | evaluation
        self.config = LearnerRoleConfig.model_validate(
            {
                "run": {"name": "test", "directory": str(folder)},
                "model": {"source": "smollm2"},
                "learner": {"groups_per_step": 1, "group_size": 2, "staleness": {"max_staleness": 4}},
                "horizon": {"rounds": (5,)},
                "evaluation": values,
            }
        )
        self.ledger = Ledger(folder / "ledger.sqlite", "test")
        book = LeaseBook("test", asyncio.get_running_loop().time, ledger=self.ledger.name)
        order = TaskOrder(TASKS, seed=1)
        learner = self.config.learner
        self.dispatcher = Dispatcher(
            learner, self.ledger, book, order, Sampling(), horizon=5, version=version
        )
        self.dispatcher.is_training = True
        self.bus = MemoryLearnerBus(BusConfig(), "test", wire=MemoryWire(BusConfig()))
        self.door = Door(self.bus, self.dispatcher, BusConfig())
        self.curves = Curves()
        metrics: Any = self.curves
        self.evaluator = Evaluator(
            self.config,
            HELDOUT,
            dispatcher=self.dispatcher,
            door=self.door,
            ledger=self.ledger,
            metrics=metrics,
            status=Status(folder / "status.json", 10, self.dispatcher, self.door),
        )

    async def opened(self, label: str) -> None:
        """Wait until the evaluation is open; nobody announces it."""
        async with asyncio.timeout(10):
            while not await self.dispatcher.call_ledger(  # noqa: ASYNC110
                self.ledger.evaluation_groups, label
            ):
                await asyncio.sleep(0)

    async def granted(self, credits: int) -> list[Lease]:
        """What an actor with so many free places is granted."""
        book = self.dispatcher.book
        is_new = "a" not in book.actors
        if is_new:
            await self.dispatcher.join("a")
        book.add_credits("a", credits, is_first=is_new)
        return [m.lease for _, m in await self.dispatcher.grants() if isinstance(m, Grant)]

    async def submit(self, leases: list[Lease], *, version: int = 0, reward: float | None = None) -> None:
        await self.dispatcher.submit(
            [
                (
                    "a",
                    making.trajectory(
                        version=version,
                        horizon=lease.horizon,
                        reward=float(lease.identity.member % 2) if reward is None else reward,
                    ).model_copy(update={"identity": lease.identity, "task": lease.task}),
                )
                for lease in leases
            ]
        )

    async def play_out(self, leases: list[Lease], *, version: int) -> None:
        """Play held-out leases one by one until the evaluator wants no more."""
        playing, settled = split(leases)[0], asyncio.Event()

        async def notice() -> None:
            await self.evaluator.settled()
            settled.set()

        async with background(notice()), asyncio.timeout(10):
            while not settled.is_set():
                await self.submit(playing[:1], version=version, reward=1.0)
                playing = playing[1:] + split(await self.granted(1))[0]
                await asyncio.sleep(0)

    def close(self) -> None:
        self.dispatcher.close()
        self.ledger.close()


@pytest.fixture
async def make(tmp_path: Path) -> AsyncIterator[Callable[..., Scene]]:
    made: list[Scene] = []

    def build(version: int = 2, **evaluation: Any) -> Scene:
        made.append(Scene(tmp_path, version=version, **evaluation))
        return made[-1]

    yield build
    for scene in made:
        scene.close()


def split(leases: list[Lease]) -> tuple[list[Lease], list[Lease]]:
    """Held-out leases, and those of training."""
    heldout = [lease for lease in leases if lease.purpose == "evaluation"]
    return heldout, [lease for lease in leases if lease not in heldout]


async def test_training_goes_on_amid_an_evaluation_and_the_versions_that_played_are_recorded(make):
    scene = make()
    async with background(scene.evaluator.serve()):
        scene.evaluator.follow(2)
        await scene.opened("step 2")
        heldout, training = split(await scene.granted(8))
        assert len(heldout) == 2
        await scene.submit(heldout[:1], version=2, reward=0.0)
        await scene.submit(training)
        groups = await scene.dispatcher.take_batch()
        await scene.dispatcher.consumed(3, groups, max_staleness=0, num_tokens=4)
        assert scene.ledger.evaluation("step 2") is None
        await scene.play_out(heldout[1:] + await scene.granted(1), version=3)
    values = scene.ledger.evaluation("step 2")
    assert values is not None
    assert (values["success"], values["num_tasks"], values["num_missing"]) == (0.75, 4, 0)
    assert (values["oldest_version"], values["newest_version"]) == (2, 3)
    assert {name: part["num_tasks"] for name, part in values["by_depth"].items()} == {
        "depth 1": 2,
        "depth 2": 2,
    }
    assert scene.ledger.rows("SELECT step, version FROM evaluations") == [(2, 3)]
    row = scene.curves.rows[2]
    assert (row["heldout/success"], row["heldout/newest_version"], row["heldout/pass_at_1"]) == (
        0.75,
        3,
        0.75,
    )
    assert {t.task.task for g in groups for t in g.trajectories}.isdisjoint(t.task for t in HELDOUT)
    consumed = scene.ledger.rows("SELECT DISTINCT purpose FROM groups WHERE step IS NOT NULL")
    assert consumed == [("training",)]


async def test_at_most_one_evaluation_is_in_play_and_the_newest_due_one_follows_it(make):
    scene = make()
    async with background(scene.evaluator.serve()):
        scene.evaluator.follow(2)
        await scene.opened("step 2")
        leases = await scene.granted(8)
        for version in (3, 4, 5, 6, 7):
            scene.dispatcher.version = version
            scene.evaluator.follow(version)
        assert scene.ledger.rows("SELECT DISTINCT label FROM groups WHERE purpose = 'evaluation'") == [
            ("step 2",)
        ]
        await scene.play_out(leases, version=7)
    rows = scene.ledger.rows("SELECT label, step, version FROM evaluations ORDER BY step")
    assert rows == [("step 2", 2, 7), ("step 6", 7, 7)]


async def test_an_evaluation_that_misses_its_deadline_is_given_up_and_nothing_of_it_counts(make):
    scene = make(deadline_s=0.05)
    async with background(scene.evaluator.serve()):
        scene.evaluator.follow(2)
        await scene.opened("step 2")
        heldout, training = split(await scene.granted(8))
        await scene.submit(heldout[:1], version=2)
        assert await scene.evaluator.settled()
        await scene.submit(training)
        assert await scene.dispatcher.take_batch()
    assert scene.ledger.evaluation("step 2") is None
    assert scene.ledger.rows("SELECT DISTINCT state, reason FROM groups WHERE purpose = 'evaluation'") == [
        ("dropped", "late")
    ]
    assert all(lease.purpose == "training" for lease in await scene.granted(8))


async def test_an_evaluation_amid_training_is_taken_up_after_a_restart(make):
    first = make()
    async with background(first.evaluator.serve()):
        first.evaluator.follow(2)
        await first.opened("step 2")
        heldout, _ = split(await first.granted(8))
        await first.submit(heldout, version=2, reward=1.0)
    again = make(version=3)
    await again.dispatcher.restore()
    async with background(again.evaluator.serve()):
        again.evaluator.follow(3)
        await again.play_out([], version=3)
    values = again.ledger.evaluation("step 2")
    assert values is not None
    assert (values["num_tasks"], values["num_episodes"], values["success"]) == (4, 4, 1.0)
    assert again.ledger.rows("SELECT COUNT(*) FROM groups WHERE purpose = 'evaluation'") == [(4,)]


async def test_what_is_recorded_is_not_played_again_after_a_restart(make):
    scene = make()
    scene.ledger.record_evaluation("step 2", step=2, version=3, values={"success": 1.0})
    async with background(scene.evaluator.serve()):
        scene.evaluator.follow(3)
        assert await scene.evaluator.settled()
    assert scene.ledger.rows("SELECT COUNT(*) FROM groups WHERE purpose = 'evaluation'") == [(0,)]


async def test_a_learner_that_is_asked_to_stop_waits_for_no_evaluation_and_keeps_what_was_played(make):
    scene = make()
    async with background(scene.evaluator.serve()):
        scene.evaluator.follow(2)
        await scene.opened("step 2")
        heldout, _ = split(await scene.granted(8))
        await scene.submit(heldout[:1], version=2)
        scene.dispatcher.stop()
        async with asyncio.timeout(10):
            assert not await scene.evaluator.settled()
    assert scene.ledger.evaluation("step 2") is None
    assert len(scene.ledger.evaluation_groups("step 2")) == 4


async def test_each_task_is_played_as_often_as_is_asked(make):
    scene = make(samples=3)
    scene.dispatcher.is_training = False
    async with asyncio.TaskGroup() as group:
        playing = group.create_task(scene.evaluator.play("before", 2))
        await scene.opened("before")
        await scene.submit(await scene.granted(20), version=2)
    assert playing.result()
    values = scene.ledger.evaluation("before")
    assert values is not None
    assert (values["num_tasks"], values["num_episodes"], values["samples"]) == (4, 12, 3)
    assert set(values["pass_at"]) == {"1", "2", "3"}


async def test_who_plays_an_abandoned_evaluation_is_told_to_stop(make):
    scene = make()
    await scene.dispatcher.open_evaluation("step 2", HELDOUT, horizon=5, sampling=Sampling())
    heldout, _ = split(await scene.granted(8))
    messages = await scene.dispatcher.abandon_evaluation("step 2")
    cancelled = [message.identity for _, message in messages if isinstance(message, Cancel)]
    assert cancelled == [lease.identity for lease in heldout]


def test_what_is_played_greedily_is_never_training():
    lease = {"identity": Member(run="r", group=0, member=0), "task": TASKS[0], "horizon": 3}
    greedy = Sampling(temperature=0.0)
    assert Lease.model_validate({**lease, "sampling": greedy, "purpose": "evaluation"})
    with pytest.raises(ValidationError, match="no importance ratio"):
        Lease.model_validate({**lease, "sampling": greedy, "purpose": "training"})
