"""Every lease ends once with its reason, and whatever arrives is stored once or recognised."""

import asyncio
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from common.errors import LedgerError
from common.messages import Ack, Cancel, Grant, Lease, Sampling
from common.run_directory import RunDirectory
from common.trajectory import TaskReference, Trajectory
from learner.config import LearnerConfig
from learner.dispatcher import Dispatcher
from learner.fsck.examine import examine
from learner.leases import LeaseBook
from learner.ledger import Ledger
from learner.task_order import TaskOrder
from tests import making
from tests.learner.clock import ManualClock

TASKS = [TaskReference(environment="toy", task=f"task-{i}") for i in range(5)]
Make = Callable[[], Dispatcher]


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def make(tmp_path: Path, clock: ManualClock) -> Iterator[Make]:
    """A dispatcher over one ledger file; made again, the learner was killed and starts anew."""
    made: list[tuple[Dispatcher, Ledger]] = []

    def build() -> Dispatcher:
        ledger = Ledger(tmp_path / "ledger.sqlite", "test")
        config = LearnerConfig.model_validate(
            {"groups_per_step": 1, "group_size": 2, "staleness": {"max_staleness": 0}}
        )
        tasks = TaskOrder(TASKS, seed=1)
        book = LeaseBook("test", clock, ledger=ledger.name)
        made.append((Dispatcher(config, ledger, book, tasks, Sampling(), horizon=5, version=0), ledger))
        made[-1][0].is_training = True
        return made[-1][0]

    yield build
    for dispatcher, ledger in made:
        dispatcher.close()
        ledger.close()
    assert examine(RunDirectory(tmp_path)).violations == ()


async def granted(dispatcher: Dispatcher, actor: str, credits: int = 10) -> list[Lease]:
    """What an actor that says hello is granted, by group and member."""
    await dispatcher.join(actor)
    dispatcher.book.add_credits(actor, credits, is_first=True)
    leases = [m.lease for to, m in await dispatcher.grants() if isinstance(m, Grant) and to == actor]
    return sorted(leases, key=lambda lease: (lease.identity.group, lease.identity.member))


def played(lease: Lease, **changes: object) -> Trajectory:
    made = making.trajectory(reward=float(lease.identity.member), horizon=lease.horizon)
    return made.model_copy(update={"identity": lease.identity, "task": lease.task, **changes})


def ends(dispatcher: Dispatcher, member: int = 0) -> list[str]:
    """How the attempts of a member of group 0 ended, in order."""
    query = "SELECT ended FROM leases WHERE group_id = 0 AND member = ? ORDER BY attempt"
    return [end for (end,) in dispatcher._ledger.rows(query, (member,))]


def verdicts(dispatcher: Dispatcher) -> dict[str, int]:
    return {v: dispatcher._ledger.num_arrivals(v) for v in ("duplicate", "late", "unknown")}


async def test_leases_that_were_out_when_the_learner_was_killed_end_and_are_granted_again(make: Make) -> None:
    await granted(make(), "a")
    second = make()
    await second.restore()
    assert ends(second) == ["restarted"]
    again = await granted(second, "a")
    assert {lease.identity.attempt for lease in again} == {1}
    assert ends(second) == ["restarted", ""]


async def test_a_grant_that_was_recorded_and_never_sent_is_played_after_the_restart(make: Make) -> None:
    first = make()
    await first.join("a")
    first.book.add_credits("a", 10, is_first=True)
    await first.grants()  # killed before the door could send them
    second = make()
    await second.restore()
    await second.submit([("a", played(lease)) for lease in await granted(second, "a")])
    assert ends(second) == ["restarted", "submitted"]


async def test_a_late_result_counts_if_nobody_was_faster_and_who_plays_it_is_told(make: Make) -> None:
    dispatcher = make()
    slow = (await granted(dispatcher, "slow"))[0]
    await dispatcher.leave("slow", "lost")
    other = (await granted(dispatcher, "other"))[0]
    replies = await dispatcher.submit([("slow", played(slow))])
    assert replies == [
        ("slow", Ack(identity=slow.identity)),
        ("other", Cancel(identity=other.identity)),
    ]
    assert ends(dispatcher) == ["recovered", "superseded"]
    await dispatcher.submit([("other", played(other))])
    assert verdicts(dispatcher) == {"duplicate": 1, "late": 0, "unknown": 0}
    assert ends(dispatcher) == ["recovered", "superseded"]


