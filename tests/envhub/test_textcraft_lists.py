"""Recipes of a person's own that would harm: doubled, endless, bottomless."""

import json
from pathlib import Path

import pytest

from common.errors import ConfigurationError
from envhub.envs.textcraft.environment import TextCraft
from envhub.envs.textcraft.expert import MAX_TURNS
from envhub.envs.textcraft.lists import ListedTextCraft, parse_commands
from envhub.envs.textcraft.recipes import MAX_LAYERS, Ingredient


def chain(length: int, each: int) -> str:
    """Commands that lead from `item0` to `item<length>`, each taking so many of the one before."""
    return "\n".join(f"craft 1 item{n + 1} using {each} item{n}" for n in range(length))


def listed(folder: Path, *rows: object) -> ListedTextCraft:
    file = folder / "lists.jsonl"
    file.write_text("".join(f"{row if isinstance(row, str) else json.dumps(row)}\n" for row in rows))
    return ListedTextCraft(str(file))


def test_an_ingredient_that_is_named_twice_is_added_up(tmp_path: Path) -> None:
    (recipe,) = parse_commands("craft 1 x using 1 b, 2 c, 1 b")
    assert recipe.ingredients == (Ingredient("b", 2), Ingredient("c", 2))
    environment = listed(tmp_path, {"goal": "x", "commands": "craft 1 x using 1 b, 1 b"})
    episode = environment.reset("list-000000", 0)
    results = [episode.step(episode.expert().action) for _ in range(2)]
    assert results[-1].is_success


@pytest.mark.parametrize(
    ("length", "each", "why"),
    [
        (1200, 1, f"more than {MAX_LAYERS} layers of recipes"),
        (30, 2, f"a goal takes more than {MAX_TURNS} turns|are needed at once; allowed are 999"),
        (3, 11, "1331 item0 are needed at once; allowed are 999"),
        (9, 2, f"a goal takes more than {MAX_TURNS} turns"),
    ],
)
def test_a_goal_that_nobody_can_make_is_refused_with_its_line(
    length: int, each: int, why: str, tmp_path: Path
) -> None:
    good = {"goal": "item1", "commands": chain(1, 1)}
    with pytest.raises(ConfigurationError, match=f"line 2: .*({why})"):
        listed(tmp_path, good, {"goal": f"item{length}", "commands": chain(length, each)})


def test_the_longest_chain_is_played_to_its_end(tmp_path: Path) -> None:
    commands = chain(MAX_LAYERS - 1, 1)
    environment = listed(tmp_path, {"goal": f"item{MAX_LAYERS - 1}", "commands": commands})
    episode = environment.reset("list-000000", 0)
    results = [episode.step(episode.expert().action) for _ in range(MAX_LAYERS)]
    assert results[-1].is_success
    assert environment.horizon == 2 * MAX_LAYERS


def test_json_of_any_depth_is_refused_with_its_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"line 1: .*allowed is an object"):
        listed(tmp_path, "[" * 100_000)
    (tmp_path / "recipes").mkdir()
    (tmp_path / "recipes" / "deep.json").write_text("[" * 100_000)
    with pytest.raises(ConfigurationError, match=r"recipe deep\.json: not in the form"):
        TextCraft(str(tmp_path))


def test_a_folder_of_bottomless_recipes_is_refused(tmp_path: Path) -> None:
    for n in range(MAX_LAYERS + 9):
        recipe = {
            "type": "minecraft:crafting_shapeless",
            "ingredients": [f"item{n}"],
            "result": f"item{n + 1}",
        }
        (tmp_path / f"{n:03d}.json").write_text(json.dumps(recipe))
    with pytest.raises(ConfigurationError, match=f"more than {MAX_LAYERS} layers"):
        TextCraft(str(tmp_path))


def test_the_source_names_every_licence() -> None:
    assert "MIT declared" in TextCraft().source
    assert "Mojang" in TextCraft().source
