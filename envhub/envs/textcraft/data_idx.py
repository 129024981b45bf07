"""AgentGym's numbers of the goals: which item `data_idx` means, from a table that never changes.

The original numbers its goals in the order in which a directory happens to be listed, so its numbers mean
other goals on other machines. Here line i + 1 of `goals.txt` is the goal of number i; the file is what
`sorted_goals` gives for the package's recipes. A person whose numbers come from another machine recovers them
from recorded trajectories (`recovered_goals`, `table_text`), as the `goals.txt` of a folder of recipes.
"""

import re
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from common.errors import ConfigurationError
from envhub.envs.textcraft.recipes import RecipeBook

TABLE = "goals.txt"

_GOAL = re.compile(r"^Goal: craft (.+?)\.?\s*$", re.MULTILINE)
_NUMBER = re.compile(r"(?:.*_)?([0-9]{1,9})")


def sorted_goals(book: RecipeBook) -> tuple[str, ...]:
    """The goals from the shallowest to the deepest; of one depth in the order of the recipe files' names."""
    in_order = dict.fromkeys(recipe.output for recipe in book.recipes)
    return tuple(sorted(in_order, key=book.depth))


@cache
def frozen_goals() -> tuple[str, ...]:
    """The goals of Minecraft by their number."""
    return tuple(Path(__file__).with_name(TABLE).read_text(encoding="utf-8").splitlines())


def folder_goals(folder: Path, book: RecipeBook) -> tuple[str, ...]:
    """The goals by number of a person's own folder: its `goals.txt`, or `sorted_goals` when it has none.

    An empty line is a number whose goal is not known. ConfigurationError for an item that no recipe makes.
    """
    file = folder / TABLE
    if not file.is_file():
        return sorted_goals(book)
    goals = tuple(line.strip() for line in file.read_text(encoding="utf-8", errors="replace").splitlines())
    for number, goal in enumerate(goals, start=1):
        if goal and goal not in book.by_output:
            raise ConfigurationError(
                f"{TABLE}, line {number}: {goal[:60]!r} is made by no recipe; allowed are items "
                "that the recipes make, and empty lines"
            )
    if not any(goals):
        raise ConfigurationError(f"{TABLE}: it names no goal")
    return goals


def recovered_goals(rows: Iterable[Mapping[str, Any]]) -> dict[int, str]:
    """Number -> goal, read from rows of AgentTraj-L (`item_id`, `conversations`).

    Rows without a conversation, as AgentEval has them, tell nothing and are passed over. ConfigurationError
    when two rows tell different goals for one number: they were not recorded on one machine.
    """
    found: dict[int, str] = {}
    for row in rows:
        number = _NUMBER.fullmatch(str(row.get("item_id")))
        goal = _goal(row.get("conversations") or ())
        if number is None or goal is None:
            continue
        known = found.setdefault(int(number[1]), goal)
        if known != goal:
            raise ConfigurationError(
                f"item {row['item_id']}: its goal is {known!r} in one row, {goal!r} in another"
            )
    return found


def table_text(goals: Mapping[int, str], book: RecipeBook) -> str:
    """The text of a `goals.txt`: as many lines as the book has goals, empty where the goal is not known."""
    count = len(book.by_output)
    return "".join(f"{goals.get(number, '')}\n" for number in range(count))


def _goal(messages: Iterable[Mapping[str, Any]]) -> str | None:
    """The first goal shown after the policy's first message: before it stands the prompt."""
    is_begun = False
    for message in messages:
        if message.get("from", message.get("role")) in ("gpt", "assistant"):
            is_begun = True
        elif is_begun and (match := _GOAL.search(str(message.get("value", message.get("content"))))):
            return match[1]
    return None
