"""Generated recipe worlds."""

import pytest

from common.action_format import malformed_reply
from envhub import registry
from envhub.environment import words
from envhub.envs.textcraft.texts import RULES, SHORT_RULES, TEMPLATES, instructions
from envhub.envs.textcraft.worlds import MAX_DEPTH, NUM_DISTRACTORS, WORDS, make_world
from envhub.task import Task


@pytest.mark.parametrize("depth", range(1, MAX_DEPTH + 1))
def test_a_goal_has_exactly_the_depth_that_its_task_says(depth: int) -> None:
    for number in range(200):
        world = make_world(depth, number)
        assert world.book.depth(world.goal) == depth


def test_every_world_has_distractors_that_the_goal_does_not_need() -> None:
    for number in range(200):
        world = make_world(3, number)
        extra = len(world.order) - len(world.book.closure(world.goal))
        assert NUM_DISTRACTORS[0] <= extra <= NUM_DISTRACTORS[1]


def test_every_item_is_one_word_and_no_word_of_the_templates() -> None:
    assert len(set(WORDS)) == len(WORDS)
    assert all(word.isalpha() and word.islower() for word in WORDS)
    said = set(words(TEMPLATES))
    for action_format in ("plain", "react"):
        for rules in (RULES, SHORT_RULES):
            said.update(words(instructions(rules, action_format)), words(malformed_reply(action_format)))
    assert not set(WORDS) & {word.lower() for word in said}


def test_an_item_is_made_by_at_most_one_recipe() -> None:
    for number in range(200):
        assert all(len(recipes) == 1 for recipes in make_world(4, number).book.by_output.values())


def test_the_task_alone_determines_the_world() -> None:
    environment = registry.environment("textcraft_generated")
    shown = {environment.reset("d2-000123", seed).observation for seed in range(5)}
    assert len(shown) == 1
    assert len({environment.reset(f"d2-{n:06d}", 0).observation for n in range(200)}) == 200


def test_train_and_test_draw_from_disjoint_numbers() -> None:
    environment = registry.environment("textcraft_generated")
    assert environment.task("d1-899999") == Task(name="d1-899999", split="train", depth=1)
    assert environment.task("d1-900000") == Task(name="d1-900000", split="test", depth=1)
    for split in ("train", "test"):
        assert {task.split for task in environment.tasks(split)} == {split}  # type: ignore[arg-type]
