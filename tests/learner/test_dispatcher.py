import asyncio

import pytest

from common.messages import Ack, Cancel, Grant, Lease, Sampling
from common.trajectory import TaskReference
from learner.config import LearnerConfig, StalenessConfig
from learner.dispatcher import Dispatcher
from learner.leases import LeaseBook
from learner.ledger import Ledger
from learner.task_order import TaskOrder
from tests import making
from tests.learner.clock import ManualClock

TASKS = [TaskReference(environment="toy", task=f"task-{i}") for i in range(5)]


@pytest.fixture
def clock():
    return ManualClock()


@pytest.fixture
def make(tmp_path, clock):
    """A dispatcher over one ledger file; made again, it resumes."""
    made = []

    def build(version: int = 0, **changes: object) -> Dispatcher:
        staleness = StalenessConfig.model_validate(changes.pop("staleness", {"max_staleness": 1}))
        values = {"groups_per_step": 2, "group_size": 2, "staleness": staleness} | changes
        ledger = Ledger(tmp_path / "ledger.sqlite", "test")
        dispatcher = Dispatcher(
            LearnerConfig.model_validate(values),
            ledger,
            LeaseBook("test", clock, ledger=ledger.name),
            TaskOrder(TASKS, seed=1),
            Sampling(),
            horizon=5,
            version=version,
        )
        dispatcher.is_training = True
        made.append((dispatcher, ledger))
        return dispatcher

    yield build
    for dispatcher, ledger in made:
        dispatcher.close()
        ledger.close()


async def granted(dispatcher: Dispatcher, actor: str = "a", credits: int = 100) -> list[Lease]:
    is_new = actor not in dispatcher.book.actors
    if is_new:
        await dispatcher.join(actor)
    dispatcher.book.add_credits(actor, credits, is_first=is_new)
    return [m.lease for to, m in await dispatcher.grants() if isinstance(m, Grant) and to == actor]


def played(lease: Lease, reward: float | None = None, **changes: object):
    reward = float(lease.identity.member % 2) if reward is None else reward
    return making.trajectory(reward=reward, horizon=lease.horizon).model_copy(
        update={"identity": lease.identity, "task": lease.task, **changes}
    )


async def submit(dispatcher: Dispatcher, leases: list[Lease], reward: float | None = None):
    return await dispatcher.submit([("a", played(lease, reward)) for lease in leases])


async def test_no_more_groups_are_out_than_staleness_allows(make):
    leases = await granted(make())
    assert len({lease.identity.group for lease in leases}) == 4  # (1 + 1) * 2
    assert len(leases) == 8


async def test_a_slot_is_freed_by_consumption_and_not_by_arrival(make):
    dispatcher = make()
    await submit(dispatcher, await granted(dispatcher))
    assert await granted(dispatcher) == []
    batch = await dispatcher.take_batch()
    assert await granted(dispatcher) == []
    await dispatcher.consumed(1, batch, max_staleness=0, num_tokens=8)
    assert len({lease.identity.group for lease in await granted(dispatcher)}) == 2


async def test_capacity_does_not_burst_after_a_resume(make):
    first = make()
    await submit(first, await granted(first))
    await first.consumed(1, await first.take_batch(), max_staleness=0, num_tokens=8)
    await granted(first)
    second = make(version=1)
    await second.restore()
    leases = await granted(second)
    assert second.queue == 2
    assert (
        len({lease.identity.group for lease in leases}) == 2
    )  # the open ones, granted again; 2 + 2 = capacity
    assert {lease.identity.attempt for lease in leases} == {1}


async def test_an_acknowledgement_is_sent_for_every_submission_even_a_repeated_one(make):
    dispatcher = make()
    lease = (await granted(dispatcher))[0]
    first = await submit(dispatcher, [lease])
    second = await submit(dispatcher, [lease])
    assert [m.is_duplicate for _, m in first + second if isinstance(m, Ack)] == [False, True]


async def test_a_group_without_variance_is_dropped_and_its_place_refilled(make):
    dispatcher = make()
    leases = await granted(dispatcher, credits=8)
    await submit(dispatcher, [x for x in leases if x.identity.group == 0], reward=1.0)
    assert dispatcher.queue == 0
    assert {lease.identity.group for lease in await granted(dispatcher)} == {4}


