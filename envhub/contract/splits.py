"""The promise that no split lists a task of another under another name."""

from collections.abc import Callable
from functools import cache

from envhub.contract.play import Play, play
from envhub.contract.subject import Subject
from envhub.environment import Environment
from envhub.task import SPLITS, Task, checked_split

Look = tuple[str, str]
NUM_SEEDS = 12
"""With so many, what chance makes alike is different once."""


def splits_share_no_task_under_another_name(subject: Subject) -> None:
    """A task of one split opens, looks or goes on differently from every task of another.

    Tasks that look alike at first, since something is hidden, are told apart by how they are played with
    some seeds.
    """
    environment = subject.environment
    played = cache(lambda name, seed: play(environment, name, seed))
    known: dict[Look, list[Task]] = {}
    for split in SPLITS:
        first = environment.tasks(checked_split(split))[: subject.num_compared]
        tasks = [task for task in first if task.kind not in subject.alike]
        looks = [_look(environment, task) for task in tasks]
        for task, look in zip(tasks, looks, strict=True):
            twin = next((other for other in known.get(look, ()) if _is_same(played, task, other)), task)
            subject.require(twin == task, f"{task.name} of {split} is {twin.name} of {twin.split}")
        for task, look in zip(tasks, looks, strict=True):
            known.setdefault(look, []).append(task)


def _look(environment: Environment, task: Task) -> Look:
    """How it begins, for the policy and for people."""
    episode = environment.reset(task.name, 0)
    look = episode.observation, episode.render()
    episode.close()
    return look


def _is_same(played: Callable[[str, int], Play], task: Task, other: Task) -> bool:
    """With every seed, both open alike and go on alike to the same end."""
    return all(
        _shown(played(task.name, seed)) == _shown(played(other.name, seed)) for seed in range(NUM_SEEDS)
    )


def _shown(made: Play) -> tuple[object, ...]:
    return made.opening, made.results, made.views
