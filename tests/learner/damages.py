"""A small sound run, and the ways to damage it, each with all that must be found."""

import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from common.codec import pack
from common.run_directory import RunDirectory, write_json
from common.trajectory import Member, TaskReference, Trajectory
from learner.ledger import Ledger
from learner.ledger_file import checksum
from learner.task_order import TaskOrder
from tests import making

TASKS = [TaskReference(environment="toy", task=f"task-{i}") for i in range(5)]
HELDOUT = TaskReference(environment="toy", task="heldout")
CONFIG = '[run]\nname = "test"\nseed = 3\n[model]\nsource = "small"\n'


def played(ledger: str, group: int, member: int, task: TaskReference, **changes: int) -> Trajectory:
    made = making.trajectory(group, member, ledger=ledger, reward=float(member), **changes)
    return made.model_copy(update={"task": task})


def sound_run(folder: Path) -> Path:
    """A run with groups 0 and 1 trained on, 2 dropped, 3 half played, and 4 held out."""
    run = RunDirectory(folder / "test")
    write_json(run.tasks, {"train": [task.model_dump() for task in TASKS], "heldout": []})
    run.config.write_text(CONFIG)
    write_json(run.checkpoints / "step-000002" / "manifest.json", {"ledger": {"step": 2}})
    ledger = Ledger(run.ledger, "test")
    order = TaskOrder(TASKS, 3).take(0, 4, 0)
    ledger.open_groups(order, purpose="training", label="", horizon=5, size=2, version=0)
    ledger.open_groups([HELDOUT], purpose="evaluation", label="before", horizon=5, size=1, version=0)
    members = [(group, member) for group in range(4) for member in range(2)] + [(4, 0)]
    ledger.record_grants([(*member, 0, "actor-0") for member in members])
    ledger.end_leases([(0, 1, 0), (3, 1, 0)], "faulted")
    ledger.record_grants([(0, 1, 1, "actor-0"), (3, 1, 1, "actor-0")])
    ledger.commit_submissions(
        [played(ledger.name, g, m, order[g], version=g % 2) for g, m in members[:7] if (g, m) != (0, 1)], 0
    )
    again, heldout = played(ledger.name, 0, 1, order[0], attempt=1), played(ledger.name, 4, 0, HELDOUT)
    ledger.commit_submissions([again, heldout], 0)
    ledger.consume(1, [0], horizon=5, max_staleness=0, num_tokens=4)
    ledger.consume(2, [1], horizon=5, max_staleness=0, num_tokens=4)
    ledger.drop(2, "zero_variance", 3)
    ledger.record_evaluation("before", step=0, version=0, values={})
    ledger.close()
    return run.path


@dataclass(frozen=True)
class Damage:
    """An edit of a sound run, and every line that it must lead to."""

    edit: str | Callable[[Path], None]
    """SQL, or a function of the run's folder."""
    found: tuple[str, ...]


def trained_by(group: int, **changes: object) -> Callable[[Path], None]:
    """Store another record than the one that arrived, with its own checksum."""

    def edit(folder: Path) -> None:
        with sqlite3.connect(folder / "ledger.sqlite") as db:
            task = TaskOrder(TASKS, 3).take(group, 1, 0)[0]
            (name,) = db.execute("SELECT value FROM meta WHERE key = 'ledger'").fetchone()
            blob = pack(played(name, group, 0, task, version=group % 2).model_copy(update=changes))
            values = (blob, checksum(blob), group)
            db.execute(
                "UPDATE trajectories SET bytes = ?, checksum = ? WHERE group_id = ? AND member = 0", values
            )

    return edit


def page_lost(folder: Path) -> None:
    """Overwrite the page that holds the index over the groups' states."""
    file = folder / "ledger.sqlite"
    with sqlite3.connect(file) as db:
        (root,) = db.execute(
            "SELECT rootpage FROM sqlite_master WHERE name = 'sqlite_autoindex_leases_1'"
        ).fetchone()
        (size,) = db.execute("PRAGMA page_size").fetchone()
    content = bytearray(file.read_bytes())
    content[(root - 1) * size : root * size] = bytes([0x0A]) + bytes(size - 1)
    file.write_bytes(content)


FLIPPED = "UPDATE trajectories SET bytes = CAST(bytes || x'00' AS BLOB) WHERE group_id = 2 AND member = 0"
UNDECODABLE = (
    f"UPDATE trajectories SET bytes = x'c1', checksum = {checksum(bytes([0xC1]))} WHERE group_id = 2"
)

