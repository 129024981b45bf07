import sqlite3
from pathlib import Path

import pytest

from common.errors import LedgerError
from common.trajectory import TaskReference
from learner.ledger import Ledger
from tests import making

TASK = TaskReference(environment="toy", task="task-0")


@pytest.fixture
def ledger(tmp_path):
    ledger = Ledger(tmp_path / "ledger.sqlite", "test")
    yield ledger
    ledger.close()


def opened(ledger: Ledger, number: int = 1, size: int = 2) -> list[int]:
    return ledger.open_groups([TASK] * number, purpose="training", label="", horizon=5, size=size, version=0)


def test_a_trajectory_is_stored_once_however_often_it_is_submitted(ledger):
    opened(ledger)
    first = ledger.commit_submissions(
        [making.trajectory(0, 0), making.trajectory(0, 0, attempt=1)], version=0
    )
    again = ledger.commit_submissions([making.trajectory(0, 0)], version=3)
    assert [a.verdict for a in first + again] == ["stored", "duplicate", "duplicate"]
    assert ledger.rows("SELECT COUNT(*) FROM trajectories") == [(1,)]
    assert ledger.meta("duplicates") == "2"


def test_a_group_is_complete_with_its_last_member_and_reads_back_as_it_was(ledger):
    opened(ledger)
    a, b = making.trajectory(0, 1, reward=1.0, version=4), making.trajectory(0, 0)
    assert [x.completes for x in ledger.commit_submissions([a, b], version=5)] == [False, True]
    group = ledger.group(0)
    assert [t.identity.member for t in group.trajectories] == [0, 1]
    assert group.trajectories[1].tokens().tolist() == a.tokens().tolist()
    assert group.trajectories[1].behaviour_logprobs().tolist() == a.behaviour_logprobs().tolist()
    assert ledger.received_versions(0) == [5, 5]


def test_what_was_never_granted_is_refused(ledger):
    opened(ledger)
    strangers = [making.trajectory(7, 0), making.trajectory(0, 9), making.trajectory(0, 0, horizon=6)]
    assert [a.verdict for a in ledger.commit_submissions(strangers, version=0)] == ["unknown"] * 3


def test_no_group_is_ever_consumed_twice(ledger):
    opened(ledger)
    ledger.commit_submissions([making.trajectory(0, 0), making.trajectory(0, 1)], version=0)
    ledger.consume(1, [0], horizon=5, max_staleness=0, num_tokens=4)
    with pytest.raises(LedgerError, match="step 2 would train on group 0"):
        ledger.consume(2, [0], horizon=5, max_staleness=0, num_tokens=4)
    assert ledger.rows("SELECT step FROM steps") == [(1,)]


def test_a_failed_consumption_records_nothing(ledger):
    opened(ledger, 2)
    ledger.commit_submissions([making.trajectory(0, 0), making.trajectory(0, 1)], version=0)
    with pytest.raises(LedgerError):
        ledger.consume(1, [0, 1], horizon=5, max_staleness=0, num_tokens=4)
    assert [g.id for g in ledger.groups_in("complete", "training")] == [0]


def test_rewinding_makes_later_consumption_available_again_and_keeps_earlier(ledger):
    opened(ledger, 2)
    for g in (0, 1):
        ledger.commit_submissions([making.trajectory(g, 0), making.trajectory(g, 1)], version=0)
        ledger.consume(g + 1, [g], horizon=5, max_staleness=0, num_tokens=4)
    assert ledger.rewind(1) == 1
    assert [g.id for g in ledger.groups_in("complete", "training")] == [1]
    assert [g.id for g in ledger.groups_in("consumed", "training")] == [0]


def test_a_trajectory_for_a_dropped_group_is_late_and_not_stored(ledger):
    opened(ledger)
    ledger.drop(0, "zero_variance", 1)
    assert ledger.commit_submissions([making.trajectory(0, 0)], version=0)[0].verdict == "late"


def test_everything_is_there_after_the_process_died(tmp_path):
    path = tmp_path / "ledger.sqlite"
    first = Ledger(path, "test")
    opened(first)
    first.record_grants([(0, 0, 0, "actor-0"), (0, 1, 0, "actor-0")])
    first.commit_submissions([making.trajectory(0, 0)], version=0)
    second = Ledger(path, "test")  # the first was never closed
    (group,) = second.groups_in("open", "training")
    assert group.played == {0}
    assert group.attempts == {0: 0, 1: 0}
    assert second.num_groups() == 1


def test_the_ledger_of_another_run_is_refused(tmp_path):
    Ledger(tmp_path / "ledger.sqlite", "one").close()
    with pytest.raises(LedgerError, match="belongs to run 'one', not to 'two'"):
        Ledger(tmp_path / "ledger.sqlite", "two")


def test_a_file_that_is_no_ledger_is_refused(tmp_path):
    (tmp_path / "ledger.sqlite").write_text("not a database, but long enough to look at" * 40)
    with pytest.raises(LedgerError, match="cannot open the ledger"):
        Ledger(tmp_path / "ledger.sqlite", "test")


def test_a_full_disk_is_a_ledger_error_and_leaves_the_ledger_as_it_was(ledger):
    opened(ledger)
    pages = ledger.rows("PRAGMA page_count")[0][0]
    ledger.rows(f"PRAGMA max_page_count = {pages + 5}")
    large = making.trajectory(0, 0, turns=(making.turn(num_action=200_000),))
    with pytest.raises(LedgerError, match="database or disk is full"):
        ledger.commit_submissions([large], version=0)
    assert ledger.rows("SELECT COUNT(*) FROM trajectories") == [(0,)]
    assert ledger.commit_submissions([making.trajectory(0, 0)], version=0)[0].verdict == "stored"


