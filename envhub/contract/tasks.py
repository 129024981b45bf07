"""Promises about tasks: names that last, splits that are fair, and mistakes that are explained."""

import re
from collections import Counter

from common.errors import ConfigurationError
from envhub.contract.subject import Subject
from envhub.environment import spelled
from envhub.task import SPLITS, checked_split

UNKNOWN = (
    "",
    "no such task",
    "d9-000001",
    "number-999",
    "no_such_",
    "d2-00012\uff13",
    "\ud800",
    "x" * 1_000_000,
)
COMMON = 0.1
"""A kind or depth with this share of a split is in each of its longer prefixes."""


def names_are_unique_and_portable(subject: Subject) -> None:
    """No name twice, in one split or in two; all printable ASCII; and the same list when asked again."""
    for split in SPLITS:
        subject.require(subject.names(split) == subject.names(split), f"split {split} changes between calls")
    names = [name for split in SPLITS for name in subject.names(split)]
    twice = [name for name, count in Counter(names).items() if count > 1]
    subject.require(not twice, f"task names {twice[:3]} appear twice")
    odd = [name for name in names if not (name.isascii() and name.isprintable())]
    subject.require(not odd, f"task names {odd[:3]} are not printable ASCII")
    subject.require(bool(subject.names("train")), "there is no training task")


def tasks_are_found_by_their_names(subject: Subject) -> None:
    """A listed task is what its name finds, in the split that lists it."""
    for split in SPLITS:
        for task in subject.environment.tasks(checked_split(split)):
            subject.require(task.split == split, f"{task.name} is listed in {split} and says {task.split}")
            found = subject.environment.task(task.name)
            subject.require(found == task, f"{task.name} finds {found}")


def unknown_tasks_are_refused_with_a_name_that_exists(subject: Subject) -> None:
    """ConfigurationError, short, that names at least one task which there is."""
    first = subject.names("train")[0]
    for name in (*UNKNOWN, f"{first}~", first[:-1] + "~"):
        said = ""
        try:
            subject.environment.reset(name, 0)
        except ConfigurationError as refusal:
            said = str(refusal)
        subject.require(bool(said), f"the task {name[:40]!r} is played")
        subject.require(len(said) < 1000, f"the refusal of {name[:40]!r} has {len(said)} characters")
        near = re.findall(r"'([^']+)'", said.partition("one is ")[2])
        subject.require(any(_exists(subject, other) for other in near), f"no existing task is named: {said}")


def indices_are_tasks_or_refused_with_the_range(subject: Subject) -> None:
    """An index finds a task that its name finds again; any other number is told the range."""
    first = subject.environment.indexed(0)
    subject.require(first == subject.environment.task(first.name), f"index 0 is {first}")
    for index in (-1, 10**9, 10**30, 10**5000):
        said = ""
        try:
            found = subject.environment.indexed(index)
            shown = f"index {spelled(index)}"
            subject.require(found == subject.environment.task(found.name), f"{shown} is {found}")
            subject.require(index >= 0, f"{shown} is a task")
        except ConfigurationError as refusal:
            said = str(refusal)
            subject.require("has the tasks 0 to " in said, f"the range is not told: {said}")


def every_prefix_is_a_fair_sample(subject: Subject) -> None:
    """Whatever kind or depth is common in a split is among its first 100 tasks."""
    for split in SPLITS:
        tasks = subject.environment.tasks(checked_split(split))
        for what in ("depth", "kind"):
            counts = Counter(getattr(task, what) for task in tasks)
            early = {getattr(task, what) for task in tasks[:100]}
            late = [value for value, n in counts.items() if n >= COMMON * len(tasks) and value not in early]
            subject.require(not late, f"{split}: {what} {late} is not among the first 100 tasks")


def _exists(subject: Subject, name: str) -> bool:
    try:
        return bool(subject.environment.task(name).name)
    except ConfigurationError:
        return False
