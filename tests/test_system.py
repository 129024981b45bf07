"""Actors and learner over the memory bus, with scripted engines: the protocol, whole."""

import asyncio

import pytest

from actors.actor import Actor
from actors.config import ActorConfig
from actors.engine.scripted import ScriptedEngine
from actors.outbox import DiskOutbox
from actors.rollout import Table, play
from actors.weight_sync import WeightSync
from common.aio import background
from common.bus.config import BusConfig
from common.bus.memory import MemoryActorBus, MemoryLearnerBus, MemoryWire
from common.errors import EngineDead, ProtocolError
from common.messages import Lease, PolicyAnnouncement, Sampling, Submit
from common.trajectory import Member, TaskReference
from common.weights.store import WeightStore
from envhub.local import LocalHub
from learner.config import LearnerConfig, StalenessConfig
from learner.dispatcher import Dispatcher
from learner.door import Door
from learner.leases import LeaseBook
from learner.ledger import Ledger
from learner.task_order import TaskOrder
from tests.actors.spelled import END, SpelledDialogue, action

TASKS = [TaskReference(environment="guess_number", task=f"number-{i:03d}") for i in range(8)]
BUS = BusConfig(heartbeat_s=0.05, resubmit_s=0.2, max_missed_heartbeats=20)
SAMPLING = Sampling(max_action_tokens=40, max_episode_tokens=4000)


class System:
    """A learner's door and dispatcher on one wire; actors are added by the test."""

    def __init__(self, folder, **changes):
        values = {"groups_per_step": 2, "group_size": 2, "drops_zero_variance": False} | changes
        values.setdefault("staleness", StalenessConfig(max_staleness=1))
        self.folder = folder
        self.wire = MemoryWire(BUS)
        self.store = WeightStore(folder, root=folder)
        self.bus = MemoryLearnerBus(BUS, "test", self.store, wire=self.wire)
        self.ledger = Ledger(folder / "ledger.sqlite", "test")
        self.dispatcher = Dispatcher(
            LearnerConfig.model_validate(values),
            self.ledger,
            LeaseBook("test", asyncio.get_running_loop().time, ledger=self.ledger.name),
            TaskOrder(TASKS, seed=0),
            SAMPLING,
            horizon=3,
            version=0,
        )
        self.dispatcher.is_training = True
        self.door = Door(self.bus, self.dispatcher, BUS)

    def actor(self, name: str, *texts: str, max_sessions: int = 8) -> tuple[Actor, ScriptedEngine]:
        """An actor whose engine says these texts over and over."""
        bus = MemoryActorBus(BUS, name, "test", wire=self.wire)
        engine = ScriptedEngine([action(t) for t in texts or ("guess 900",)], end_token_ids=(END,))
        engine._is_running = True
        table = Table(name, LocalHub(), engine, SpelledDialogue, "plain", episode_s=60)
        sync = WeightSync(bus, engine, self.folder / name)
        config, outbox = (
            ActorConfig(max_sessions=max_sessions),
            DiskOutbox(self.folder / "outbox" / name, "test"),
        )
        return Actor(config, BUS, bus=bus, table=table, sync=sync, outbox=outbox), engine

    async def step(self, number: int) -> list[int]:
        """Consume one batch as the learner would; the groups."""
        async with asyncio.timeout(20):
            groups = await self.dispatcher.take_batch()
        await self.dispatcher.consumed(number, groups, max_staleness=0, num_tokens=1)
        manifest = self.store.write(number, [("w", "float32", bytes(4 * number), (number,))])
        announcement = PolicyAnnouncement(version=number, horizon=3, sampling=SAMPLING, manifest=manifest)
        await self.bus.announce(announcement)
        await self.door.grant()
        return [group.group for group in groups]

    def loops(self):
        return self.door.receive(), self.door.serve(), self.door.watch()

    def close(self):
        self.dispatcher.close()
        self.ledger.close()
        self.store.close()


@pytest.fixture
async def make(tmp_path):
    made = []

    def build(**changes) -> System:
        made.append(System(tmp_path, **changes))
        return made[-1]

    yield build
    for system in made:
        system.close()


async def running(actor: Actor) -> None:
    await actor.run()


async def test_two_actors_play_every_group_once_and_leave_when_told_to(make):
    system = make()
    await system.bus.start()
    (a, _), (b, _) = system.actor("a"), system.actor("b")
    consumed = []
    async with background(*system.loops()), asyncio.TaskGroup() as actors:
        playing = [actors.create_task(x.run()) for x in (a, b)]
        for number in range(1, 6):
            consumed += await system.step(number)
        await system.door.stop("enough")
    assert [task.result() for task in playing] == ["enough", "enough"]
    assert len(consumed) == len(set(consumed)) == 10
    rows = system.ledger.rows("SELECT COUNT(*), COUNT(DISTINCT group_id || '/' || member) FROM trajectories")
    assert rows[0][0] == rows[0][1] >= 20


