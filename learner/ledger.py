"""The ledger: the run's one durable memory, an SQLite file in the run directory.

It records groups, leases, trajectories (their bytes), consumption, horizons and evaluations. What makes
delivery effectively once lives here: a trajectory is stored under (group, member) exactly once, and is
acknowledged only after `commit_submissions` returned.

    granted group:   open -> complete -> consumed
                       \\________\\_____-> dropped (with a reason)

One connection, one thread: the learner's event loop hands blocking calls to a single worker thread.
"""

import json
import secrets
import sqlite3
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from common.codec import unpack
from common.errors import LedgerError
from common.trajectory import Group, TaskReference, Trajectory
from learner import ledger_arrivals, ledger_rewind
from learner.ledger_file import FORMAT, Transaction, open_file
from learner.ledger_records import Arrival, OpenGroup, Purpose, Verdict, task_columns


class Ledger:
    """Durable record of one run; every method is one transaction, complete on disk when it returns."""

    def __init__(self, path: Path, run: str) -> None:
        self._run = run
        try:
            self._db = open_file(path)
            owner = self.meta("run")
        except sqlite3.Error as error:
            raise LedgerError(f"{path}: cannot open the ledger: {error}") from error
        if owner is None:
            with self._transaction():
                self._set_meta("run", run)
                self._set_meta("format", FORMAT)
                self._set_meta("ledger", secrets.token_hex(8))
        elif owner != run:
            raise LedgerError(f"{path}: belongs to run {owner!r}, not to {run!r}")
        self.name = self.meta("ledger") or ""
        """In every lease that it grants; empty for ledgers of older releases."""

    def close(self) -> None:
        """Close the file; afterwards nothing may be called."""
        self._db.close()

    def meta(self, key: str) -> str | None:
        """A small value of the run's own, or None."""
        row = self._db.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
        return None if row is None else str(row[0])

    def _set_meta(self, key: str, value: str) -> None:
        self._db.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, value))

    # --- groups and leases -------------------------------------------------------------------

    def num_groups(self, purpose: Purpose = "training") -> int:
        """Groups ever opened for this purpose: the data cursor."""
        return int(self._one("SELECT COUNT(*) FROM groups WHERE purpose = ?", (purpose,)))

    def open_groups(
        self,
        tasks: Sequence[TaskReference],
        *,
        purpose: Purpose,
        label: str,
        horizon: int,
        size: int,
        version: int,
    ) -> list[OpenGroup]:
        """Open one group per task and return them, ids ascending."""
        with self._transaction():
            first = int(self._one("SELECT COALESCE(MAX(id) + 1, 0) FROM groups", ()))
            groups = [
                OpenGroup(first + i, purpose, label, task, horizon, size, version, frozenset(), {})
                for i, task in enumerate(tasks)
            ]
            self._db.executemany(
                "INSERT INTO groups (id, purpose, label, environment, task, seed, kind, depth, horizon, size,"
                " granted_version, created_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                [
                    (g.id, purpose, label, *task_columns(g.task), horizon, size, version, time.time())
                    for g in groups
                ],
            )
        return groups

    def record_grants(self, grants: Iterable[tuple[int, int, int, str]]) -> None:
        """(group, member, attempt, actor): these leases are out."""
        now = time.time()
        with self._transaction():
            self._db.executemany(
                "INSERT INTO leases (group_id, member, attempt, actor, granted_at) VALUES (?, ?, ?, ?, ?)",
                [(*grant, now) for grant in grants],
            )

    def end_leases(self, leases: Iterable[tuple[int, int, int]], why: str) -> None:
        """(group, member, attempt): these leases ended without a trajectory (fault, lost actor)."""
        with self._transaction():
            self._db.executemany(
                "UPDATE leases SET ended = ?"
                " WHERE group_id = ? AND member = ? AND attempt = ? AND ended = ''",
                [(why, *lease) for lease in leases],
            )

    def end_all_leases(self, why: str) -> None:
        """Whatever is still out ends: the process that granted it is no more."""
        with self._transaction():
            self._db.execute("UPDATE leases SET ended = ? WHERE ended = ''", (why,))

    def commit_submissions(
        self, trajectories: Sequence[Trajectory], version: int, *, only_granted: bool = False
    ) -> list[Arrival]:
        """Store each trajectory under its (group, member) unless one is there; durable when this returns.

        With `only_granted` what another ledger granted, or none, is unknown. What is not stored is
        counted by its verdict.
        """
        with self._transaction():
            granted_by = (self._run, self.name) if only_granted else None
            return ledger_arrivals.commit(self._db, trajectories, version, granted_by)

    def num_arrivals(self, verdict: Verdict) -> int:
        """How many trajectories of the run have arrived with this verdict, which is not `stored`."""
        return ledger_arrivals.counted(self._db, verdict)

    def drop(self, group: int, reason: str, step: int) -> None:
        """Give up an open or complete group; it will never be trained on."""
        with self._transaction():
            changed = self._db.execute(
                "UPDATE groups SET state = 'dropped', reason = ?, step = ?"
                " WHERE id = ? AND state IN ('open', 'complete')",
                (reason, step, group),
            ).rowcount
            self._db.execute(
                "UPDATE leases SET ended = 'dropped' WHERE group_id = ? AND ended = ''", (group,)
            )
        if changed != 1:
            raise LedgerError(f"group {group} cannot be dropped ({reason}): it is neither open nor complete")

    # --- reading back ------------------------------------------------------------------------

    def groups_in(self, state: str, purpose: Purpose) -> list[OpenGroup]:
        """Groups in this state, oldest first, with what has been granted and played."""
        rows = self._db.execute(
            "SELECT id, purpose, label, environment, task, seed, horizon, size, granted_version, kind, depth"
            " FROM groups WHERE state = ? AND purpose = ? ORDER BY id",
            (state, purpose),
        ).fetchall()
        return [self._open_group(row) for row in rows]

    def evaluation_groups(self, label: str) -> list[OpenGroup]:
        """What was opened for an evaluation and is not finished, oldest first."""
        known = [g for state in ("open", "complete") for g in self.groups_in(state, "evaluation")]
        return sorted((g for g in known if g.label == label), key=lambda g: g.id)

    def unfinished_evaluations(self) -> list[str]:
        """Labels of evaluations of which something was opened and is neither recorded nor given up."""
        labels = "SELECT DISTINCT label FROM groups WHERE purpose = 'evaluation' AND state IN (?, ?)"
        return [label for (label,) in self.rows(labels, ("open", "complete"))]

    def _open_group(self, row: Sequence[Any]) -> OpenGroup:
        played = self._db.execute("SELECT member FROM trajectories WHERE group_id = ?", (row[0],)).fetchall()
        attempts = self._db.execute(
            "SELECT member, MAX(attempt) FROM leases WHERE group_id = ? GROUP BY member", (row[0],)
        ).fetchall()
        task = TaskReference(environment=row[3], task=row[4], seed=row[5], kind=row[9], depth=row[10])
        return OpenGroup(
            row[0],
            row[1],
            row[2],
            task,
            row[6],
            row[7],
            row[8],
            frozenset(m for (m,) in played),
            dict(attempts),
        )

    def group(self, group: int) -> Group:
        """A complete group with its trajectories, members in order."""
        row = self._db.execute(
            "SELECT environment, task, seed, horizon, kind, depth FROM groups WHERE id = ?", (group,)
        ).fetchone()
        if row is None:
            raise LedgerError(f"group {group} is not in the ledger")
        blobs = self._db.execute(
            "SELECT bytes FROM trajectories WHERE group_id = ? ORDER BY member", (group,)
        ).fetchall()
        task = TaskReference(environment=row[0], task=row[1], seed=row[2], kind=row[4], depth=row[5])
        trajectories = tuple(unpack(blob, Trajectory) for (blob,) in blobs)
        return Group(group=group, task=task, horizon=row[3], trajectories=trajectories)

    def received_versions(self, group: int) -> list[int]:
        """The learner's version when each member's trajectory was received, members in order."""
        rows = self._db.execute(
            "SELECT received_version FROM trajectories WHERE group_id = ? ORDER BY member", (group,)
        ).fetchall()
        return [v for (v,) in rows]

    # --- consumption, resume -----------------------------------------------------------------

    def consume(
        self, step: int, groups: Sequence[int], *, horizon: int, max_staleness: int, num_tokens: int
    ) -> None:
        """Record that step `step` trained on these groups, in this order; LedgerError when one was before."""
        with self._transaction():
            for group in groups:
                changed = self._db.execute(
                    "UPDATE groups SET state = 'consumed', step = ? WHERE id = ? AND state = 'complete'",
                    (step, group),
                ).rowcount
                if changed != 1:
                    raise LedgerError(
                        f"step {step} would train on group {group}, which is not complete and unconsumed"
                    )
            self._db.execute(
                "INSERT INTO steps VALUES (?, ?, ?, ?, ?, '{}', ?)",
                (step, horizon, max_staleness, num_tokens, time.time(), json.dumps(list(groups))),
            )

    def record_step_values(self, step: int, values: dict[str, float]) -> None:
        """Keep the metrics of a step beside its consumption."""
        with self._transaction():
            self._db.execute("UPDATE steps SET values_json = ? WHERE step = ?", (json.dumps(values), step))

    def refuse_shorter_than(self, step: int) -> None:
        """LedgerError when the ledger has not come as far as the checkpoint of `step`: not of one run."""
        last = self._one("SELECT COALESCE(MAX(step), 0) FROM steps", ())
        if last < step:
            raise LedgerError(
                f"the newest checkpoint is of step {step} and the ledger ends at step {last}: put back the "
                "ledger that belongs to the checkpoints, or begin a run under another name"
            )

    def rewind(self, step: int) -> int:
        """Forget what happened after `step`, a checkpoint's; how many groups may be trained on again."""
        with self._transaction():
            return ledger_rewind.rewind(self._db, step)

    def relabel_evaluation(self, label: str) -> None:
        """Call an evaluation, if there is one, `step N` after the step it was made at, and keep it so."""
        with self._transaction():
            ledger_rewind.relabel_evaluation(self._db, label)

    def record_evaluation(self, label: str, *, step: int, version: int, values: dict[str, Any]) -> None:
        """Keep the result of an evaluation made at `step`, `version` the newest that played a part of it.

        Its complete groups are consumed by it. The same label again replaces it.
        """
        row = (label, step, version, json.dumps(values))
        with self._transaction():
            self._db.execute("INSERT OR REPLACE INTO evaluations VALUES (?, ?, ?, ?)", row)
            self._db.execute(
                "UPDATE groups SET state = 'consumed' WHERE label = ? AND state = 'complete'", (label,)
            )

    def evaluation(self, label: str) -> dict[str, Any] | None:
        """The recorded values of an evaluation, or None."""
        row = self._db.execute("SELECT values_json FROM evaluations WHERE label = ?", (label,)).fetchone()
        return None if row is None else dict(json.loads(row[0]))

    # --- plumbing ----------------------------------------------------------------------------

    def rows(self, query: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Read-only access for reports and tests."""
        return self._db.execute(query, parameters).fetchall()

    def _one(self, query: str, parameters: Sequence[Any]) -> Any:
        return self._db.execute(query, parameters).fetchone()[0]

    def _transaction(self) -> Transaction:
        return Transaction(self._db)
