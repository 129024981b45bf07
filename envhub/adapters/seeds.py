"""Tasks of environments that know seeds alone: `seed-000123` is the reset with seed 123."""

import re
from functools import cache

from envhub.environment import unknown_task
from envhub.task import Split, Task

NUM_TRAIN = 1000
NUM_TEST = 200
HIGHEST_SEED = 2**31 - 1

_NAME = re.compile(r"seed-([0-9]{6,10})")


def seed_name(seed: int) -> str:
    """The task's name."""
    return f"seed-{seed:06d}"


@cache
def seed_tasks(split: Split) -> tuple[Task, ...]:
    """Seeds 0 to 999 to train, 1000 to 1199 to test; a generator's seeds are a fair sample in any order."""
    seeds = {"train": range(NUM_TRAIN), "test": range(NUM_TRAIN, NUM_TRAIN + NUM_TEST)}.get(split, range(0))
    return tuple(Task(name=seed_name(seed), split=split) for seed in seeds)


def seed_of(environment: str, name: str) -> int:
    """The seed that a task's name means; ConfigurationError when it means none."""
    match = _NAME.fullmatch(name)
    seed = int(match[1]) if match else -1
    if not match or seed > HIGHEST_SEED or seed_name(seed) != name:
        raise unknown_task(environment, name, seed_name(0))
    return seed


def seed_task(environment: str, name: str) -> Task:
    """The task of that name; seeds that no split lists are training tasks."""
    seed = seed_of(environment, name)
    is_test = NUM_TRAIN <= seed < NUM_TRAIN + NUM_TEST
    return Task(name=name, split="test" if is_test else "train")
