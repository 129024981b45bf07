"""The rules: an action and an inventory give a reply and the next inventory. Pure functions."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from envhub.envs.textcraft.recipes import Ingredient, Recipe, RecipeBook
from envhub.sendable import sendable

MAX_AMOUNT = 999
"""The most pieces of one item that `get` lets an inventory hold."""
MAX_ECHO = 60
"""A refused action is repeated in the reply up to so many characters."""

Inventory = Mapping[str, int]

_GET = re.compile(r"get ([0-9]{1,6}) (.+)")
_CRAFT = re.compile(r"craft (?:([0-9]{1,6}) )?(.+?) using (.+)")
_AMOUNT = re.compile(r"([0-9]{1,6}) (.+)")


@dataclass(frozen=True)
class Reply:
    """What happened: the text shown, the inventory afterwards, and what was crafted ("" when nothing was)."""

    text: str
    inventory: Inventory
    crafted: str = ""
    is_malformed: bool = False


def play(book: RecipeBook, inventory: Inventory, action: str, max_amount: int = MAX_AMOUNT) -> Reply:
    """Apply `get N item`, `craft N item using N a, N b` or `inventory`; any other text is malformed.

    Never raises for what a policy wrote and never changes its arguments. A craft must name the amounts of
    one recipe exactly; the number before the output is not compared, the recipe's own is what is made.
    """
    text = " ".join(sendable(action).split()).lower()
    if text == "inventory":
        return Reply(describe(inventory), inventory)
    if match := _GET.fullmatch(text):
        return _get(book, inventory, int(match[1]), match[2], max_amount)
    if match := _CRAFT.fullmatch(text):
        parts = _amounts(match[3])
        if parts is not None:
            return _craft(book, inventory, match[2], parts)
    return Reply(f"Could not execute {_echo(text)}".rstrip(), inventory, is_malformed=True)


def describe(inventory: Inventory) -> str:
    """The inventory as the game shows it."""
    held = " ".join(f"[{item}] ({count})" for item, count in inventory.items())
    return f"Inventory: {held or 'You are not carrying anything.'}"


def match_recipe(book: RecipeBook, output: str, parts: tuple[Ingredient, ...]) -> Recipe | None:
    """The recipe for `output` that uses exactly `parts`, each a concrete item; None when there is none."""
    for recipe in book.by_output.get(output, ()):
        if len(recipe.ingredients) == len(parts) and _fits(book, recipe.ingredients, parts):
            return recipe
    return None


def _get(book: RecipeBook, inventory: Inventory, count: int, item: str, max_amount: int) -> Reply:
    held = inventory.get(item, 0)
    if item not in book.fetchable or not 1 <= count <= max_amount - held:
        return Reply(f"Could not find {_echo(item)}", inventory)
    return Reply(f"Got {count} {item}", {**inventory, item: held + count})


def _craft(book: RecipeBook, inventory: Inventory, output: str, parts: tuple[Ingredient, ...]) -> Reply:
    if any(inventory.get(part.name, 0) < part.count for part in parts):
        return Reply(f"Could not find enough items to craft {_echo(output)}", inventory)
    recipe = match_recipe(book, output, parts)
    if recipe is None:
        return Reply(f"Could not find a valid recipe for {_echo(output)}", inventory)
    after = dict(inventory)
    for part in parts:
        after[part.name] -= part.count
        if after[part.name] == 0:
            del after[part.name]
    after[output] = after.get(output, 0) + recipe.count
    shown = book.prefix + (output.replace(" ", "_") if book.prefix else output)
    return Reply(f"Crafted {recipe.count} {shown}", after, crafted=output)


def _echo(text: str) -> str:
    """The text, or as many of its first words as `MAX_ECHO` characters hold: a word is never cut."""
    return text if len(text) <= MAX_ECHO else text[: MAX_ECHO + 1].rpartition(" ")[0]


def _amounts(text: str) -> tuple[Ingredient, ...] | None:
    """`2 a, 1 b` as ingredients, repeated names added up; None when a part is not a number and a name."""
    counts: dict[str, int] = {}
    for piece in text.split(","):
        match = _AMOUNT.fullmatch(piece.strip())
        if match is None or int(match[1]) < 1:
            return None
        counts[match[2]] = counts.get(match[2], 0) + int(match[1])
    return tuple(Ingredient(name, count) for name, count in counts.items())


def _fits(book: RecipeBook, wanted: tuple[Ingredient, ...], given: tuple[Ingredient, ...]) -> bool:
    """Whether the given items can be assigned one to one to the wanted ingredients, groups included."""
    if not wanted:
        return not given
    first, *rest = wanted
    return any(
        part.count == first.count
        and (part.name == first.name or part.name in book.members(first.name))
        and _fits(book, tuple(rest), given[:index] + given[index + 1 :])
        for index, part in enumerate(given)
    )
