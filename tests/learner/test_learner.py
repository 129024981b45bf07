"""Where the learner's time goes: what a step's seconds hold, and what they leave out."""

from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import pytest

from common.aio import background
from common.bus.config import BusConfig
from common.bus.memory import MemoryLearnerBus, MemoryWire
from common.messages import Sampling
from common.trajectory import TaskReference
from learner.config import LearnerRoleConfig
from learner.dispatcher import Dispatcher
from learner.door import Door
from learner.learner import Learner, Parts
from learner.leases import LeaseBook
from learner.ledger import Ledger
from learner.statistics import StepStatistics
from learner.task_order import TaskOrder
from tests import making
from tests.learner.clock import ManualClock

TASK = TaskReference(environment="toy", task="task-0")


@dataclass
class TimedParts:
    """The parts of a learner that take time, each as long as it is told to."""

    clock: ManualClock
    training_s: float = 3.0
    publishing_s: float = 2.0
    writing_s: float = 0.0
    checkpoint_s: float = 0.0
    rows: dict[int, dict[str, float]] = field(default_factory=dict)
    """What was written, by learner step."""

    async def mismatch(self, *_: object) -> float:
        return 0.0

    async def run(self, work: Callable[[Any], Any]) -> Any:
        return work(self)

    def step(self, batch: object, *, step: int, temperature: float) -> StepStatistics:
        self.clock.now += self.training_s
        values: dict[str, Any] = dict.fromkeys(StepStatistics.__dataclass_fields__, 0)
        return StepStatistics(**values | {"step": step, "duration_s": self.training_s, "critic": {}})

    def begin_checkpoint(self, *_: object) -> Future[Path]:
        """Copied in `checkpoint_s`, written at once."""
        self.clock.now += self.checkpoint_s
        written: Future[Path] = Future()
        written.set_result(Path("written"))
        return written

    async def publish(self, version: int, horizon: int, *, finished_at: float) -> float:
        self.clock.now += self.publishing_s
        return self.publishing_s

    def write(self, values: dict[str, float], step: int) -> None:
        self.clock.now += self.writing_s
        self.rows.setdefault(step, {}).update(values)


def complete(ledger: Ledger, label: str = "") -> None:
    """One complete group for training, or one played task of the evaluation `label`."""
    purpose, size = ("evaluation", 1) if label else ("training", 2)
    (group,) = ledger.open_groups([TASK], purpose=purpose, label=label, horizon=5, size=size, version=0)  # type: ignore[arg-type]
    ledger.commit_submissions([making.trajectory(group.id, i, reward=float(i)) for i in range(size)], 0)


@dataclass
class Scene:
    """A learner whose ledger holds what it needs, so that it never waits."""

    learner: Learner
    parts: TimedParts
    ledger: Ledger


@pytest.fixture
async def scene(tmp_path: Path):
    config = LearnerRoleConfig.model_validate(
        {
            "run": {"name": "test", "directory": str(tmp_path)},
            "model": {"source": "smollm2"},
            "learner": {"groups_per_step": 1, "group_size": 2, "checkpoint_every": 1, "steps": 5},
            "horizon": {"rounds": (5,)},
        }
    )
    ledger = Ledger(tmp_path / "ledger.sqlite", "test")
    for _ in range(3):
        complete(ledger)
    clock = ManualClock(100.0)
    timed = TimedParts(clock)
    book, order = LeaseBook("test", clock, ledger=ledger.name), TaskOrder([TASK], seed=0)
    dispatcher = Dispatcher(config.learner, ledger, book, order, Sampling(), horizon=5, version=0)
    await dispatcher.restore()
    bus = MemoryLearnerBus(BusConfig(), "test", wire=MemoryWire(BusConfig()))
    fake = cast("Any", timed)
    parts = Parts(
        bus=bus,
        trainer=fake,
        ledger=ledger,
        dispatcher=dispatcher,
        door=Door(bus, dispatcher, BusConfig()),
        publisher=fake,
        metrics=fake,
        checkpoints=fake,
        heldout=(TASK,),
    )
    yield Scene(Learner(config, parts, clock=clock), timed, ledger)
    dispatcher.close()
    ledger.close()


async def test_a_step_takes_its_metrics_and_its_checkpoint_too(scene: Scene):
    scene.parts.writing_s, scene.parts.checkpoint_s = 7.0, 11.0
    async with background(scene.learner._keeper.serve()):
        await scene.learner._step(1)
        await scene.learner._step(2)
    first, second = scene.parts.rows[1], scene.parts.rows[2]
    assert first["time/step_s"] == 3 + 2
    assert second["time/step_s"] == 3 + 2 + 7 + 11
    assert second["time/training_s"] == 3
    assert second["time/weight_sync_s"] == 2
    assert second["throughput/trained_tokens_per_s"] == 4 / 23


async def test_an_evaluation_between_steps_is_no_part_of_a_step(scene: Scene):
    scene.parts.checkpoint_s = 11.0
    async with background(scene.learner._keeper.serve()):
        await scene.learner._step(1)
        complete(scene.ledger, "step 1")
        scene.parts.writing_s = 1000.0
        assert await scene.learner._evaluate("step 1")
        scene.parts.writing_s = 0.0
        await scene.learner._step(2)
    assert scene.parts.rows[1]["heldout/success"] == 0
    assert scene.parts.rows[2]["time/step_s"] == 3 + 2 + 11
