"""What a learner that starts again changes in the ledger, so that it holds one history.

Functions of an open connection; the ledger calls each inside one transaction.
"""

import sqlite3


def rewind(db: sqlite3.Connection, step: int) -> int:
    """Forget what happened after `step`, a checkpoint's; how many groups may be trained on again.

    Evaluations that a later policy played a part of are dropped, recorded or not: that policy will not be
    made again, and the evaluation that is made anew must not count what it played.
    """
    db.execute("DELETE FROM steps WHERE step > ?", (step,))
    db.execute(
        "UPDATE groups SET state = 'dropped', reason = 'rewound' WHERE purpose = 'evaluation'"
        " AND state = 'consumed'"
        " AND label IN (SELECT label FROM evaluations WHERE step > ?1 OR version > ?1)",
        (step,),
    )
    db.execute("DELETE FROM evaluations WHERE step > ?1 OR version > ?1", (step,))
    _drop_evaluation_groups(db, "rewound", f"(granted_version > ?1 OR label IN ({_PLAYED_LATER}))", step)
    return db.execute(
        "UPDATE groups SET state = 'complete', step = NULL"
        " WHERE purpose = 'training' AND state = 'consumed' AND step > ?",
        (step,),
    ).rowcount


_PLAYED_LATER = (
    "SELECT g.label FROM groups g JOIN trajectories t ON t.group_id = g.id"
    " WHERE g.purpose = 'evaluation' AND g.state IN ('open', 'complete') AND t.received_version > ?1"
)
"""Labels of unfinished evaluations of which an episode came in after step ?1."""


def relabel_evaluation(db: sqlite3.Connection, label: str) -> None:
    """Call an evaluation, and what was played for it, `step N` after the step it was made at.

    Where it was not finished, its groups are dropped. Afterwards nothing bears `label`.
    """
    _drop_evaluation_groups(db, "relabelled", "label = ?1", label)
    db.execute("UPDATE OR REPLACE evaluations SET label = 'step ' || step WHERE label = ?", (label,))
    db.execute(
        "UPDATE groups SET label = 'step ' || granted_version WHERE purpose = 'evaluation' AND label = ?",
        (label,),
    )


def _drop_evaluation_groups(db: sqlite3.Connection, reason: str, condition: str, value: int | str) -> None:
    """Drop the evaluation groups that meet the condition and are not finished, with their leases."""
    unfinished = f"purpose = 'evaluation' AND state IN ('open', 'complete') AND {condition}"
    db.execute(
        "UPDATE leases SET ended = 'dropped'"
        f" WHERE ended = '' AND group_id IN (SELECT id FROM groups WHERE {unfinished})",
        (value,),
    )
    db.execute(f"UPDATE groups SET state = 'dropped', reason = ?2 WHERE {unfinished}", (value, reason))
