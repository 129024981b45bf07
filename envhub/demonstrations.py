"""Expert demonstrations: the expert plays, its texts are kept in AgentTraj form."""

from collections.abc import Iterable, Iterator
from pathlib import Path

from common import agenttraj
from common.action_format import render
from common.errors import EnvironmentFault
from envhub import registry
from envhub.environment import Environment
from envhub.task import Task

MAX_TURNS = 1000
"""An expert that has not succeeded by then never will."""


def write_demonstrations(
    environment: str, tasks: Iterable[Task | str], action_format: str, path: Path, seed: int = 0
) -> int:
    """Play every task to success and write a row for each, the task's name as `item_id`; how many.

    `react` rows carry the expert's thoughts. EnvironmentFault when the expert fails: nothing is written.
    """
    found = registry.environment(environment)
    names = (task if isinstance(task, str) else task.name for task in tasks)
    return agenttraj.write(path, [_demonstrate(found, name, action_format, seed) for name in names])


def _demonstrate(
    environment: Environment, task: str, action_format: str, seed: int
) -> agenttraj.Demonstration:
    exchanges = _play(environment, task, action_format, seed)
    return agenttraj.demonstration(task, environment.instructions(action_format), exchanges)


def _play(environment: Environment, task: str, action_format: str, seed: int) -> Iterator[tuple[str, str]]:
    """What the expert saw and wrote, turn by turn, until it succeeded."""
    episode = environment.reset(task, seed)
    for _ in range(MAX_TURNS):
        observation, move = episode.observation, episode.expert()
        yield observation, render(move.action, action_format, move.thought)
        result = episode.step(move.action)
        if result.is_success:
            return
        if result.is_terminated:
            break
    raise EnvironmentFault(f"environment {environment.name}, task {task}: the expert did not succeed")
