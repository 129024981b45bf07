"""The original's folder, ids and numbers; the folder is written here, from generated games."""

import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from common.errors import ConfigurationError
from envhub.envs.alfworld.environment import AlfWorld, AlfWorldTextWorld
from envhub.envs.alfworld.game import GameFile
from envhub.envs.alfworld.generator import generate
from envhub.envs.alfworld.originals import DATA, MAPPINGS
from envhub.envs.alfworld.problem import write

pytestmark = pytest.mark.skipif(find_spec("alfworld") is None, reason="alfworld is not installed")
HEAT = "pick_heat_then_place_in_recep-Mug-None-Cabinet-12/trial_T20190907_000000_000007"
LOOK = "look_at_obj_in_light-Pen-None-DeskLamp-304/trial_T20190908_000000_000304"
PLACE = "pick_and_place_simple-Pen-None-Drawer-304/trial_T20190909_000000_043461"
OLD = "pick_two_obj_and_place-Pen-None-Drawer-304/trial_T20190910_000000_000001"
OTHER = "pick_two_obj_and_place-Pen-None-Drawer-304/trial_T20190910_000000_000002"
BROKEN = "pick_two_obj_and_place-Pen-None-Drawer-304/trial_T20190910_000000_000003"
needs_textworld = pytest.mark.skipif(find_spec("textworld") is None, reason="no textworld")


def put(root: Path, split: str, name: str, data: dict[str, Any]) -> Path:
    folder = root / "json_2.1.1" / split / name
    folder.mkdir(parents=True)
    (folder / "game.tw-pddl").write_text(json.dumps(data))
    return folder


def old_fashioned(file: GameFile) -> dict[str, Any]:
    """The same game in the words of older releases."""
    data = file.tw_pddl()
    grammar = data["grammar"].replace("move {o} to {r}", "put {o} in/on {r}")
    grammar = grammar.replace(
        "You move the {o.name} to the {r.name}.", "You put the {o.name} in/on the {r.name}."
    )
    return {**data, "grammar": grammar.replace("You arrive at {r.name}.", "You arrive at {lend.name}.")}


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a user who has the original's games."""
    monkeypatch.setenv(DATA, str(tmp_path))
    monkeypatch.delenv(MAPPINGS, raising=False)
    put(tmp_path, "train", HEAT, generate("pick_heat_then_place_in_recep", "FloorPlan12", 7).tw_pddl())
    put(tmp_path, "valid_unseen", LOOK, generate("look_at_obj_in_light", "FloorPlan304", 1).tw_pddl())
    two = generate("pick_two_obj_and_place", "FloorPlan304", 1)
    put(tmp_path, "train", OLD, old_fashioned(two))
    changed = two.tw_pddl()["pddl_domain"].replace("(cleanable ?o)", "(pickupable ?o)")
    put(tmp_path, "train", OTHER, {**two.tw_pddl(), "pddl_domain": changed})
    put(tmp_path, "train", BROKEN, {"grammar": ""})
    place = generate("pick_and_place_simple", "FloorPlan304", 2)
    folder = put(tmp_path, "valid_train", PLACE, {})
    (folder / "game.tw-pddl").unlink()
    (folder / "initial_state.pddl").write_text(write(place.problem))
    wanted = {"object_target": "Pen", "parent_target": "Drawer", "toggle_target": "", "mrecep_target": ""}
    (folder / "traj_data.json").write_text(json.dumps({"pddl_params": wanted}))
    return tmp_path


def numbers(folder: Path) -> None:
    """AgentGym's two files."""
    for file, names, first in (("train", [HEAT, OLD], 0), ("test", [LOOK, PLACE], 2420)):
        items = [
            {"item_id": first + i, "task_type": name.split("/")[0], "task_id": name.split("/")[1]}
            for i, name in enumerate(names)
        ]
        (folder / f"mappings_{file}.json").write_text(json.dumps(items))


