"""Episodes of SciWorld in the real simulator."""

import itertools
from collections.abc import Iterator

import pytest

from envhub.environment import StepResult, words
from envhub.envs.sciworld.environment import SciWorld
from envhub.envs.sciworld.episode import MAX_HINTS, MAX_TURNS, SciWorldEpisode
from envhub.envs.sciworld.expert import gold_path
from envhub.envs.sciworld.freeze import kinds_of_the_simulator
from envhub.envs.sciworld.rooms import EXITS, room_of
from envhub.envs.sciworld.tasks import TABLE, kinds
from envhub.envs.sciworld.texts import FUNCTIONS

CHEAP = [
    "find-non-living-thing-var0",
    "chemistry-mix-paint-secondary-color-var1",
    "lifespan-longest-lived-then-shortest-lived-var0",
    "identify-life-stages-2-var1",
    "power-component-var0",
]


@pytest.fixture(scope="module")
def sciworld() -> SciWorld:
    return SciWorld()


@pytest.fixture
def episode(sciworld: SciWorld) -> Iterator[SciWorldEpisode]:
    episode = sciworld.reset("find-non-living-thing-var0", 0)
    yield episode
    episode.close()


def win(episode: SciWorldEpisode) -> tuple[StepResult, float]:
    total = 0.0
    for _ in range(MAX_TURNS):
        result = episode.step(episode.expert().action)
        total += result.reward
        if result.is_over:
            break
    return result, total


def test_the_frozen_table_is_that_of_the_simulator() -> None:
    frozen = [vars(kind) for kind in kinds().values()]
    assert frozen == kinds_of_the_simulator()
    assert "scienceworld 1.2.3" in TABLE.read_text()


@pytest.mark.parametrize("name", CHEAP)
def test_the_expert_reaches_100(sciworld: SciWorld, name: str) -> None:
    episode = sciworld.reset(name, 0)
    result, total = win(episode)
    assert (result.score, result.is_success, result.is_terminated) == (100, True, True)
    assert total == pytest.approx(1)
    after = episode.step("look around")
    assert (after.reward, after.observation, after.is_success) == (0, result.observation, True)
    episode.close()


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("kind", list(kinds()))
def test_the_expert_reaches_100_in_every_kind(sciworld: SciWorld, kind: str) -> None:
    episode = sciworld.reset(f"{kind}-var0", 0)
    assert win(episode)[0].score == 100
    episode.close()


def test_the_first_observation_is_the_task_and_a_look_around(episode: SciWorldEpisode) -> None:
    task, _, look = episode.observation.partition("\n")
    assert task.startswith("Your task is to find a(n) non-living thing.")
    assert room_of(look) in EXITS


def test_a_wrong_focus_loses_the_task_and_costs_as_much_as_success_brings(sciworld: SciWorld) -> None:
    episode = sciworld.reset("boil-var1", 0)
    result = episode.step("focus on bowl")
    assert (result.score, result.reward, result.is_terminated, result.is_success) == (-100, -1, True, False)
    episode.close()


@pytest.mark.parametrize(
    "text", ["", "\n", "dance", "\ud800 focus", "open " * 10_000, "\x00", "\uff10", "!c\\n"]
)
def test_what_is_no_action_is_answered_and_nothing_happens(episode: SciWorldEpisode, text: str) -> None:
    moves = episode.detail()["moves"]
    result = episode.step(text)
    assert result.is_malformed
    assert result.observation.isascii()
    assert episode.detail()["moves"] == moves


def test_a_number_answers_a_list_of_choices(sciworld: SciWorld) -> None:
    episode = sciworld.reset("boil-var7", 0)
    choices = episode.step("open door")
    assert choices.observation.startswith("Ambiguous request")
    assert episode.actions() == tuple(str(number) for number in range(6))
    assert not choices.is_malformed
    assert episode.step("3").observation == "The door is now open."
    episode.close()


@pytest.mark.parametrize("number", ["6", "-1", "99999999999", "one"])
def test_a_number_that_is_no_choice_does_no_harm(sciworld: SciWorld, number: str) -> None:
    episode = sciworld.reset("boil-var7", 0)
    episode.step("open door")
    assert not episode.step(number).is_over
    assert episode.step("inventory").observation.startswith("In your inventory")
    episode.close()


