"""Tasks that are rows of a data set: `row-000123` is its row 123."""

import hashlib
import itertools
import re
from collections.abc import Iterable, Iterator
from typing import Generic, TypeVar

from common.errors import PreflightError
from envhub.environment import unknown_task
from envhub.sendable import one_line
from envhub.task import Split, Task

MAX_LISTED = 1200
"""Rows that the splits list; the others have names too."""
MAX_NAMED = 100_000
"""Rows that have names: whoever names one makes all before it be read and kept."""
TEST_SHARE = 6
"""One row in so many is a test row."""

R = TypeVar("R")
_NAME = re.compile(r"row-([0-9]{6})")


class Rows(Generic[R]):
    """Rows of an iterable that may be endless, read as far as asked for; the splits are in order of hash."""

    def __init__(self, environment: str, rows: Iterable[R]) -> None:
        self._environment = environment
        self._unread: Iterator[R] = iter(rows)
        self._read: list[R] = []
        self._broken = ""

    def tasks(self, split: Split) -> tuple[Task, ...]:
        """Of the first `MAX_LISTED` rows those of the split."""
        self._read_to(MAX_LISTED - 1)
        order = sorted(range(min(len(self._read), MAX_LISTED)), key=_hash)
        tasks = (self._task(index) for index in order)
        return tuple(task for task in tasks if task.split == split)

    def task(self, name: str) -> Task:
        """By name; ConfigurationError when there is no such row."""
        return self._task(self._index(name))

    def row(self, name: str) -> R:
        """The row itself."""
        return self._read[self._index(name)]

    def _index(self, name: str) -> int:
        match = _NAME.fullmatch(name)
        index = int(match[1]) if match else -1
        if not 0 <= index < MAX_NAMED or _name(index) != name or not self._read_to(index):
            raise unknown_task(self._environment, name, _name(0))
        return index

    def _read_to(self, index: int) -> bool:
        """Whether there is such a row; PreflightError, now and ever after, where a row cannot be read."""
        if index >= len(self._read):
            if self._broken:
                raise PreflightError(self._broken)
            try:
                self._read.extend(itertools.islice(self._unread, index + 1 - len(self._read)))
            except Exception as error:
                why = f"row {len(self._read)} cannot be read: {type(error).__name__}: {error}"
                self._broken = one_line(f"environment {self._environment}: {why}")
                raise PreflightError(self._broken) from error
        return index < len(self._read)

    def _task(self, index: int) -> Task:
        return Task(name=_name(index), split="test" if _hash(index) % TEST_SHARE == 0 else "train")


def _name(index: int) -> str:
    return f"row-{index:06d}"


def _hash(index: int) -> int:
    return int.from_bytes(hashlib.blake2b(_name(index).encode(), digest_size=8).digest())
