"""What becomes of a trajectory that arrives: stored once, or recognised as a duplicate, late or unknown.

Functions of an open connection; the ledger calls each inside one transaction.
"""

import sqlite3
import time
from collections import Counter
from collections.abc import Sequence

from common.codec import pack
from common.trajectory import Member, Trajectory
from learner.ledger_file import checksum
from learner.ledger_records import Arrival, Verdict, result_columns

_END_PLAYED = """
UPDATE leases SET ended = CASE
    WHEN attempt != ?1 THEN 'superseded' WHEN ended = '' THEN 'submitted' ELSE 'recovered' END
WHERE group_id = ?2 AND member = ?3 AND (ended = '' OR attempt = ?1)
"""
"""The member's trajectory, of attempt ?1, is stored."""


def commit(
    db: sqlite3.Connection,
    trajectories: Sequence[Trajectory],
    version: int,
    granted_by: tuple[str, str] | None,
) -> list[Arrival]:
    """Store each that may be; with `granted_by`, names of run and ledger, only what was granted there."""
    arrivals = []
    for trajectory in trajectories:
        if granted_by and not _was_granted(db, trajectory.identity, granted_by):
            arrivals.append(Arrival(trajectory, "unknown", completes=False))
        else:
            arrivals.append(_store(db, trajectory, version))
    for verdict, number in Counter(a.verdict for a in arrivals if a.verdict != "stored").items():
        total = str(counted(db, verdict) + number)
        db.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (counter(verdict), total))
    return arrivals


def counted(db: sqlite3.Connection, verdict: Verdict) -> int:
    """How many have arrived with this verdict, which is not `stored`."""
    row = db.execute("SELECT value FROM meta WHERE key = ?", (counter(verdict),)).fetchone()
    return 0 if row is None else int(row[0])


def counter(verdict: Verdict) -> str:
    """The key of the count; that of duplicates is the oldest ledgers' own."""
    return "duplicates" if verdict == "duplicate" else f"arrivals_{verdict}"


def _was_granted(db: sqlite3.Connection, identity: Member, granted_by: tuple[str, str]) -> bool:
    lease = (identity.group, identity.member, identity.attempt)
    query = "SELECT 1 FROM leases WHERE group_id = ? AND member = ? AND attempt = ?"
    is_ours = (identity.run, identity.ledger) == granted_by
    return is_ours and db.execute(query, lease).fetchone() is not None


def _store(db: sqlite3.Connection, t: Trajectory, version: int) -> Arrival:
    key = (t.identity.group, t.identity.member)
    row = db.execute(
        "SELECT state, size, environment, task, horizon FROM groups WHERE id = ?", key[:1]
    ).fetchone()
    expected = None if row is None else tuple(row[2:])
    if expected != (t.task.environment, t.task.task, t.horizon) or t.identity.member >= row[1]:
        return Arrival(t, "unknown", completes=False)
    if db.execute("SELECT 1 FROM trajectories WHERE group_id = ? AND member = ?", key).fetchone():
        return Arrival(t, "duplicate", completes=False)
    if row[0] != "open":
        return Arrival(t, "late", completes=False)
    packed = pack(t)
    attempt = t.identity.attempt
    columns = (*key, attempt, t.actor, *result_columns(t), version, time.time(), packed, checksum(packed))
    db.execute(f"INSERT INTO trajectories VALUES ({', '.join('?' * len(columns))})", columns)
    db.execute(_END_PLAYED, (attempt, *key))
    (stored,) = db.execute("SELECT COUNT(*) FROM trajectories WHERE group_id = ?", key[:1]).fetchone()
    if stored == row[1]:
        db.execute("UPDATE groups SET state = 'complete' WHERE id = ?", key[:1])
    return Arrival(t, "stored", completes=stored == row[1])
