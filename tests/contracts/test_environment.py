"""What every environment promises. A new environment is done when its lines are here."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.action_format import ACTION_FORMATS, render
from common.errors import ConfigurationError
from envhub import registry
from envhub.environment import Environment, Episode, words
from envhub.task import SPLITS, Task

ENVIRONMENTS = registry.names()

# The names of the tasks never change: these are sha256 of all names of a split, one a line.
FROZEN = {
    "guess_number": {
        "train": "4f5935fe98cc4897e4d5b643b3b77c55ab4b85ac031714e9bd726d83a768c55c",
        "test": "1fbd3424c13c71e9807d77761f8cfae08faca0f9cb07c82c546c14f835e09c3d",
    },
    "textcraft": {
        "train": "52df9dbfd64982a8c3ce7eae0ed96b207cf44dcdba384149201f4b1a9721469b",
        "test": "4f1c9d5ed6dfa41fecdfcf079f05596dfa33f88a3eed1a9522abbafc17dc128a",
    },
    "textcraft_generated": {
        "train": "3714735cc7c216858be11f3863f2643bbe52276e27f1302b8c77291de2fb9ca8",
        "test": "2f6b73f693188dc6be14dd8a3de3bb8117edc51807c92a42939cc5f6546b0d9d",
    },
}
# What the first tasks of both splits show with seeds 0 and 1.
SHOWN = {
    "guess_number": "42762cd0027b0748ca389c20098d89df6dbc2d0fb34a92835ea3bbf7f9284b99",
    "textcraft": "aaf5799eea868f3285e5e681e5ebdfdcc8a2926fc2e79c9f71a5214883cfc8cf",
    "textcraft_generated": "7a767b08a5d9eed2f2787eb186007a871ea32e961579ee1130cc89cafc8b06f7",
}
MAX_PLAYED = 444
"""So many tasks of each split are played to the end: of the real TextCraft that is all of them."""


@pytest.fixture(params=ENVIRONMENTS)
def environment(request: pytest.FixtureRequest) -> Environment:
    return registry.environment(request.param)


@pytest.fixture(params=FROZEN)
def pinned(request: pytest.FixtureRequest) -> Environment:
    return registry.environment(request.param)


def names(environment: Environment, split: str) -> list[str]:
    return [task.name for task in environment.tasks(split)]


def played(environment: Environment) -> list[Task]:
    return [task for split in SPLITS for task in environment.tasks(split)[:MAX_PLAYED]]


def digest(lines: list[str]) -> str:
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def digest_of_what_is_shown(name: str) -> str:
    """Called in other processes too, under other hash seeds."""
    environment = registry.environment(name)
    shown = [
        environment.reset(task.name, seed).observation
        for split in SPLITS
        for task in environment.tasks(split)[:50]
        for seed in (0, 1)
    ]
    return digest(shown)


def win(episode: Episode, max_turns: int) -> int:
    for turn in range(1, max_turns + 1):
        result = episode.step(episode.expert().action)
        assert not result.is_malformed
        if result.is_terminated:
            assert result.is_success
            assert result.reward == 1.0
            return turn
    raise AssertionError(f"not won within {max_turns} turns: {episode.render()}")


def test_task_names_are_frozen(pinned: Environment) -> None:
    for split in SPLITS:
        assert digest(names(pinned, split)) == FROZEN[pinned.name][split]


def test_task_names_are_unique(environment: Environment) -> None:
    for split in SPLITS:
        assert len(set(names(environment, split))) == len(names(environment, split))


def test_splits_share_no_task(environment: Environment) -> None:
    assert not set(names(environment, "train")) & set(names(environment, "test"))


def test_a_task_is_found_by_its_name(environment: Environment) -> None:
    for task in played(environment):
        assert environment.task(task.name) == task


def test_an_unknown_task_is_a_clear_mistake(environment: Environment) -> None:
    for name in ("", "no such task", "d9-000001", "number-999", "textcraft_", "d2-00012\uff13"):
        with pytest.raises(ConfigurationError, match="no such task; one is '"):
            environment.reset(name, 0)


def test_episodes_look_the_same_in_every_process(pinned: Environment) -> None:
    assert digest_of_what_is_shown(pinned.name) == SHOWN[pinned.name]


@pytest.mark.parametrize("hash_seed", ["1", "4711"])
def test_episodes_do_not_depend_on_the_hash_seed(pinned: Environment, hash_seed: str) -> None:
    code = f"from tests.contracts.test_environment import {digest_of_what_is_shown.__name__} as shown"
    done = subprocess.run(
        [sys.executable, "-c", f"{code}; print(shown({pinned.name!r}))"],
        env={**os.environ, "PYTHONHASHSEED": hash_seed},
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == SHOWN[pinned.name]


def test_same_task_and_seed_are_the_same_episode(environment: Environment) -> None:
    for task in played(environment)[:20]:
        one, other = (environment.reset(task.name, 3) for _ in range(2))
        assert one.observation == other.observation
        for _ in range(environment.horizon):
            move = one.expert()
            assert other.expert() == move
            result = one.step(move.action)
            assert other.step(move.action) == result
            if result.is_terminated:
                break


def test_the_expert_wins_within_the_horizon(environment: Environment) -> None:
    for task in played(environment):
        win(environment.reset(task.name, 0), environment.horizon)


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_no_text_crashes_an_episode_and_the_expert_still_wins(data: st.DataObject) -> None:
    environment = registry.environment(data.draw(st.sampled_from(ENVIRONMENTS)))
    task = data.draw(st.sampled_from(environment.tasks("test")))
    episode = environment.reset(task.name, data.draw(st.integers(0, 5)))
    vocabulary = st.lists(st.sampled_from(environment.vocabulary()), max_size=12).map(" ".join)
    any_text = st.text(st.characters(exclude_categories=()), max_size=80)
    for _ in range(5):
        text = data.draw(any_text | vocabulary | st.sampled_from(episode.actions()))
        result = episode.step(text)
        result.observation.encode()
        assert result.observation == episode.observation
        if result.is_terminated:
            return
        assert result.reward == 0.0
        assert not result.is_success
    win(episode, 10 * environment.horizon)


def test_every_hint_is_an_action_of_the_grammar(environment: Environment) -> None:
    for task in played(environment)[:20]:
        for hint in environment.reset(task.name, 0).actions():
            assert not environment.reset(task.name, 0).step(hint).is_malformed


def test_after_termination_nothing_changes(environment: Environment) -> None:
    episode = environment.reset(environment.tasks("train")[0].name, 0)
    win(episode, environment.horizon)
    shown = episode.observation
    after = episode.step("anything")
    assert (after.observation, after.reward, after.is_terminated, after.is_success) == (
        shown,
        0.0,
        True,
        True,
    )


def test_the_vocabulary_has_every_word_that_can_be_said(environment: Environment) -> None:
    vocabulary = environment.vocabulary()
    assert list(vocabulary) == sorted(set(vocabulary))
    said: set[str] = set()
    for action_format in ACTION_FORMATS:
        said.update(words(environment.instructions(action_format)))
    for task in played(environment)[:300]:
        episode = environment.reset(task.name, 0)
        said.update(words(episode.observation))
        for _ in range(environment.horizon):
            move = episode.expert()
            result = episode.step(move.action)
            said.update(words(render(move.action, "react", move.thought)), words(result.observation))
            if result.is_terminated:
                break
    assert said <= set(vocabulary)


def test_every_prefix_of_a_split_has_all_its_depths(environment: Environment) -> None:
    for split in SPLITS:
        tasks = environment.tasks(split)
        assert {task.depth for task in tasks[:100]} == {task.depth for task in tasks}


def test_instructions_exist_for_every_format_and_no_other(environment: Environment) -> None:
    for action_format in ACTION_FORMATS:
        assert isinstance(environment.instructions(action_format), str)
    with pytest.raises(ConfigurationError, match="allowed are plain, react"):
        environment.instructions("code")


def test_rendering_shows_the_state_to_people(environment: Environment) -> None:
    episode = environment.reset(environment.tasks("train")[0].name, 0)
    assert episode.observation in episode.render()


def test_an_unknown_environment_is_answered_with_the_nearest_name() -> None:
    with pytest.raises(ConfigurationError, match="did you mean 'textcraft'"):
        registry.environment("textcrafft")