async def test_what_is_opened_after_a_step_has_the_next_horizon_whoever_asks_for_it_first(make):
    dispatcher = make()
    await submit(dispatcher, await granted(dispatcher))
    batch = await dispatcher.take_batch()

    async def ask() -> list[Lease]:
        return await granted(dispatcher)  # waits for the lock that `consumed` holds

    consuming = asyncio.create_task(
        dispatcher.consumed(1, batch, max_staleness=0, num_tokens=8, next_horizon=lambda: 7)
    )
    await asyncio.sleep(0)
    leases = await ask()
    await consuming
    assert {lease.horizon for lease in leases} == {7}


async def test_members_of_a_group_share_task_seed_and_horizon(make):
    dispatcher = make()
    leases = await granted(dispatcher)
    dispatcher.horizon = 9
    for lease in leases:
        sibling = next(x for x in leases if x.identity.group == lease.identity.group)
        assert (lease.task, lease.horizon) == (sibling.task, 5)


async def test_two_horizons_coexist_in_flight_and_never_inside_a_group(make):
    dispatcher = make()
    old = await granted(dispatcher, credits=5)  # the third group is opened and half granted
    dispatcher.horizon = 9
    new = await granted(dispatcher)
    horizons: dict[int, set[int]] = {}
    for lease in old + new:
        horizons.setdefault(lease.identity.group, set()).add(lease.horizon)
    assert all(len(values) == 1 for values in horizons.values())
    assert set.union(*horizons.values()) == {5, 9}


async def test_a_faulted_lease_is_granted_again_and_never_scored(make):
    dispatcher = make()
    lease = (await granted(dispatcher, credits=2))[0]
    await dispatcher.fault("a", lease.identity)
    (again,) = await granted(dispatcher, credits=1)
    assert (again.identity.group, again.identity.member, again.identity.attempt) == (0, 0, 1)
    assert dispatcher.tally.totals["faults"] == 1


async def test_leases_of_a_silent_actor_go_to_others_and_the_faster_result_counts(make, clock):
    dispatcher = make()
    lost = await granted(dispatcher, "slow", credits=2)
    clock.now = 100.0
    assert dispatcher.book.silent(longer_than_s=10) == ["slow"]
    await dispatcher.leave("slow", "lost")
    regranted = await granted(dispatcher, "a", credits=2)
    assert {x.identity.member for x in regranted} == {x.identity.member for x in lost}
    replies = await dispatcher.submit([("slow", played(lost[0]))])
    assert [(to, type(m)) for to, m in replies] == [("slow", Ack), ("a", Cancel)]


async def test_a_rejoined_actor_keeps_no_credit_and_its_leases_are_pending_again(make):
    dispatcher = make()
    await granted(dispatcher, credits=4)
    await dispatcher.join("a")
    assert dispatcher.book.num_credits == 0
    assert dispatcher.book.num_pending == 4


async def test_drop_gives_up_stale_groups_and_refills_them_exactly(make):
    dispatcher = make(staleness={"max_staleness": 1, "mode": "drop"})
    await submit(dispatcher, await granted(dispatcher))
    dispatcher.version = 5
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.2):
            await dispatcher.take_batch()
    assert dispatcher.queue == 0
    assert dispatcher.tally.totals["dropped_stale"] == 4
    assert len({lease.identity.group for lease in await granted(dispatcher)}) == 4


async def test_wait_consumes_in_the_order_of_granting(make):
    dispatcher = make(staleness={"max_staleness": 1, "mode": "wait"})
    leases = await granted(dispatcher)
    await submit(dispatcher, [x for x in leases if x.identity.group != 0])
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.2):
            await dispatcher.take_batch()
    await submit(dispatcher, [x for x in leases if x.identity.group == 0])
    assert [g.group for g in await dispatcher.take_batch()] == [0, 1]


async def test_synchronous_training_never_begins_an_episode_with_older_weights(make):
    dispatcher = make(version=7, staleness={"max_staleness": 0})
    leases = await granted(dispatcher)
    assert {lease.min_version for lease in leases} == {7}
    assert len({lease.identity.group for lease in leases}) == 2


async def test_the_data_cursor_continues_after_a_resume(make):
    first = make()
    before = [x.task for x in await granted(first) if x.identity.member == 0]
    second = make()
    await second.restore()
    leases = await granted(second)
    assert [x.task for x in leases if x.identity.member == 0] == before
    await submit(second, leases)
    await second.consumed(1, await second.take_batch(), max_staleness=0, num_tokens=8)
    fresh = [x.task for x in await granted(second) if x.identity.member == 0]
    assert fresh == [TaskOrder(TASKS, seed=1)[4], TaskOrder(TASKS, seed=1)[5]]


