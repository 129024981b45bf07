"""The ledger's file: its tables, how it is opened, and transactions that happen whole or not at all."""

import os
import sqlite3
from contextlib import ExitStack, closing, suppress
from pathlib import Path
from urllib.parse import quote

import xxhash

from common.errors import LedgerError

FORMAT = "2"
"""Of ledgers whose leases are kept so that each ends exactly once; none is recorded where it is older."""

SCHEMA = """
CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS groups (
    id INTEGER PRIMARY KEY, purpose TEXT NOT NULL, label TEXT NOT NULL, environment TEXT NOT NULL,
    task TEXT NOT NULL, seed INTEGER NOT NULL, horizon INTEGER NOT NULL, size INTEGER NOT NULL,
    granted_version INTEGER NOT NULL,
    state TEXT NOT NULL DEFAULT 'open', reason TEXT NOT NULL DEFAULT '',
    step INTEGER, created_at REAL NOT NULL, kind TEXT NOT NULL DEFAULT '',
    depth INTEGER NOT NULL DEFAULT 0);
CREATE INDEX IF NOT EXISTS groups_by_state ON groups (state, purpose);
CREATE TABLE IF NOT EXISTS leases (
    group_id INTEGER NOT NULL, member INTEGER NOT NULL, attempt INTEGER NOT NULL, actor TEXT NOT NULL,
    ended TEXT NOT NULL DEFAULT '', granted_at REAL NOT NULL, PRIMARY KEY (group_id, member, attempt));
CREATE TABLE IF NOT EXISTS trajectories (
    group_id INTEGER NOT NULL, member INTEGER NOT NULL, attempt INTEGER NOT NULL, actor TEXT NOT NULL,
    outcome TEXT NOT NULL, is_success INTEGER NOT NULL, score REAL NOT NULL, return REAL NOT NULL,
    num_turns INTEGER NOT NULL, num_tokens INTEGER NOT NULL, num_action_tokens INTEGER NOT NULL,
    received_version INTEGER NOT NULL, received_at REAL NOT NULL, bytes BLOB NOT NULL, checksum INTEGER,
    PRIMARY KEY (group_id, member));
CREATE TABLE IF NOT EXISTS steps (
    step INTEGER PRIMARY KEY, horizon INTEGER NOT NULL, max_staleness INTEGER NOT NULL,
    num_tokens INTEGER NOT NULL, finished_at REAL NOT NULL, values_json TEXT NOT NULL,
    groups_json TEXT NOT NULL DEFAULT '');
CREATE TABLE IF NOT EXISTS evaluations (
    label TEXT PRIMARY KEY, step INTEGER NOT NULL, version INTEGER NOT NULL, values_json TEXT NOT NULL);
"""

ADDED = {
    "groups": {"kind": "TEXT NOT NULL DEFAULT ''", "depth": "INTEGER NOT NULL DEFAULT 0"},
    "trajectories": {"checksum": "INTEGER"},
    "steps": {"groups_json": "TEXT NOT NULL DEFAULT ''"},
}
"""Columns, by table, that runs begun by older releases do not have."""


def open_file(path: Path) -> sqlite3.Connection:
    """Open or create the file: write-ahead log, every commit flushed to the disk before it returns."""
    db = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=30)
    db.execute("PRAGMA journal_mode=WAL")
    db.execute("PRAGMA synchronous=FULL")
    db.executescript(SCHEMA)
    for table, columns in ADDED.items():
        known = {row[1] for row in db.execute(f"PRAGMA table_info({table})")}
        for column, kind in columns.items():
            if column not in known:
                db.execute(f"ALTER TABLE {table} ADD COLUMN {column} {kind}")
    return db


def open_to_read(path: Path) -> sqlite3.Connection:
    """One snapshot of a ledger, also of a live or a crashed run's; nothing in the run is changed.

    LedgerError when there is no file or it is no ledger.
    """
    if not path.is_file():
        raise LedgerError(f"{path}: there is no ledger")
    log_bytes = 0
    with suppress(FileNotFoundError):
        log_bytes = path.with_name(path.name + "-wal").stat().st_size
    if log_bytes:
        mode = "ro"  # a writer would move what a killed run left there into the ledger
    elif os.access(path.parent, os.W_OK):
        mode = "rw"  # a writer alone takes the files that SQLite makes beside the ledger away again
    else:
        mode = "ro&immutable=1"  # none can be made
    uri = f"file:{quote(str(path))}?mode={mode}"
    with ExitStack() as stack:
        try:
            db = stack.enter_context(
                closing(sqlite3.connect(uri, uri=True, isolation_level=None, timeout=30))
            )
            db.execute("PRAGMA query_only = ON")
            db.execute("BEGIN")
            db.execute("SELECT COUNT(*) FROM meta").fetchone()
        except (sqlite3.Error, UnicodeDecodeError) as error:  # of a damaged schema SQLite quotes the bytes
            raise LedgerError(f"{path}: cannot read the ledger: {error}") from error
        stack.pop_all()
    return db


def checksum(blob: bytes) -> int:
    """xxh3-64 of a stored trajectory, as the signed 64 bits that SQLite keeps."""
    return xxhash.xxh3_64_intdigest(blob) - (1 << 63)


class Transaction:
    """BEGIN IMMEDIATE ... COMMIT; rolled back whole on any error; SQLite's own errors become LedgerError."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def __enter__(self) -> None:
        self._run("BEGIN IMMEDIATE")

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if kind is None:
            try:
                self._run("COMMIT")
            finally:
                self._roll_back()
        else:
            self._roll_back()
            if isinstance(error, sqlite3.Error):
                raise LedgerError(f"the ledger refused a transaction: {error}") from error

    def _roll_back(self) -> None:
        """Give up what is not committed; on a full disk or an I/O error SQLite may have done it by itself."""
        if self._db.in_transaction:
            self._db.execute("ROLLBACK")

    def _run(self, statement: str) -> None:
        try:
            self._db.execute(statement)
        except sqlite3.Error as error:
            raise LedgerError(f"the ledger cannot {statement.lower()}: {error}") from error
