"""What a learner that starts again changes in the ledger, so that it holds one history.

Functions of an open connection; the ledger calls each inside one transaction.
"""

import sqlite3


def rewind(db: sqlite3.Connection, step: int) -> int:
    """Forget what happened after `step`, a checkpoint's; how many groups may be trained on again.

    Evaluation groups that were granted after it and are not finished are dropped: a policy played them that
    will not be made again, and the evaluation that is made anew must not count them.
    """
    db.execute("DELETE FROM steps WHERE step > ?", (step,))
    db.execute("DELETE FROM evaluations WHERE step > ?", (step,))
    _drop_evaluation_groups(db, "rewound", "granted_version > ?", step)
    return db.execute(
        "UPDATE groups SET state = 'complete', step = NULL"
        " WHERE purpose = 'training' AND state = 'consumed' AND step > ?",
        (step,),
    ).rowcount


def relabel_evaluation(db: sqlite3.Connection, label: str) -> None:
    """Call an evaluation, and what was played for it, `step N` after the step it was made at.

    Where it was not finished, its groups are dropped. Afterwards nothing bears `label`.
    """
    _drop_evaluation_groups(db, "relabelled", "label = ?", label)
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
    db.execute(f"UPDATE groups SET state = 'dropped', reason = ? WHERE {unfinished}", (reason, value))