def test_every_hint_is_a_function_and_an_action(sciworld: SciWorld, episode: SciWorldEpisode) -> None:
    hints = episode.actions()
    assert 10 < len(hints) <= MAX_HINTS
    assert {FUNCTIONS.call(hint).function_name for hint in hints} >= {"open", "look_at", "focus_on"}
    for hint in hints:
        assert FUNCTIONS.action(FUNCTIONS.call(hint)) == hint
    for hint in hints[::9]:
        fresh = sciworld.reset("find-non-living-thing-var0", 0)
        assert not fresh.step(hint).is_malformed
        fresh.close()


def test_every_action_of_an_expert_is_a_function() -> None:
    for name in CHEAP:
        kind, _, variation = name.rpartition("-var")
        for action in gold_path(kind, int(variation)):
            assert FUNCTIONS.action(FUNCTIONS.call(action)) == action


def test_the_expert_finds_back_to_its_path(sciworld: SciWorld) -> None:
    episode = sciworld.reset("boil-var1", 0)
    for _ in range(6):
        episode.step(episode.expert().action)
    for action in ("nonsense", "open door to outside", "go outside", "close door to kitchen", "open door"):
        episode.step(action)
    assert win(episode)[0].is_success
    episode.close()


def test_an_episode_ends_after_its_limit_of_turns(episode: SciWorldEpisode) -> None:
    for _ in range(MAX_TURNS - 1):
        assert not episode.step("").is_over
    result = episode.step("")
    assert (result.is_truncated, result.is_terminated, result.is_success) == (True, False, False)
    assert episode.step("look around").is_malformed


def test_the_map_is_that_of_the_simulator(sciworld: SciWorld) -> None:
    episode = sciworld.reset("find-plant-var2", 0)
    seen = {}
    tour = [
        "hallway",
        "kitchen",
        "bathroom",
        "kitchen",
        "outside",
        "foundry",
        "outside",
        "greenhouse",
        "hallway",
    ]
    leaves = [room for room, exits in EXITS.items() if exits == ("hallway",)]
    for room in (*tour, *itertools.chain.from_iterable((leaf, "hallway") for leaf in leaves)):
        episode.step(f"open door to {room}")
        episode.step(f"go to {room}")
        look = episode.detail()["look"]
        doors = [line.split(" to the ")[1] for line in look.splitlines() if "A door to the " in line]
        seen[room_of(look)] = tuple(sorted(door.split(" (")[0] for door in doors))
    assert seen == EXITS
    episode.close()


def test_details_tell_what_agentgym_shows_and_no_answer(sciworld: SciWorld) -> None:
    episode = sciworld.reset("test-conductivity-of-unknown-substances-var0", 0)
    detail = episode.detail()
    assert {"possible_actions", "possible_objects", "goals", "object_tree", "inventory", "moves"} <= set(
        detail
    )
    assert detail["goals"].startswith("0 of ")
    assert "\n" not in detail["goals"]
    assert "onductiv" not in str(detail["object_tree"])
    assert sum(room["is_here"] for room in detail["rooms"]) == 1
    assert episode.observation in episode.render()
    episode.close()


def test_the_vocabulary_has_the_words_of_episodes(sciworld: SciWorld) -> None:
    said: set[str] = set()
    for name in CHEAP:
        episode = sciworld.reset(name, 0)
        said.update(words(episode.observation))
        for _ in range(sciworld.horizon):
            move = episode.expert()
            result = episode.step(move.action)
            said.update(words(move.action), words(move.thought), words(result.observation))
            if result.is_over:
                break
        episode.close()
    assert said <= set(sciworld.vocabulary())


def test_what_is_no_action_is_never_paid(sciworld: SciWorld) -> None:
    """Some tasks are scored above 0 before anything was done."""
    episode = sciworld.reset("find-living-thing-var2", 0)
    try:
        results = [episode.step("sing a song"), episode.step("look around")]
    finally:
        episode.close()
    assert [(r.is_malformed, r.reward > 0) for r in results] == [(True, False), (False, True)]