async def test_a_late_result_is_dropped_if_somebody_was_faster(make: Make) -> None:
    dispatcher = make()
    slow = (await granted(dispatcher, "slow"))[0]
    await dispatcher.leave("slow", "lost")
    await dispatcher.submit([("quick", played((await granted(dispatcher, "quick"))[0]))])
    replies = await dispatcher.submit([("slow", played(slow))])
    assert replies == [("slow", Ack(identity=slow.identity, is_duplicate=True))]
    assert ends(dispatcher) == ["lost", "submitted"]


async def test_an_actor_that_plays_its_own_member_again_is_told_to_stop(make: Make) -> None:
    dispatcher = make()
    first = (await granted(dispatcher, "a"))[0]
    again = (await granted(dispatcher, "a"))[0]  # it came back, and what it had is granted anew
    replies = await dispatcher.submit([("a", played(first))])
    assert replies == [("a", Ack(identity=first.identity)), ("a", Cancel(identity=again.identity))]
    assert ends(dispatcher) == ["recovered", "superseded"]


async def test_what_arrives_for_a_dropped_group_is_late(make: Make) -> None:
    dispatcher = make()
    leases = await granted(dispatcher, "a")
    await dispatcher._drop(0, "faulted")
    replies = await dispatcher.submit([("a", played(leases[0]))])
    assert replies == [("a", Ack(identity=leases[0].identity, is_duplicate=True))]
    assert verdicts(dispatcher) == {"duplicate": 0, "late": 1, "unknown": 0}
    assert ends(dispatcher) == ["dropped"]


@pytest.mark.parametrize("changes", [{"run": "another"}, {"attempt": 7}, {"group": 3}, {"member": 2}])
async def test_what_was_never_granted_is_acknowledged_and_never_stored(
    make: Make, changes: dict[str, object]
) -> None:
    dispatcher = make()
    lease = (await granted(dispatcher, "a"))[0]
    stranger = lease.identity.model_copy(update=changes)
    replies = await dispatcher.submit([("a", played(lease, identity=stranger))])
    assert replies == [("a", Ack(identity=stranger, is_duplicate=True))]
    assert verdicts(dispatcher) == {"duplicate": 0, "late": 0, "unknown": 1}
    assert dispatcher.tally.totals["unknown"] == 1
    assert ends(dispatcher) == [""]


async def test_a_lease_whose_record_is_not_what_was_granted_is_played_again(make: Make) -> None:
    dispatcher = make()
    lease = (await granted(dispatcher, "a"))[0]
    await dispatcher.submit([("a", played(lease, horizon=lease.horizon + 1))])
    assert ends(dispatcher) == ["refused"]
    dispatcher.book.add_credits("a", 1)
    await dispatcher.grants()
    assert ends(dispatcher) == ["refused", ""]


async def test_a_grant_that_was_lost_ends_as_undelivered(make: Make, clock: ManualClock) -> None:
    dispatcher = make()
    await granted(dispatcher, "a")
    clock.now = 11.0
    await dispatcher.reconcile("a", [(0, 1)], grace_s=10)
    assert (ends(dispatcher), ends(dispatcher, 1)) == (["undelivered"], [""])


async def test_an_evaluation_that_was_abandoned_ends_its_leases(make: Make) -> None:
    dispatcher = make()
    dispatcher.is_training = False
    await dispatcher.open_evaluation("step 2", TASKS[:2], horizon=5, sampling=Sampling())
    lease, _ = await granted(dispatcher, "a")
    await dispatcher.abandon_evaluation("step 2")
    await dispatcher.submit([("a", played(lease))])
    assert ends(dispatcher) == ["dropped"]
    assert verdicts(dispatcher)["late"] == 1


async def test_an_evaluation_that_a_restarted_run_has_gone_past_is_given_up(make: Make) -> None:
    first = make()
    first.is_training = False
    await first.open_evaluation("step 2", TASKS[:2], horizon=5, sampling=Sampling())
    await granted(first, "a", credits=1)
    second = make()
    await second.restore()
    await second.open_evaluation("step 4", TASKS[:2], horizon=5, sampling=Sampling())
    states = second._ledger.rows("SELECT DISTINCT label, state, reason FROM groups ORDER BY label")
    assert states == [("step 2", "dropped", "late"), ("step 4", "open", "")]
    async with asyncio.timeout(5):
        assert await second.evaluation("step 2") == []


async def test_what_a_ledger_that_was_deleted_had_granted_is_unknown_to_the_next(
    make: Make, tmp_path: Path
) -> None:
    lease = (await granted(make(), "a"))[0]
    for name in ("ledger.sqlite", "ledger.sqlite-wal", "ledger.sqlite-shm"):
        (tmp_path / name).unlink(missing_ok=True)
    second = make()
    (same_number, *_) = await granted(second, "a")
    assert same_number.identity.model_copy(update={"ledger": ""}) == lease.identity.model_copy(
        update={"ledger": ""}
    )
    await second.submit([("a", played(lease))])
    assert verdicts(second)["unknown"] == 1
    assert ends(second) == [""]