async def test_a_version_reaches_every_engine_and_is_recorded_with_the_tokens(make):
    system = make()
    await system.bus.start()
    actor, engine = system.actor("a")
    async with background(*system.loops()), asyncio.TaskGroup() as actors:
        actors.create_task(actor.run())
        for number in range(1, 4):
            await system.step(number)
        await system.step(4)
        await system.door.stop("enough")
    assert engine.policy_version >= 3
    versions = {
        v for group in system.ledger.groups_in("consumed", "training") for v in _versions(system, group.id)
    }
    assert len(versions) > 1


def _versions(system: System, group: int) -> set[int]:
    return {int(v) for t in system.ledger.group(group).trajectories for v in t.token_versions()}


async def test_a_failed_weight_load_keeps_the_version_and_the_actor_plays_on(make):
    system = make()
    await system.bus.start()
    actor, engine = system.actor("a")
    engine.fail_next_loads(1)
    async with background(*system.loops()), asyncio.TaskGroup() as actors:
        actors.create_task(actor.run())
        await system.step(1)
        await system.step(2)
        await system.step(3)
        await system.door.stop("enough")
    assert next(version for version, _ in engine.loaded) >= 2


async def test_faulted_episodes_are_played_again_and_never_stored(make):
    system = make()
    await system.bus.start()
    actor, engine = system.actor("a")
    engine.fail_next(3)
    async with background(*system.loops()), asyncio.TaskGroup() as actors:
        actors.create_task(actor.run())
        await system.step(1)
        await system.step(2)
        await system.door.stop("enough")
    assert system.dispatcher.tally.totals["faults"] == 3
    assert system.ledger.rows("SELECT COUNT(*) FROM leases WHERE ended = 'faulted'") == [(3,)]
    assert system.ledger.rows("SELECT COUNT(*) FROM trajectories WHERE outcome = 'faulted'") == [(0,)]


async def test_leases_of_a_hung_actor_are_played_by_another(make):
    system = make()
    await system.bus.start()
    hung, engine = system.actor("hung")
    engine.hold()
    healthy, _ = system.actor("healthy")
    async with background(*system.loops()):
        async with background(running(hung)):
            async with asyncio.timeout(10):
                await engine.asked.wait()
        # The hung actor is gone without a goodbye that anybody read: its leases come back after the silence.
        async with asyncio.TaskGroup() as actors:
            actors.create_task(healthy.run())
            await system.step(1)
            await system.door.stop("enough")
    assert set(system.ledger.rows("SELECT DISTINCT actor FROM trajectories")) == {("healthy",)}


async def test_what_was_finished_while_the_learner_was_away_is_delivered_once_it_is_back(make):
    first = make()
    await first.bus.start()
    actor, _ = first.actor("a")
    second = None
    async with asyncio.TaskGroup() as actors:
        async with background(*first.loops()):
            playing = actors.create_task(actor.run())
            await first.step(1)
        await first.bus.close()
        first.close()
        second = make()
        second.wire = first.wire
        second.bus = MemoryLearnerBus(BUS, "test", second.store, wire=first.wire)
        second.door = Door(second.bus, second.dispatcher, BUS)
        second.dispatcher.version = 1
        await second.dispatcher.restore()
        await second.bus.start()
        async with background(*second.loops()):
            await second.step(2)
            await second.step(3)
            await second.door.stop("enough")
            await playing
    counts = second.ledger.rows("SELECT step, COUNT(*) FROM groups WHERE state = 'consumed' GROUP BY step")
    assert counts == [(1, 2), (2, 2), (3, 2)]


async def test_an_actor_that_was_given_up_comes_back_with_all_its_credits(make):
    system = make()
    await system.bus.start()
    actor, _ = system.actor("a", max_sessions=4)
    async with background(*system.loops()), asyncio.TaskGroup() as actors:
        actors.create_task(actor.run())
        await system.step(1)
        for number in range(2, 5):
            await system.door._give_up("a", "lost")
            await system.step(number)
        book = system.dispatcher.book
        system.dispatcher.is_training = False
        async with asyncio.timeout(10):
            while book.num_out or book.num_credits != 4:  # noqa: ASYNC110 - nobody announces it
                await asyncio.sleep(0.01)
        await system.door.stop("enough")


async def test_one_heldout_task_that_faults_is_played_again_by_the_only_actor(make):
    system = make()
    system.dispatcher.is_training = False
    await system.bus.start()
    actor, engine = system.actor("a")
    engine.fail_next(1)
    async with background(*system.loops()), asyncio.TaskGroup() as actors:
        actors.create_task(actor.run())
        await system.dispatcher.open_evaluation("before", TASKS[:3], horizon=3, sampling=SAMPLING)
        await system.door.grant()
        async with asyncio.timeout(10):
            played = await system.dispatcher.evaluation("before")
        await system.door.stop("enough")
    assert sorted(t.task.task for t in played) == [t.task for t in TASKS[:3]]
    assert sorted(t.identity.attempt for t in played) == [0, 0, 1]


