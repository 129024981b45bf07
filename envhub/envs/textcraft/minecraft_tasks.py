"""The tasks of `textcraft`: one per craftable item, named after it, split for ever by a hash of its name."""

import hashlib
from functools import cache

from envhub.envs.textcraft.minecraft import minecraft_book
from envhub.envs.textcraft.recipes import RecipeBook
from envhub.task import Split, Task

TEST_SHARE = 100 / 544
"""Of the goals of each depth, rounded: 100 of 544 in all, as many as AgentGym's evaluation set."""


@cache
def minecraft_tasks() -> dict[str, Task]:
    """Every task by name, in hash order, so that every prefix of a split is a fair sample."""
    return {task.name: task for task in make_tasks(minecraft_book())}


def make_tasks(book: RecipeBook) -> tuple[Task, ...]:
    """One task per craftable item; of each depth the first `TEST_SHARE` by hash are the test split."""
    goals = sorted(book.by_output, key=_hash)
    test: set[str] = set()
    for depth in {book.depth(goal) for goal in goals}:
        layer = [goal for goal in goals if book.depth(goal) == depth]
        test.update(layer[: round(len(layer) * TEST_SHARE)])
    return tuple(_task(goal, "test" if goal in test else "train", book.depth(goal)) for goal in goals)


def goal_of(task: Task) -> str:
    """The item that a task asks for."""
    return task.name.removeprefix("textcraft_").replace("_", " ")


def task_name(goal: str) -> str:
    """The name of the task that asks for this item."""
    return f"textcraft_{goal.replace(' ', '_')}"


def _task(goal: str, split: Split, depth: int) -> Task:
    return Task(name=task_name(goal), split=split, depth=depth)


def _hash(goal: str) -> str:
    return hashlib.sha256(goal.encode()).hexdigest()
