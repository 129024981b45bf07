"""What the curves say about engines, and what becomes of the status file."""

import json

import pytest

from common.bus.config import BusConfig
from common.bus.memory import MemoryLearnerBus, MemoryWire
from common.messages import Heartbeat, Sampling
from common.trajectory import TaskReference
from learner.config import LearnerConfig
from learner.dispatcher import Dispatcher
from learner.door import Door
from learner.engine_counters import EngineCounters, EngineWork
from learner.leases import LeaseBook
from learner.ledger import Ledger
from learner.status import Status
from learner.task_order import TaskOrder
from tests.learner.clock import ManualClock


def beat(tokens: int = 0, busy_s: float = 0.0, paused_s: float = 0.0, **changes: int) -> Heartbeat:
    values = {"policy_version": 0, "num_sessions": 0, "generated_tokens": tokens}
    return Heartbeat.model_validate(values | {"generation_s": busy_s, "paused_s": paused_s} | changes)


class Scene:
    """A status over real parts; the test says who is connected and what they said last."""

    def __init__(self, folder):
        self.clock = ManualClock()
        self.ledger = Ledger(folder / "ledger.sqlite", "test")
        self.dispatcher = Dispatcher(
            LearnerConfig(),
            self.ledger,
            LeaseBook("test", self.clock, ledger=self.ledger.name),
            TaskOrder([TaskReference(environment="toy", task="task-0")], seed=0),
            Sampling(),
            horizon=5,
            version=0,
        )
        bus = MemoryLearnerBus(BusConfig(), "test", wire=MemoryWire(BusConfig()))
        self.door = Door(bus, self.dispatcher, BusConfig())
        self.path = folder / "run" / "status.json"
        self.status = Status(self.path, 10, self.dispatcher, self.door, self.clock)

    async def heard(self, actor: str, message: Heartbeat) -> None:
        if actor not in self.dispatcher.book.actors:
            await self.dispatcher.join(actor)
        self.door.heartbeats[actor] = message

    def after(self, seconds: float) -> dict[str, float]:
        self.clock.now += seconds
        return self.status.engine_values()


@pytest.fixture
async def scene(tmp_path):
    scene = Scene(tmp_path)
    yield scene
    scene.dispatcher.close()
    scene.ledger.close()


def test_what_an_actor_did_before_it_was_first_seen_is_not_counted():
    counters = EngineCounters()
    counters.observe({"a": beat(1000, 50.0, 5.0)})
    assert counters.total == EngineWork()
    counters.observe({"a": beat(1010, 51.0, 5.5), "b": beat(700)})
    assert counters.total == EngineWork(10, 1.0, 0.5)


def test_the_counters_of_an_actor_that_started_again_count_from_zero():
    counters = EngineCounters()
    for message in (beat(100, 10.0), beat(150, 15.0), beat(30, 2.0), beat(40, 3.0)):
        counters.observe({"a": message})
    assert counters.total == EngineWork(50 + 40, 5.0 + 3.0)


async def test_rates_are_of_the_time_since_the_last_call(scene):
    await scene.heard("a", beat(100, 1.0, 0.0))
    await scene.heard("b", beat(0, 0.0, 0.0))
    scene.after(1.0)
    await scene.heard("a", beat(200, 5.0, 1.0))
    values = scene.after(4.0)
    assert values["throughput/generated_tokens_per_s"] == 25.0
    assert values["engine/generation_s"] == 4.0
    assert values["engine/utilisation"] == 0.5
    assert values["engine/paused_share"] == 0.125
    assert scene.after(4.0)["throughput/generated_tokens_per_s"] == 0.0


async def test_an_actor_that_left_has_no_sessions_and_keeps_nothing(scene):
    await scene.heard("a", beat(num_sessions=3, num_running=2, num_waiting=1, unacknowledged=4))
    await scene.heard("b", beat(num_sessions=5, num_running=5))
    await scene.dispatcher.leave("a", "lost")
    values = scene.after(1.0)
    assert values["engine/sessions"] == 5
    assert values["engine/running"] == 5
    assert values["engine/waiting"] == values["queue/unacknowledged"] == 0
    assert values["queue/actors"] == 1


async def test_a_disk_that_refuses_the_status_is_one_warning_and_no_end(scene, caplog):
    folder = scene.path.parent
    folder.write_text("a file where the folder should be")
    await scene.status.refresh()
    await scene.status.refresh()
    (warning,) = [record for record in caplog.records if record.name == "learner.status"]
    assert warning.getMessage().startswith(f"skipped status={scene.path} reason=")
    folder.unlink()
    await scene.status.refresh()
    assert json.loads(scene.path.read_text())["steps"] == 10
