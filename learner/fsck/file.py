"""The ledger's file is sound, and its columns hold what they are declared to hold."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from itertools import islice

from learner.fsck.evidence import Checked, Evidence
from learner.ledger_file import ADDED, SCHEMA

_MAX_LINES = 20


def file_is_sound(run: Evidence) -> Checked:
    """SQLite's integrity check; and every value is of its column's type, which that does not look at."""
    told = [str(row[0]) for row in run.rows(f"PRAGMA integrity_check({_MAX_LINES})")]
    lines = [" ".join(line.split()) for text in told for line in text.splitlines() if line != "ok"]
    return Checked(1, lines or list(islice(_strange_values(run), _MAX_LINES)))


def _strange_values(run: Evidence) -> Iterator[str]:
    with closing(sqlite3.connect(":memory:")) as declared:
        declared.executescript(SCHEMA)
        tables = [name for (name,) in declared.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        columns = {table: list(declared.execute(f"PRAGMA table_info({table})")) for table in tables}
    for table in tables:
        there = {row[1] for row in run.rows(f"PRAGMA table_info({table})")}
        for _, name, kind, is_needed, _, is_key in columns[table]:
            if name in there:
                kinds = [kind.lower()] if is_needed or is_key else [kind.lower(), "null"]
                yield from _of_other_kinds(run, table, name, kinds)
            elif name not in ADDED.get(table, {}):
                yield f"{table}: there is no column {name}"


def _of_other_kinds(run: Evidence, table: str, column: str, kinds: list[str]) -> Iterator[str]:
    allowed = ", ".join(f"'{kind}'" for kind in kinds)
    query = f"SELECT rowid, typeof({column}) FROM {table} WHERE typeof({column}) NOT IN ({allowed})"
    for row, found in run.rows(query):
        yield f"{table}.{column} of row {row}: {found} instead of {kinds[0]}"
