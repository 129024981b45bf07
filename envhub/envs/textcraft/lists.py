"""`textcraft_commands:FILE`: crafting tasks that a person has as lists, one JSON object a line.

    {"goal": "stick", "commands": "craft 4 oak planks using 1 oak logs\\ncraft 4 stick using 2 planks"}

`commands` is one text or a list of lines, and `split` may say `train` (so without it), `test` or `unseen`.
The commands are shown in the order of the list. Where all of them are recipes of Minecraft the game is played
by Minecraft's whole book, as `textcraft` is; otherwise the commands alone are the world, and what none of
them makes can be fetched.
"""

import json
import re
from functools import cached_property
from pathlib import Path
from typing import Any

from common.errors import ConfigurationError, PreflightError
from envhub.environment import Environment, unknown_task
from envhub.envs.textcraft.engine import MAX_AMOUNT
from envhub.envs.textcraft.episode import CraftingEpisode, CraftingTask
from envhub.envs.textcraft.expert import num_turns
from envhub.envs.textcraft.minecraft import minecraft_book
from envhub.envs.textcraft.recipes import Ingredient, Recipe, RecipeBook
from envhub.envs.textcraft.texts import FUNCTIONS, RULES, instructions, vocabulary
from envhub.task import Split, Task, checked_split

_COMMAND = re.compile(r"craft ([0-9]{1,3}) (\S.*?) using (\S.*)")
_PART = re.compile(r"([0-9]{1,3}) (\S.*)")


class ListedTextCraft(Environment):
    """One task per line of the file, `list-000000` on; the seed changes nothing."""

    functions = FUNCTIONS
    source = "crafting commands of a file; their licence is their owner's"

    def __init__(self, file: str) -> None:
        self._file = file
        self._listed = dict(_read(Path(file)))

    @property
    def name(self) -> str:
        """The scheme and the file."""
        return f"textcraft_commands:{self._file}"

    @cached_property
    def horizon(self) -> int:
        """Twice the expert's longest way to a goal, and no less than in `textcraft`."""
        return max(60, 2 * max(num_turns(task.book, task.goal) for _, task in self._listed.values()))

    def tasks(self, split: Split) -> tuple[Task, ...]:
        """In the order of the file."""
        return tuple(task for task, _ in self._listed.values() if task.split == split)

    def task(self, name: str) -> Task:
        """By name, `list-000000`."""
        if name not in self._listed:
            raise unknown_task(self.name, name, "list-000000")
        return self._listed[name][0]

    def reset(self, task: str, seed: int) -> CraftingEpisode:
        """The episode of that list; `seed` is not used."""
        return CraftingEpisode(self._listed[self.task(task).name][1])

    def instructions(self, action_format: str) -> str:
        """The rules of the game and the form of an answer."""
        return instructions(RULES, action_format)

    def vocabulary(self) -> tuple[str, ...]:
        """The words of all items and templates, and every number that can be held."""
        books = [task.book for _, task in self._listed.values()]
        names = {
            name
            for book in books
            for name in (*book.by_output, *book.by_ingredient, *book.groups, book.prefix)
        }
        return vocabulary(self, [*sorted(names), "_"], MAX_AMOUNT)


def parse_commands(text: str) -> tuple[Recipe, ...]:
    """The recipes that lines of `craft N item using N a, N b` write; ConfigurationError for another line."""
    return tuple(_command(" ".join(line.split()).lower()) for line in text.splitlines() if line.strip())


def _command(line: str) -> Recipe:
    match = _COMMAND.fullmatch(line)
    parts = [_PART.fullmatch(part.strip()) for part in match[3].split(",")] if match else [None]
    pieces = [(part[2], int(part[1])) for part in parts if part and int(part[1])]
    if match is None or len(pieces) != len(parts) or int(match[1]) == 0:
        raise ConfigurationError(f"command {line[:60]!r}: allowed is `craft N item using N item, N item`")
    # As in the engine, what is named twice is added up.
    counts: dict[str, int] = {}
    for item, count in pieces:
        counts[item] = counts.get(item, 0) + count
    return Recipe(match[2], int(match[1]), tuple(Ingredient(item, n) for item, n in counts.items()))


def _read(file: Path) -> list[tuple[str, tuple[Task, CraftingTask]]]:
    """Every line of the file; ConfigurationError tells the number of a bad one."""
    if not file.is_file():
        raise PreflightError(f"commands {file}: there is no such file; give one of JSON lines")
    found: list[tuple[str, tuple[Task, CraftingTask]]] = []
    for number, line in enumerate(file.read_text(encoding="utf-8", errors="replace").splitlines(), start=1):
        if not line.strip():
            continue
        name = f"list-{len(found):06d}"
        try:
            row = json.loads(line)
            crafting = _crafting(row["goal"], row["commands"])
            split = checked_split(row.get("split", "train"))
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise ConfigurationError(
                f"line {number}: {line[:60]!r}: {error}; allowed is an object with `goal` and `commands`"
            ) from error
        found.append(
            (name, (Task(name=name, split=split, depth=crafting.book.depth(crafting.goal)), crafting))
        )
    if not found:
        raise ConfigurationError(f"commands {file}: the file has no line")
    return found


def _crafting(goal: Any, commands: Any) -> CraftingTask:
    recipes = parse_commands(commands if isinstance(commands, str) else "\n".join(commands))
    item = " ".join(str(goal).split()).lower()
    book = minecraft_book()
    if not set(recipes) <= set(book.recipes):
        book = RecipeBook(recipes)
    if item not in {recipe.output for recipe in recipes}:
        raise ConfigurationError(f"no command makes the goal {item[:60]!r}")
    num_turns(book, item)
    return CraftingTask(book, item, recipes)
