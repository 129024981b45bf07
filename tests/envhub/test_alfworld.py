"""ALFWorld on the native engine: tasks, grammar, rewards, expert."""

import hashlib
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from random import Random

import pytest

from common.action_format import ACTION_FORMATS
from common.errors import ConfigurationError, PreflightError
from envhub.environment import Episode, StepResult, words
from envhub.envs.alfworld import package, scenes, sights
from envhub.envs.alfworld.commands import command
from envhub.envs.alfworld.environment import AlfWorld
from envhub.envs.alfworld.episode import MAX_TURNS, REFUSAL
from envhub.envs.alfworld.game import GameFile
from envhub.envs.alfworld.generator import KINDS, generate, targets
from envhub.envs.alfworld.goal import is_met
from envhub.envs.alfworld.problem import expression, read, write
from envhub.envs.alfworld.world import numbered, world_of
from envhub.task import SPLITS, Split, checked_split

pytestmark = pytest.mark.skipif(find_spec("alfworld") is None, reason="alfworld is not installed")
HEAT = "pick_heat_then_place_in_recep-FloorPlan12-0007"
LOOK = "look_at_obj_in_light-FloorPlan304-0001"
FROZEN = {
    "train": "b110f3b2d4ed1b71b1ba8808c4fc14ed1f22fe657f63277a3dd8bf766dc72c3d",
    "test": "7bd690b3435d4e1054997985aa5aa721cd0a7d4da53ce699aed6b8e3904772a0",
    "unseen": "ecef3ef6067dedfc0aabfdfad92278f2fd9d7308910383d9a6f3aa708a55add1",
}
SHOWN = "ad112df395d2b5994c14c17399814e219763951a7b5728f30620e0e1a67b24f4"
NUM_PLAYED = 40
"""Tasks of each split that the expert plays to the end."""


@pytest.fixture(scope="module")
def environment() -> AlfWorld:
    return AlfWorld()


def digest(lines: list[str]) -> str:
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def digest_of_what_is_shown() -> str:
    """Called in other processes too, under other hash seeds."""
    environment = AlfWorld()
    shown = []
    for split in SPLITS:
        for task in environment.tasks(checked_split(split))[:12]:
            episode = environment.reset(task.name, 0)
            for _ in range(4):
                shown += [episode.observation, episode.render(), *episode.actions()]
                episode.step(episode.expert().action)
    return digest(shown)


def win(episode: Episode, max_turns: int = MAX_TURNS) -> StepResult:
    for _ in range(max_turns):
        move = episode.expert()
        assert move.action in episode.actions()
        result = episode.step(move.action)
        if result.is_over:
            assert result.is_success
            assert result.reward == 1.0
            return result
    raise AssertionError(episode.render())


def test_task_names_are_frozen(environment: AlfWorld) -> None:
    for split, expected in FROZEN.items():
        assert digest([task.name for task in environment.tasks(checked_split(split))]) == expected


@pytest.mark.parametrize("hash_seed", ["1", "4711"])
def test_episodes_are_the_same_in_every_process(hash_seed: str) -> None:
    code = (
        f"from tests.envhub.test_alfworld import {digest_of_what_is_shown.__name__} as shown; print(shown())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONHASHSEED": hash_seed},
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == SHOWN


def test_unseen_tasks_are_in_rooms_of_no_other_task(environment: AlfWorld) -> None:
    def rooms(split: Split) -> set[str]:
        return {task.name.split("-")[1] for task in environment.tasks(checked_split(split))}

    assert rooms("test") <= rooms("train")
    assert not rooms("unseen") & (rooms("train") | rooms("test"))


def test_every_prefix_has_all_kinds(environment: AlfWorld) -> None:
    for split in SPLITS:
        assert {task.kind for task in environment.tasks(checked_split(split))[:60]} == set(KINDS)


def test_agentgyms_numbers_are_training_games_and_then_test_games(environment: AlfWorld) -> None:
    assert environment.indexed(0) == environment.tasks("train")[0]
    assert environment.indexed(2419) == environment.tasks("train")[-1]
    assert environment.indexed(2420) == environment.tasks("test")[0]
    assert environment.task("alfworld_2619") == environment.tasks("test")[-1]
    assert "generated games" in environment.source
    for index in (-1, 2620):
        with pytest.raises(ConfigurationError, match="0 to 2619"):
            environment.indexed(index)