async def test_an_evaluation_that_a_rewind_forgets_takes_its_groups_with_it(make: Make) -> None:
    dispatcher = make()
    dispatcher.is_training = False
    await dispatcher.open_evaluation("step 9", TASKS[:1], horizon=5, sampling=Sampling())
    await dispatcher.submit([("a", played(lease)) for lease in await granted(dispatcher, "a")])
    ledger = dispatcher._ledger
    ledger.record_evaluation("step 9", step=9, version=9, values={})
    ledger.rewind(5)
    assert ledger.rows("SELECT state, reason FROM groups") == [("dropped", "rewound")]


# --- a full disk -------------------------------------------------------------------------------

WRITES: dict[str, Callable[[Ledger, int], object]] = {
    "open_groups": lambda ledger, n: ledger.open_groups(
        TASKS * 20, purpose="training", label="", horizon=5, size=2, version=0
    ),
    "record_grants": lambda ledger, n: ledger.record_grants(
        [(0, 0, attempt, "a" * 100) for attempt in range(100 * n, 100 * n + 100)]
    ),
    "commit_submissions": lambda ledger, n: ledger.commit_submissions(
        [making.trajectory(n + 1, member, turns=(making.turn(num_action=2000),)) for member in range(2)], 0
    ),
    "record_step_values": lambda ledger, n: ledger.record_step_values(1, {"x" * 5000 * (n + 1): 1.0}),
    "record_evaluation": lambda ledger, n: ledger.record_evaluation(
        f"step {n}", step=1, version=0, values={"text": "x" * 3000}
    ),
}


def contents(ledger: Ledger) -> list[object]:
    tables = ("meta", "groups", "leases", "trajectories", "steps", "evaluations")
    return [ledger.rows(f"SELECT * FROM {table} ORDER BY 1, 2") for table in tables]


def refused(write: Callable[[Ledger, int], object], ledger: Ledger, number: int) -> str | None:
    try:
        write(ledger, number)
    except LedgerError as error:
        return str(error)
    return None


@pytest.mark.parametrize("name", WRITES)
def test_a_write_that_meets_a_full_disk_is_one_line_and_leaves_nothing(tmp_path: Path, name: str) -> None:
    ledger = Ledger(tmp_path / "ledger.sqlite", "test")
    tasks = [TaskReference(environment="toy", task="task-0")] * 40
    ledger.open_groups(tasks, purpose="training", label="", horizon=5, size=2, version=0)
    ledger.commit_submissions([making.trajectory(0, member) for member in range(2)], 0)
    ledger.consume(1, [0], horizon=5, max_staleness=0, num_tokens=4)
    ledger.rows(f"PRAGMA max_page_count = {ledger.rows('PRAGMA page_count')[0][0] + 2}")
    for number in range(39):
        before = contents(ledger)
        if (refusal := refused(WRITES[name], ledger, number)) is not None:
            break
    assert refusal is not None
    assert "full" in refusal
    assert "\n" not in refusal
    assert contents(ledger) == before
    ledger.rows("PRAGMA max_page_count = 1000000")
    WRITES[name](ledger, number)
    assert contents(ledger) != before
    ledger.close()


WRITER = """
import resource, sys
from pathlib import Path
from common.errors import LedgerError
from learner.ledger import Ledger
from tests import making
ledger = Ledger(Path(sys.argv[1]), "test")
tasks = [making.trajectory().task] * 100
ledger.open_groups(tasks, purpose="training", label="", horizon=5, size=2, version=0)
ledger.record_grants([(group, member, 0, "a") for group in range(100) for member in range(2)])
resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
try:
    for group in range(100):
        turns = (making.turn(num_action=500),)
        made = [making.trajectory(group, m, ledger=ledger.name, turns=turns) for m in range(2)]
        ledger.commit_submissions(made, 0)
        print(group, flush=True)
except LedgerError as error:
    print(error, flush=True)
"""


def test_what_was_acknowledged_before_the_disk_was_full_is_there_and_nothing_else(tmp_path: Path) -> None:
    file = tmp_path / "ledger.sqlite"
    done = subprocess.run(
        [sys.executable, "-c", WRITER, str(file)],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=True,
    )
    *acknowledged, refusal = done.stdout.splitlines()
    assert "the ledger" in refusal
    ledger = Ledger(file, "test")
    assert [str(group.id) for group in ledger.groups_in("complete", "training")] == acknowledged
    ledger.close()
    assert examine(RunDirectory(tmp_path)).violations == ()