def evaluated(ledger: Ledger, label: str, *, version: int, played: int = 2, size: int = 2) -> list[int]:
    """Ids of the groups of an evaluation of which the first `played` have arrived."""
    groups = ledger.open_groups(
        [TASK] * size, purpose="evaluation", label=label, horizon=5, size=1, version=version
    )
    ledger.commit_submissions([making.trajectory(g.id, 0) for g in groups[:played]], version=version)
    return [g.id for g in groups]


def test_a_ledger_that_ends_before_the_checkpoint_does_not_belong_to_it(ledger):
    with pytest.raises(LedgerError, match="checkpoint is of step 3 and the ledger ends at step 0"):
        ledger.refuse_shorter_than(3)


def test_rewinding_drops_what_a_later_policy_played_of_an_unfinished_evaluation(ledger):
    early = evaluated(ledger, "step 4", version=4, played=1)
    late = evaluated(ledger, "step 6", version=6, played=1)
    ledger.record_grants([(late[1], 0, 0, "a")])
    ledger.rewind(5)
    assert [g.id for g in ledger.evaluation_groups("step 4")] == early
    assert ledger.evaluation_groups("step 6") == []
    states = ledger.rows("SELECT state, reason FROM groups WHERE label = 'step 6'")
    assert states == [("dropped", "rewound")] * 2
    assert ledger.rows("SELECT ended FROM leases") == [("dropped",)]


def test_rewinding_drops_an_evaluation_that_a_later_policy_played_a_part_of(ledger):
    evaluated(ledger, "step 4", version=4, played=1)
    ledger.commit_submissions(
        [making.trajectory(ledger.evaluation_groups("step 4")[1].id, 0, version=6)], version=7
    )
    evaluated(ledger, "step 2", version=2)
    ledger.record_evaluation("step 2", step=2, version=6, values={"success": 0.5})
    evaluated(ledger, "step 3", version=3)
    ledger.record_evaluation("step 3", step=3, version=5, values={"success": 0.5})
    ledger.rewind(5)
    assert ledger.evaluation_groups("step 4") == []
    assert ledger.evaluation("step 2") is None
    assert ledger.evaluation("step 3") == {"success": 0.5}


def test_the_last_evaluation_of_an_extended_run_becomes_one_of_a_step_and_is_kept(ledger):
    evaluated(ledger, "after", version=90)
    ledger.record_evaluation("after", step=90, version=90, values={"success": 0.5})
    ledger.rewind(90)
    ledger.relabel_evaluation("after")
    assert ledger.evaluation("after") is None
    assert ledger.evaluation("step 90") == {"success": 0.5}
    assert ledger.rows("SELECT DISTINCT label, state FROM groups") == [("step 90", "consumed")]


def test_an_unfinished_last_evaluation_of_an_extended_run_is_never_mixed_with_the_new_one(ledger):
    evaluated(ledger, "after", version=90, played=1)
    ledger.relabel_evaluation("after")
    assert ledger.evaluation_groups("after") == []
    assert ledger.rows("SELECT DISTINCT label, state, reason FROM groups") == [
        ("step 90", "dropped", "relabelled")
    ]


def test_kind_and_depth_of_a_task_survive_a_restart_and_an_older_ledger_gains_them(tmp_path: Path) -> None:
    task = TaskReference(environment="maze", task="full-9x9-000001", kind="full", depth=2)
    ledger = Ledger(tmp_path / "ledger.sqlite", "run")
    ledger.open_groups([task], purpose="evaluation", label="before", horizon=5, size=1, version=0)
    ledger.close()
    again = Ledger(tmp_path / "ledger.sqlite", "run")
    assert [group.task for group in again.evaluation_groups("before")] == [task]
    again.close()
    with sqlite3.connect(tmp_path / "ledger.sqlite") as db:
        db.execute("ALTER TABLE groups DROP COLUMN kind")
        db.execute("ALTER TABLE groups DROP COLUMN depth")
    older = Ledger(tmp_path / "ledger.sqlite", "run")
    assert [(g.task.kind, g.task.depth) for g in older.evaluation_groups("before")] == [("", 0)]
    older.close()


def test_a_step_keeps_its_groups_in_the_order_trained_on(ledger):
    opened(ledger, 3)
    for g in (0, 1, 2):
        ledger.commit_submissions([making.trajectory(g, 0), making.trajectory(g, 1)], version=0)
    ledger.consume(1, [2, 0], horizon=5, max_staleness=0, num_tokens=8)
    assert ledger.rows("SELECT groups_json FROM steps") == [("[2, 0]",)]


def test_a_ledger_of_an_older_release_gains_the_columns_that_it_lacks(tmp_path):
    Ledger(tmp_path / "ledger.sqlite", "run").close()
    with sqlite3.connect(tmp_path / "ledger.sqlite") as db:
        db.execute("ALTER TABLE steps DROP COLUMN groups_json")
        db.execute("ALTER TABLE trajectories DROP COLUMN checksum")
    older = Ledger(tmp_path / "ledger.sqlite", "run")
    opened(older)
    older.commit_submissions([making.trajectory(0, 0), making.trajectory(0, 1)], version=0)
    older.consume(1, [0], horizon=5, max_staleness=0, num_tokens=4)
    assert older.rows("SELECT groups_json FROM steps") == [("[0]",)]
    older.close()
