"""Every granted lease ends exactly once, and attempts have no gaps."""

from typing import get_args

from learner.fsck.evidence import Checked, Evidence
from learner.ledger_records import LeaseEnd

_PLAYED = ("submitted", "recovered")
"""Ends of a lease whose trajectory is stored."""

_LEASES = """
SELECT l.group_id, l.member, l.attempt, l.ended, g.state, g.size, t.attempt
FROM leases l LEFT JOIN groups g ON g.id = l.group_id
LEFT JOIN trajectories t ON t.group_id = l.group_id AND t.member = l.member
ORDER BY l.group_id, l.member, l.attempt
"""
_UNGRANTED = """
SELECT t.group_id, t.member, t.attempt FROM trajectories t LEFT JOIN leases l
ON l.group_id = t.group_id AND l.member = t.member AND l.attempt = t.attempt WHERE l.attempt IS NULL
"""
_ATTEMPTS = """
SELECT group_id, member, COUNT(*), MIN(attempt), MAX(attempt) FROM leases
GROUP BY group_id, member ORDER BY group_id, member
"""
_OUT_TWICE = """
SELECT group_id, member, COUNT(*) FROM leases WHERE ended = '' GROUP BY group_id, member HAVING COUNT(*) > 1
"""
NO_LEASES = "no lease was granted: the episodes were played without actors"


def leases_end_once(run: Evidence) -> Checked:
    """Out, or ended with a reason; ended as played exactly when its trajectory is the one that is stored."""
    found = Checked()
    if not run.has_leases and run.one("SELECT 1 FROM trajectories LIMIT 1"):
        return Checked(skipped=NO_LEASES)
    for group, member, attempt, ended, state, size, stored in run.rows(_LEASES):
        found.number += 1
        if wrong := _wrong(attempt, ended, state, size, stored, member, is_exact=run.is_exact):
            found.violations.append(f"lease {group}/{member}/{attempt}: {wrong}")
    for group, member, attempt in run.rows(_UNGRANTED):
        found.violations.append(
            f"lease {group}/{member}/{attempt}: its trajectory is stored, and no such lease"
        )
    if run.is_exact:
        for group, member, number in run.rows(_OUT_TWICE):
            found.violations.append(
                f"group {group} member {member}: {number} leases are out at the same time"
            )
    return found


def _wrong(
    attempt: int, ended: str, state: str | None, size: int, stored: int | None, member: int, *, is_exact: bool
) -> str:
    """What is wrong with a lease, given its group and the stored attempt of its member; "" if nothing."""
    if state is None or member >= size:
        return "there is no such member of a group"
    if ended and ended not in get_args(LeaseEnd):
        return f"ended as {ended!r}, which is no end"
    if not ended and (state != "open" or stored is not None):
        return f"is out although its group is {state}" if stored is None else "is out although it is played"
    if ended in _PLAYED and stored != attempt:
        return f"ended as {ended} and its trajectory is not stored"
    if is_exact and stored == attempt and ended not in _PLAYED:
        return f"ended as {ended} and its trajectory is stored"
    return ""


def attempts_have_no_gap(run: Evidence) -> Checked:
    """The attempts of a member are 0, 1, 2... and each was granted once."""
    found = Checked()
    for group, member, number, first, last in run.rows(_ATTEMPTS):
        found.number += 1
        if first != 0 or last != number - 1:
            found.violations.append(
                f"group {group} member {member}: {number} attempts, from {first} to {last}"
            )
    return found