async def test_evaluation_goes_before_training_and_is_never_trained_on(make):
    dispatcher = make()
    await dispatcher.open_evaluation("before", TASKS[:3], horizon=9, sampling=Sampling())
    leases = await granted(dispatcher)
    assert [lease.purpose for lease in leases[:4]] == ["evaluation"] * 3 + ["training"]
    await submit(dispatcher, leases[:3], reward=1.0)
    trajectories = await dispatcher.evaluation("before")
    assert [t.task.task for t in trajectories] == ["task-0", "task-1", "task-2"]
    assert dispatcher.queue == 0


async def test_a_half_played_evaluation_is_taken_up_after_a_resume(make):
    first = make()
    first.is_training = False
    await first.open_evaluation("before", TASKS[:3], horizon=9, sampling=Sampling())
    await submit(first, (await granted(first))[:1])
    second = make()
    second.is_training = False
    await second.open_evaluation("before", TASKS[:3], horizon=9, sampling=Sampling())
    leases = await granted(second)
    assert [lease.task.task for lease in leases] == ["task-1", "task-2"]
    await submit(second, leases)
    assert len(await second.evaluation("before")) == 3


async def test_held_out_episodes_amid_training_never_take_more_than_their_share_of_the_places(make):
    dispatcher = make(group_size=4, groups_per_step=8)
    await dispatcher.open_evaluation("step 5", TASKS * 2, horizon=9, sampling=Sampling(), max_share=0.25)
    playing, evaluated, most = await granted(dispatcher, credits=8), 0, 0
    while evaluated < 10:
        heldout = [lease for lease in playing if lease.purpose == "evaluation"]
        most = max(most, len(heldout))
        evaluated += 1
        await submit(dispatcher, heldout[:1])
        playing.remove(heldout[0])
        playing += await granted(dispatcher, credits=1)
    assert most == 2
    assert len(await dispatcher.evaluation("step 5")) == 10


async def test_all_places_play_held_out_tasks_while_nothing_is_trained(make):
    dispatcher = make()
    dispatcher.is_training = False
    await dispatcher.open_evaluation("step 5", TASKS, horizon=9, sampling=Sampling(), max_share=0.25)
    assert len(await granted(dispatcher, credits=8)) == 5


async def test_an_abandoned_evaluation_is_cancelled_and_never_counted(make):
    dispatcher = make()
    await dispatcher.open_evaluation("step 5", TASKS[:2], horizon=9, sampling=Sampling())
    first, second = (await granted(dispatcher))[:2]
    await submit(dispatcher, [first])
    messages = await dispatcher.abandon_evaluation("step 5")
    assert [(to, m.identity) for to, m in messages if isinstance(m, Cancel)] == [("a", second.identity)]
    await submit(dispatcher, [second])
    assert await dispatcher.evaluation("step 5") == []


async def test_an_evaluation_that_came_in_by_itself_after_a_restart_is_not_played_again(make):
    first = make()
    await first.open_evaluation("step 5", TASKS[:3], horizon=9, sampling=Sampling())
    held = (await granted(first))[:3]
    second = make()
    await second.restore()
    await second.open_evaluation("step 5", TASKS[:3], horizon=9, sampling=Sampling())
    await submit(second, held[:2])
    again = [lease for lease in await granted(second) if lease.purpose == "evaluation"]
    assert [lease.identity.group for lease in again] == [held[2].identity.group]


async def test_whoever_waits_for_a_batch_gets_none_when_the_learner_is_asked_to_stop(make):
    dispatcher = make()
    async with asyncio.TaskGroup() as group:
        waiting = group.create_task(dispatcher.take_batch())
        await asyncio.sleep(0)
        dispatcher.stop()
    assert waiting.result() == []


def test_every_task_is_played_once_per_epoch_in_an_order_that_the_seed_decides():
    order = TaskOrder(TASKS, seed=3)
    first, second = [order[i] for i in range(5)], [order[i] for i in range(5, 10)]
    assert sorted(t.task for t in first) == sorted(t.task for t in second) == sorted(t.task for t in TASKS)
    assert [TaskOrder(TASKS, seed=3)[i] for i in range(10)] == first + second
    assert len({t.seed for t in first + second}) == 10


async def test_a_learner_that_went_back_has_open_groups_played_by_the_version_that_they_were_granted_at(make):
    first = make(version=3, staleness={"max_staleness": 0})
    assert {lease.min_version for lease in await granted(first)} == {3}
    second = make(version=1, staleness={"max_staleness": 0})
    await second.restore()
    assert {lease.min_version for lease in await granted(second)} == {3}
