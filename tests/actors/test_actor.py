"""One actor and a learner that a test plays."""

import asyncio
from pathlib import Path

import pytest

from actors import actor as actor_module
from actors import assembly
from actors.actor import Actor
from actors.config import ActorConfig, ActorRoleConfig
from actors.engine.scripted import ScriptedEngine
from actors.outbox import DiskOutbox
from actors.rollout import Table
from actors.weight_sync import WeightSync
from common.bus.config import BusConfig
from common.bus.memory import MemoryActorBus, MemoryLearnerBus, MemoryWire
from common.errors import EngineFault, PreflightError
from common.messages import Fault, Grant, Hello, Lease, Sampling, Stop
from common.trajectory import Member, TaskReference
from envhub.local import LocalHub
from tests.actors.spelled import END, SpelledDialogue, action

BUS = BusConfig()


async def test_a_fault_at_any_attempt_is_reported_and_the_actor_plays_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(actor_module, "MAX_FAULT_PAUSE_S", 0.0)
    wire = MemoryWire(BUS)
    learner, bus = MemoryLearnerBus(BUS, "test", wire=wire), MemoryActorBus(BUS, "a", "test", wire=wire)
    engine = ScriptedEngine([action("guess 1")], end_token_ids=(END,))
    await engine.start()
    engine.fail_next(1)
    table = Table("a", LocalHub(), engine, SpelledDialogue, "plain", episode_s=60)  # type: ignore[arg-type]
    sync, outbox = WeightSync(bus, engine, tmp_path), DiskOutbox(tmp_path / "outbox", "test")
    actor = Actor(ActorConfig(), BUS, bus=bus, table=table, sync=sync, outbox=outbox)
    lease = Lease(
        identity=Member(run="test", group=0, member=0, attempt=5000),
        task=TaskReference(environment="guess_number", task="number-000", seed=3),
        horizon=3,
        sampling=Sampling(),
    )
    await learner.start()
    async with asyncio.timeout(20), asyncio.TaskGroup() as group:
        running = group.create_task(actor.run())
        assert isinstance((await learner.receive())[1], Hello)
        await learner.send("a", Grant(lease=lease))
        while not isinstance((await learner.receive())[1], Fault):
            pass
        await learner.send("a", Stop(reason="over"))
    assert running.result() == "over"
    await learner.close()


class UnwelcomeBus(MemoryActorBus):
    """Its machine's key has been revoked, and it says so when it is closed."""

    async def close(self) -> None:
        raise PreflightError("not admitted")


class StillbornEngine(ScriptedEngine):
    """Does not start."""

    is_closed = False

    async def start(self, policy_version: int = 0) -> None:
        raise EngineFault("did not start")

    async def close(self) -> None:
        self.is_closed = True


async def test_the_engine_is_closed_whatever_the_bus_says_when_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = StillbornEngine([[END]], end_token_ids=(END,))
    monkeypatch.setattr(assembly, "make_engine", lambda *_: engine)
    config = ActorRoleConfig.model_validate({"model": {"path": "none"}, "run": {"directory": str(tmp_path)}})
    with pytest.raises(PreflightError, match="not admitted"):
        await assembly.play_until_stopped(
            config, "a", UnwelcomeBus(BUS, "a", wire=MemoryWire(BUS)), LocalHub()
        )
    assert engine.is_closed