def win(environment: AlfWorld, name: str) -> list[str]:
    episode = environment.reset(name, 0)
    shown = [episode.observation]
    for _ in range(30):
        result = episode.step(episode.expert().action)
        shown.append(result.observation)
        if result.is_over:
            break
    assert result.is_success
    return shown


@pytest.mark.parametrize("name", [HEAT, LOOK, PLACE])
def test_the_originals_games_are_played_by_their_ids(data: Path, name: str) -> None:
    environment = AlfWorld()
    for spelled in (name, name.replace("/", "_")):
        assert environment.task(spelled).name == name
    assert "Your task is to: " in win(environment, name.replace("/", "_"))[0]
    assert environment.reset(name, 0).detail()["task_type"] == name


def test_the_type_alone_finds_a_trial(data: Path) -> None:
    assert AlfWorld().task("pick_heat_then_place_in_recep_trial_T20190907_000000_000007").name == HEAT


def test_the_split_is_the_folder(data: Path) -> None:
    assert [AlfWorld().task(name).split for name in (HEAT, PLACE, LOOK)] == ["train", "test", "unseen"]


def test_a_game_without_text_is_told_in_the_packages_words(data: Path) -> None:
    shown = win(AlfWorld(), PLACE)[0]
    assert shown.endswith(("put a pen in drawer.", "put some pen on drawer."))


def test_older_words_are_kept_and_every_way_of_putting_works(data: Path) -> None:
    shown = win(AlfWorld(), OLD)
    assert shown[-1].startswith("You put the ")
    assert " in/on the " in shown[-1]
    assert shown[1].startswith("You arrive at loc ")


@needs_textworld
def test_the_real_engine_says_the_same_in_older_words(data: Path) -> None:
    assert win(AlfWorldTextWorld(), OLD) == win(AlfWorld(), OLD)


def test_a_game_with_other_rules_is_left_to_the_real_engine(data: Path) -> None:
    with pytest.raises(ConfigurationError, match="use the environment alfworld_textworld"):
        AlfWorld().reset(OTHER, 0)


def test_a_broken_game_is_a_clear_mistake_that_names_no_path(data: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot be played: the game lacks"):
        AlfWorld().reset(BROKEN, 0)
    (data / "json_2.1.1" / "train" / BROKEN / "game.tw-pddl").unlink()
    with pytest.raises(ConfigurationError, match="cannot be read: No such file") as caught:
        AlfWorld().reset(BROKEN, 0)
    assert str(data) not in str(caught.value)


@pytest.mark.parametrize("is_beside", [True, False])
def test_agentgyms_numbers_mean_the_originals_games(
    data: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch, is_beside: bool
) -> None:
    folder = data if is_beside else tmp_path_factory.mktemp("mappings")
    numbers(folder)
    if not is_beside:
        monkeypatch.setenv(MAPPINGS, str(folder))
    environment = AlfWorld()
    assert [environment.indexed(index).name for index in (0, 1, 2420, 2421)] == [HEAT, OLD, LOOK, PLACE]
    assert environment.task("alfworld_2421").name == PLACE
    assert "numbers mean the original's games" in environment.source
    with pytest.raises(ConfigurationError, match="index = 7: the mappings have numbers from 0 to 2421"):
        environment.indexed(7)


def test_without_mappings_numbers_mean_generated_games(data: Path) -> None:
    environment = AlfWorld()
    assert environment.indexed(0) == environment.tasks("train")[0]
    assert "numbers mean generated games" in environment.source


@pytest.mark.parametrize(
    "name",
    [
        "pick_heat_then_place_in_recep-../../trial_T1",
        "pick_heat_then_place_in_recep-*/trial_T20190907_000000_000007",
        HEAT[:-1],
        f"{HEAT}/",
        HEAT.upper(),
    ],
)
def test_no_other_name_reaches_a_file(data: Path, name: str) -> None:
    with pytest.raises(ConfigurationError, match="no such task; one is '"):
        AlfWorld().task(name)


def test_the_frozen_lists_do_not_depend_on_the_folder(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    listed = AlfWorld().tasks("train")
    monkeypatch.delenv(DATA)
    assert AlfWorld().tasks("train") == listed