DAMAGES = {
    "a number that is a text": Damage(
        "UPDATE leases SET granted_at = 'x' WHERE rowid = 2",
        ("file: leases.granted_at of row 2: text instead of real",),
    ),
    "statistics that rotted": Damage(
        "UPDATE steps SET values_json = '{\"train/loss\": 0.5' WHERE step = 1",
        ("steps: step 1: its statistics cannot be read",),
    ),
    "a play that a ledger granted which was deleted": Damage(
        trained_by(1, identity=Member(run="test", ledger="older", group=1, member=0)),
        ("stored: trajectory 1/0: was granted by another ledger of the run, 'older'",),
    ),
    "a played lease is out": Damage(
        "UPDATE leases SET ended = '' WHERE group_id = 1 AND member = 0",
        ("leases: lease 1/0/0: is out although it is played",),
    ),
    "an end that is none": Damage(
        "UPDATE leases SET ended = 'eaten' WHERE group_id = 3 AND member = 1 AND attempt = 0",
        ("leases: lease 3/1/0: ended as 'eaten', which is no end",),
    ),
    "a lease ended twice": Damage(
        "UPDATE leases SET ended = 'submitted' WHERE group_id = 0 AND member = 1",
        ("leases: lease 0/1/0: ended as submitted and its trajectory is not stored",),
    ),
    "a played lease ended as another's": Damage(
        "UPDATE leases SET ended = 'superseded' WHERE group_id = 1 AND member = 0",
        ("leases: lease 1/0/0: ended as superseded and its trajectory is stored",),
    ),
    "a lease that is out twice": Damage(
        "UPDATE leases SET ended = '' WHERE group_id = 3 AND member = 1",
        ("leases: group 3 member 1: 2 leases are out at the same time",),
    ),
    "a lease of no group": Damage(
        "INSERT INTO leases VALUES (99, 0, 0, 'a', '', 0.0)",
        ("leases: lease 99/0/0: there is no such member of a group",),
    ),
    "a lease was lost": Damage(
        "DELETE FROM leases WHERE group_id = 1 AND member = 0",
        ("leases: lease 1/0/0: its trajectory is stored, and no such lease",),
    ),
    "an attempt was lost": Damage(
        "DELETE FROM leases WHERE group_id = 3 AND member = 1 AND attempt = 0",
        ("attempts: group 3 member 1: 1 attempts, from 1 to 1",),
    ),
    "a complete group lacks a member": Damage(
        "UPDATE groups SET state = 'complete', step = NULL WHERE id = 3",
        (
            "leases: lease 3/1/1: is out although its group is complete",
            "groups: group 3: is complete with 1 of 2 members",
        ),
    ),
    "a group was lost": Damage(
        "DELETE FROM trajectories WHERE group_id = 3; DELETE FROM leases WHERE group_id = 3;"
        "DELETE FROM groups WHERE id = 3",
        ("groups: group 3: missing, up to 3",),
    ),
    "a trajectory of no group": Damage(
        "UPDATE trajectories SET group_id = 77 WHERE group_id = 3; DELETE FROM leases WHERE group_id = 3"
        " AND member = 0; INSERT INTO leases VALUES (3, 0, 0, 'a', '', 0.0);"
        "INSERT INTO leases VALUES (77, 0, 0, 'a', 'submitted', 0.0)",
        (
            "leases: lease 77/0/0: there is no such member of a group",
            "groups: trajectory 77/0: there is no such group",
        ),
    ),
    "a drop without a reason": Damage(
        "UPDATE groups SET reason = '' WHERE id = 2", ("groups: group 2: is dropped with the reason ''",)
    ),
    "bytes that rotted": Damage(FLIPPED, ("stored: trajectory 2/0: its bytes do not match their checksum",)),
    "bytes that were never a record": Damage(
        UNDECODABLE,
        tuple(
            f"stored: trajectory 2/{member}: its bytes cannot be decoded: not a message: FormatError"
            for member in range(2)
        ),
    ),
    "a column that differs": Damage(
        "UPDATE trajectories SET return = 0.5 WHERE group_id = 2 AND member = 0",
        ("stored: trajectory 2/0: return is 0.5 in the table and 0.0 in its bytes",),
    ),
    "a record of another task": Damage(
        trained_by(2, task=HELDOUT),
        ("stored: trajectory 2/0: task is 'task-TASK' in the table and 'heldout' in its bytes",),
    ),
    "a group that two steps trained on": Damage(
        "UPDATE steps SET groups_json = '[1, 0]' WHERE step = 2",
        (
            "steps: step 2: trained on group 0, as step 1 did",
            "steps: step 2: names group 0, which it did not consume",
        ),
    ),
    "a group that one step trained on twice": Damage(
        "UPDATE steps SET groups_json = '[1, 1]' WHERE step = 2",
        ("steps: step 2: trained on group 1 twice",),
    ),
    "a step that trained on nothing": Damage(
        "INSERT INTO steps VALUES (3, 5, 0, 0, 0.0, '{}', '')", ("steps: step 3: trained on no group",)
    ),
    "a step that was lost": Damage(
        "DELETE FROM steps WHERE step = 1",
        (
            "steps: step 1: missing, the next recorded is 2",
            "steps: group 0: consumed by step 1, which is not recorded",
        ),
    ),
    "a group that was given back and is still named": Damage(
        "UPDATE groups SET state = 'complete', step = NULL WHERE id = 1",
        (
            "steps: step 2: names group 1, which it did not consume",
            "tokens: step 2: trained on 4 tokens; its groups hold 0 that old",
        ),
    ),
    "tokens that were not counted": Damage(
        "UPDATE steps SET num_tokens = 3 WHERE step = 2",
        ("tokens: step 2: trained on 3 tokens; its groups hold 4 that old",),
    ),
    "an evaluation without its result": Damage(
        "DELETE FROM evaluations",
        ("evaluations: group 4: consumed by evaluation 'before', which is not recorded",),
    ),
    "a task out of turn": Damage(
        "UPDATE groups SET seed = 1 WHERE id = 3",
        ("tasks: group 3: plays toy/task-TASK with seed 1, not SEED",),
    ),
    "a checkpoint of another history": Damage(
        lambda folder: write_json(
            folder / "checkpoints" / "step-000009" / "manifest.json", {"ledger": {"step": 9}}
        ),
        ("checkpoints: checkpoint step-000009: step 9 is not in the ledger",),
    ),
    "a checkpoint that cannot be read": Damage(
        lambda folder: (folder / "checkpoints" / "step-000002" / "manifest.json").write_text("{"),  # type: ignore[arg-type]
        ("checkpoints: checkpoint step-000002: its manifest cannot be read",),
    ),
}