async def test_heldout_episodes_that_arrive_after_a_restart_are_never_training(make):
    first = make(groups_per_step=1)
    await first.dispatcher.open_evaluation("before", TASKS[:2], horizon=3, sampling=SAMPLING)
    await first.dispatcher.join("a")
    first.dispatcher.book.add_credits("a", 2, is_first=True)
    await first.dispatcher.grants()
    first.close()
    second = make(groups_per_step=1)
    await second.dispatcher.restore()
    await second.bus.start()
    actor, _ = second.actor("a")
    leases = second.ledger.groups_in("open", "evaluation")
    played = await play(
        Lease(
            identity=Member(run="test", ledger=second.ledger.name, group=leases[0].id, member=0),
            task=TASKS[0],
            horizon=3,
            sampling=SAMPLING,
            purpose="evaluation",
        ),
        actor._table,
    )
    await second.dispatcher.submit([("a", played)])
    assert second.dispatcher.queue == 0
    assert second.dispatcher.tally.flush([])["episodes/played"] == 0
    assert second.ledger.groups_in("complete", "evaluation")


async def test_a_dead_engine_ends_its_actor_with_the_reason(make):
    system = make()
    await system.bus.start()
    actor, engine = system.actor("a")
    engine.die()
    async with background(*system.loops()):
        with pytest.raises(EngineDead, match="the scripted engine was told to die"):
            await actor.run()


async def test_a_failed_weight_load_is_tried_again_without_a_new_announcement(make, monkeypatch):
    monkeypatch.setattr("actors.weight_sync.RETRY_S", 0.01)
    system = make(staleness=StalenessConfig(max_staleness=0))
    await system.bus.start()
    actor, engine = system.actor("a")
    engine.fail_next_loads(2)
    async with background(*system.loops()), asyncio.TaskGroup() as actors:
        actors.create_task(actor.run())
        await system.step(1)
        await system.step(2)
        await system.door.stop("enough")
    assert [version for version, _ in engine.loaded][:1] == [1]


async def test_what_was_finished_and_not_acknowledged_is_delivered_by_the_next_process_of_that_name(make):
    system = make(groups_per_step=1, staleness=StalenessConfig(max_staleness=0))
    await system.bus.start()
    first, _ = system.actor("a")
    outbox = system.folder / "outbox" / "a"
    async with asyncio.timeout(20), background(system.door.receive(), running(first)):
        # Nobody serves the door: what is submitted is never acknowledged.
        while len({path.name.split("-")[-2] for path in outbox.glob("*-*-*")}) < 2:
            if "a" not in system.dispatcher.book.actors:  # not on the bus yet when it was granted something
                system.dispatcher.book.join("a")
                system.dispatcher.book.add_credits("a", 2, is_first=True)
            await system.door.grant()
            await asyncio.sleep(0.01)
    left = {tuple(map(int, path.name.split("-")[-3:])) for path in outbox.glob("*-*-*")}
    assert system.ledger.rows("SELECT COUNT(*) FROM trajectories") == [(0,)]
    system.door = Door(system.bus, system.dispatcher, BUS)
    second, engine = system.actor("a")
    engine.hold()
    async with background(*system.loops()), asyncio.TaskGroup() as actors:
        actors.create_task(second.run())
        assert await system.step(1) == [0]
        await system.door.stop("enough")
    played = system.ledger.rows("SELECT group_id, member, attempt FROM trajectories WHERE group_id = 0")
    assert set(played) <= left


async def test_a_trajectory_too_large_for_the_bus_ends_as_a_fault_and_not_in_the_outbox(make):
    system = make(groups_per_step=1)
    await system.bus.start()
    actor, _ = system.actor("a")
    kept = []

    async def send(message):
        if isinstance(message, Submit) and not kept:
            kept.append(message.trajectory.identity)
            raise ProtocolError("submit exceeds bus.max_message_bytes")
        await sent(message)

    sent, actor._bus.send = actor._bus.send, send
    async with background(*system.loops()), asyncio.TaskGroup() as actors:
        actors.create_task(actor.run())
        await system.step(1)
        await system.step(2)
        await system.door.stop("enough")
    assert system.ledger.rows("SELECT group_id, member FROM leases WHERE ended = 'faulted'") == [
        (kept[0].group, kept[0].member)
    ]


async def test_an_episode_with_a_token_older_than_its_lease_allows_is_played_again(make):
    actor, engine = make().actor("a")
    engine._policy_version, versions = 2, iter([2, 1, 2, 2, 2, 2])

    def reply(_):
        engine._policy_version = next(versions)  # the learner goes back amid the first play
        return action("guess 900")

    engine._reply = reply
    identity = Member(run="test", group=0, member=0)
    lease = Lease(identity=identity, task=TASKS[0], horizon=3, sampling=SAMPLING, min_version=2)
    trajectory = await actor._played(lease)
    assert [turn.versions[0].version for turn in trajectory.turns] == [2, 2, 2]
    assert next(versions, None) is None
