"""A ledger that is only looked at: what a run played, also while the run goes on; nothing in it changes."""

import json
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from common.codec import unpack
from common.errors import LedgerError
from common.trajectory import Group, Trajectory
from learner.ledger_file import open_to_read
from learner.ledger_records import Purpose


@dataclass(frozen=True)
class Selection:
    """Which trajectories are wanted."""

    purpose: Purpose = "training"
    successes_only: bool = False
    """By the environment's own predicate, as the actors recorded it."""
    min_return: float | None = None
    """Only those whose rewards sum to at least this."""


@dataclass(frozen=True)
class Played:
    """One trajectory, and what became of its group."""

    trajectory: Trajectory
    purpose: Purpose
    label: str
    """Of which evaluation; empty for training."""
    state: str
    """open, complete, consumed or dropped."""
    reason: str
    """Why the group was dropped; empty otherwise."""
    step: int | None
    """The optimizer step that trained on its group or dropped it; None when none did."""
    received_version: int
    """The learner's version when it arrived."""


@dataclass(frozen=True)
class RecordedStep:
    """What one optimizer step trained on, and what it gave."""

    step: int
    groups: tuple[int, ...]
    """In the order trained on; empty when the run was recorded without it."""
    values: dict[str, float]
    """Its metrics by name; empty until they were measured."""


class LedgerReader:
    """One snapshot of a ledger: all that is read belongs together, whatever the run commits meanwhile.

    with LedgerReader(folder.ledger) as ledger:
        for played in ledger.played(Selection(successes_only=True)):
            ...

    LedgerError when the file is not there or no ledger.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._db = open_to_read(path)

    def __enter__(self) -> "LedgerReader":
        return self

    def __exit__(self, *_: object) -> None:
        self._db.close()

    def count(self, selection: Selection) -> int:
        """How many trajectories `played` gives."""
        where, parameters = _condition(selection)
        ((number,),) = self._rows(f"SELECT COUNT(*) {_FROM} WHERE {where}", parameters)
        return int(number)

    def played(self, selection: Selection) -> Iterator[Played]:
        """Every selected trajectory, by group and member, one in memory at a time."""
        where, parameters = _condition(selection)
        query = f"SELECT {_COLUMNS} {_FROM} WHERE {where} ORDER BY t.group_id, t.member"
        for blob, purpose, label, state, reason, step, received in self._rows(query, parameters):
            yield Played(unpack(blob, Trajectory), purpose, label, state, reason, step, received)

    def steps(self) -> list[RecordedStep]:
        """Every step of the history that counts, in order."""
        known = {row[1] for row in self._rows("PRAGMA table_info(steps)", [])}
        order = "groups_json" if "groups_json" in known else "''"
        query = f"SELECT step, {order}, values_json FROM steps ORDER BY step"
        return [self._step(*row) for row in self._rows(query, [])]

    def _step(self, step: int, groups: str, values: str) -> RecordedStep:
        try:
            return RecordedStep(step, tuple(json.loads(groups or "[]")), json.loads(values))
        except (TypeError, ValueError) as error:
            raise LedgerError(f"{self.path}: step {step} cannot be read: {error}") from error

    def group(self, group: int) -> tuple[Group, list[int]]:
        """A group as it was trained on, members in order, and the learner's version when each arrived."""
        query = "SELECT bytes, received_version FROM trajectories WHERE group_id = ? ORDER BY member"
        members = list(self._rows(query, [group]))
        if not members:
            raise LedgerError(f"{self.path}: group {group} is not in the ledger")
        played = tuple(unpack(blob, Trajectory) for blob, _ in members)
        made = Group(group=group, task=played[0].task, horizon=played[0].horizon, trajectories=played)
        return made, [version for _, version in members]

    def _rows(self, query: str, parameters: list[Any]) -> Iterator[tuple[Any, ...]]:
        try:
            # No `yield from`: it would close the cursor of a reader that may be closed before.
            for row in self._db.execute(query, parameters):  # noqa: UP028
                yield row
        except sqlite3.Error as error:
            raise LedgerError(f"{self.path}: cannot read the ledger: {error}") from error


_FROM = "FROM trajectories t JOIN groups g ON g.id = t.group_id"
_COLUMNS = "t.bytes, g.purpose, g.label, g.state, g.reason, g.step, t.received_version"


def _condition(selection: Selection) -> tuple[str, list[Any]]:
    where, parameters = ["g.purpose = ?"], list[Any]([selection.purpose])
    if selection.successes_only:
        where.append("t.is_success")
    if selection.min_return is not None:
        where.append("t.return >= ?")
        parameters.append(selection.min_return)
    return " AND ".join(where), parameters