def test_games_that_no_split_lists_have_names_too(environment: AlfWorld) -> None:
    name = "pick_and_place_simple-FloorPlan401-4321"
    assert environment.task(name).split == "unseen"
    assert win(environment.reset(name, 0)).is_success
    for wrong in (
        "look_at_obj_in_light-FloorPlan12-0001",
        "pick_and_place_simple-FloorPlan99-0001",
        HEAT[:-1],
    ):
        with pytest.raises(ConfigurationError, match="no such task; one is '"):
            environment.task(wrong)


@pytest.mark.parametrize("split", ["train", "test", "unseen"])
def test_the_expert_wins_every_generated_game(environment: AlfWorld, split: str) -> None:
    for task in environment.tasks(checked_split(split))[:NUM_PLAYED]:
        win(environment.reset(task.name, 0))


def test_the_expert_wins_after_wandering(environment: AlfWorld) -> None:
    random = Random(7)
    for task in environment.tasks("train")[:NUM_PLAYED]:
        episode = environment.reset(task.name, 0)
        for _ in range(25):
            if episode.step(random.choice(episode.actions())).is_over:
                break
        else:
            win(episode)


def test_the_expert_needs_few_turns(environment: AlfWorld) -> None:
    for task in environment.tasks("unseen")[:NUM_PLAYED]:
        win(environment.reset(task.name, 0), max_turns=12)


def test_every_action_fits_a_function(environment: AlfWorld) -> None:
    for task in environment.tasks("test")[:12]:
        episode = environment.reset(task.name, 0)
        for _ in range(6):
            for action in episode.actions():
                assert environment.functions.action(environment.functions.call(action)) == action
            episode.step(episode.expert().action)


def test_the_first_observation_has_no_banner_and_tells_the_task(environment: AlfWorld) -> None:
    shown = environment.reset(HEAT, 0).observation
    assert shown.startswith(
        "You are in the middle of a room. Looking quickly around you, you see a cabinet 15, a"
    )
    assert "\n\nYour task is to: " in shown


@pytest.mark.parametrize(
    "put", ["move {} to {}", "put {} in/on {}", "put {} in {}", "put {} on {}", "  PUT {}  into {} "]
)
def test_things_are_put_down_in_both_grammars(environment: AlfWorld, put: str) -> None:
    episode = environment.reset(LOOK, 0)
    while not (held := episode.detail()["holding"]):
        episode.step(episode.expert().action)
    place = episode.detail()["location"][0]
    assert episode.step(put.format(held[0], place)).observation == f"You move the {held[0]} to the {place}."
    assert episode.detail()["holding"] == []


def test_a_lamp_is_used_or_toggled(environment: AlfWorld) -> None:
    assert command("toggle desklamp 1") == command("Use  desklamp 1")
    assert command("put mug 1 in/on desk 2") == command("move mug 1 to desk 2")


def test_nothing_that_follows_an_action_is_overlooked() -> None:
    assert command("look" + " " * 300) == command("look")
    assert command("look" + " " * 300 + "and open fridge 1") is None


def test_whose_sentences_are_said_is_told(environment: AlfWorld) -> None:
    assert "sentences of alfworld 0.4.2 (MIT)" in environment.source
    assert "MIT License, Copyright (c) 2020" in str(sights.__doc__)


@pytest.mark.parametrize(
    "text", ["", "fly to desk 1", "go to", "\ud800", "x" * 100_000, "go to desk 1\nlook", "看"]
)
def test_what_is_no_action_is_refused_and_counts_as_a_turn(environment: AlfWorld, text: str) -> None:
    episode = environment.reset(LOOK, 0)
    before = episode.detail()["location"]
    result = episode.step(text)
    assert (result.observation, result.is_malformed, result.reward) == (REFUSAL, True, 0.0)
    assert episode.detail()["turn"] == 1
    assert episode.detail()["location"] == before


