"""What the checks look at: one snapshot of a run's ledger, and the run's configuration and tasks."""

import json
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from common.config import load
from common.errors import ConfigurationError, LedgerError
from common.run_directory import RunDirectory
from common.trajectory import TaskReference
from learner.config import LearnerRoleConfig
from learner.ledger_file import ADDED, FORMAT, open_to_read


@dataclass
class Checked:
    """The outcome of one check."""

    number: int = 0
    """How many things were looked at."""
    violations: list[str] = field(default_factory=list)
    """One line each, naming the lease, group, step or file."""
    skipped: str = ""
    """Why it could not be checked; empty when it was."""


@dataclass(frozen=True)
class Evidence:
    """A run as it is: nothing in it is changed, whatever is found."""

    folder: RunDirectory
    db: sqlite3.Connection
    checkpoints: dict[str, int | None]
    """Whole checkpoints by the name of their folder: the step that they name, None when it cannot be read."""

    def rows(self, query: str, parameters: Sequence[Any] = ()) -> Iterator[tuple[Any, ...]]:
        """The rows of a query, one in memory at a time."""
        yield from self.db.execute(query, parameters)

    def one(self, query: str) -> Any:
        """The first value of the first row; None when there is no row."""
        row = self.db.execute(query).fetchone()
        return None if row is None else row[0]

    @cached_property
    def meta(self) -> dict[str, str]:
        """The small values of the run's own."""
        return dict(self.db.execute("SELECT key, value FROM meta"))

    @property
    def is_exact(self) -> bool:
        """Whether the ends of leases were recorded from the first one on; older ledgers know fewer ends."""
        return self.meta.get("format") == FORMAT

    @cached_property
    def has_leases(self) -> bool:
        """False where episodes were played without actors, as AgentEvol does."""
        return self.one("SELECT 1 FROM leases LIMIT 1") is not None

    def has_column(self, table: str, column: str) -> bool:
        """Whether this release's column is in the file; one that only reads adds none."""
        assert column in ADDED[table]
        return column in {row[1] for row in self.db.execute(f"PRAGMA table_info({table})")}

    def config(self) -> LearnerRoleConfig | str:
        """The run's configuration, or in one line why it cannot be had."""
        if not self.folder.config.is_file():
            return f"{self.folder.config}: not there"
        try:
            return load(LearnerRoleConfig, [self.folder.config])
        except ConfigurationError as error:
            return f"{self.folder.config}: {error}"

    def tasks(self) -> tuple[list[TaskReference], dict[str, float]] | str:
        """The training tasks and the shares of the environments, or why they cannot be had."""
        try:
            rows = json.loads(self.folder.tasks.read_text())
            return [TaskReference.model_validate(row) for row in rows["train"]], rows.get("weights", {})
        except OSError as error:
            return f"{self.folder.tasks}: {error.strerror}"
        except (ValueError, KeyError, TypeError) as error:
            return f"{self.folder.tasks}: {' '.join(str(error).split())[:200]}"


def statistics(text: Any) -> dict[str, float] | None:
    """The recorded numbers of a step; None when they cannot be read."""
    try:
        values = json.loads(text)
    except (TypeError, ValueError):
        return None
    is_sound = isinstance(values, dict) and all(isinstance(value, int | float) for value in values.values())
    return values if is_sound else None


@contextmanager
def opened(folder: RunDirectory) -> Iterator[Evidence]:
    """A snapshot of the run's ledger; LedgerError when there is none that can be opened."""
    path = folder.ledger
    if not path.is_file():
        raise LedgerError(f"{folder.path}: holds no run: there is no {path.name}")
    checkpoints = _checkpoints(folder)  # before the snapshot: none of a live run is newer than its ledger
    with closing(open_to_read(path)) as db:
        db.text_factory = lambda raw: raw.decode(errors="replace")  # a damaged text is compared, not refused
        yield Evidence(folder, db, checkpoints)


def _checkpoints(folder: RunDirectory) -> dict[str, int | None]:
    found: dict[str, int | None] = {}
    for path in sorted(folder.checkpoints.glob("step-*/manifest.json")):
        try:
            found[path.parent.name] = int(json.loads(path.read_text())["ledger"]["step"])
        except FileNotFoundError:
            continue  # pruned meanwhile
        except (OSError, ValueError, KeyError, TypeError):
            found[path.parent.name] = None
    return found