def test_what_is_impossible_changes_nothing(environment: AlfWorld) -> None:
    episode = environment.reset(LOOK, 0)
    for text in ("go to fridge 77", "take pen 1 from desk 1", "heat pen 1 with microwave 1", "open desk 1"):
        result = episode.step(text)
        assert (result.observation, result.is_malformed) == ("Nothing happens.", False)


def test_an_episode_is_cut_after_the_originals_limit(environment: AlfWorld) -> None:
    episode = environment.reset(HEAT, 0)
    results = [episode.step("look") for _ in range(MAX_TURNS)]
    assert [result.is_truncated for result in results] == [False] * (MAX_TURNS - 1) + [True]
    after = episode.step("inventory")
    assert after.observation == results[-1].observation
    assert (after.is_truncated, after.is_success, after.reward) == (True, False, 0.0)
    assert episode.actions() == ()


def test_after_the_end_nothing_changes(environment: AlfWorld) -> None:
    episode = environment.reset(LOOK, 0)
    result = win(episode)
    after = episode.step("look")
    assert after == result.model_copy(update={"reward": 0.0})


def test_detail_tells_only_what_was_seen(environment: AlfWorld) -> None:
    episode = environment.reset(HEAT, 0)
    assert all(place["contents"] is None for place in episode.detail()["receptacles"])
    episode.step("go to countertop 1")
    detail = episode.detail()
    known = [place["name"] for place in detail["receptacles"] if place["contents"] is not None]
    assert known == detail["location"] == ["countertop 1"]
    assert detail["task_type"] == "pick_heat_then_place_in_recep/FloorPlan12-0007"
    assert detail["available_actions"] == list(episode.actions())


def test_the_vocabulary_has_every_word_that_can_be_said(environment: AlfWorld) -> None:
    vocabulary = set(environment.vocabulary())
    for action_format in ACTION_FORMATS:
        assert set(words(environment.instructions(action_format))) <= vocabulary
    for task in environment.tasks("train")[:60]:
        episode = environment.reset(task.name, 0)
        while True:
            move = episode.expert()
            said = " ".join((episode.observation, move.action, move.thought, *episode.actions()))
            assert set(words(said)) <= vocabulary
            if episode.step(move.action).is_over:
                break


def test_a_problem_survives_being_written(environment: AlfWorld) -> None:
    file: GameFile = generate("pick_two_obj_and_place", "FloorPlan219", 3)
    assert read(write(file.problem)) == file.problem
    assert world_of(read(write(file.problem))) == file.world


def test_no_game_is_won_before_it_begins(environment: AlfWorld) -> None:
    for task in environment.tasks("test"):
        assert environment.reset(task.name, 0).expert().action != "look"


def test_every_room_has_tasks_and_every_kind_many_rooms() -> None:
    possible = {kind: [name for name in scenes.names() if targets(kind, name)] for kind in KINDS}
    assert min(map(len, possible.values())) >= 27
    assert set().union(*possible.values()) == set(scenes.names())


def test_names_are_counted_downwards() -> None:
    named = numbered(["mug_bar_1", "mug_bar_2", "sink_bar_1_bar_sinkbasin", "agent1"])
    assert named == {"mug_bar_1": "mug 2", "mug_bar_2": "mug 1", "sink_bar_1_bar_sinkbasin": "sinkbasin 1"}


def test_goals_may_use_every_quantifier() -> None:
    facts: dict[str, set[tuple[str, ...]]] = {"object": {("a",), ("b",)}, "red": {("a",)}, "on": {("a", "b")}}

    def holds(text: str) -> bool:
        return is_met(expression(text), lambda predicate: facts[predicate])

    assert holds("(exists (?x ?y - object) (and (on ?x ?y) (not (= ?x ?y)) (red ?x)))")
    assert not holds("(exists (?x - object) (on ?x ?x))")
    assert not holds("(forall (?x - object) (red ?x))")
    assert holds("(forall (?x - object) (or (red ?x) (exists (?y - object) (on ?y ?x))))")


def test_without_the_package_the_command_that_helps_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(package, "VERSION", "9.9.9")
    with pytest.raises(
        PreflightError,
        match=r"alfworld is 0\.4\.2; the tasks are those of 9\.9\.9; run: pip install --no-deps ",
    ):
        AlfWorld()
