"""Expert demonstrations: the expert plays, its texts are kept in AgentTraj form."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from random import Random

from common import agenttraj
from common.action_format import CALL_FORMATS, render
from common.errors import EnvironmentFault
from common.trajectory import TaskReference
from envhub import registry
from envhub.environment import Environment, Episode

MAX_TURNS = 1000
"""An expert that has not succeeded by then never will."""


def write_demonstrations(
    tasks: Iterable[TaskReference], action_format: str, path: Path, *, wander: float = 0.0
) -> int:
    """Play every task to success and write a row for each, the task's name as `item_id`; how many.

    With probability `wander` a turn is not the expert's but any that is hinted at, chosen by the task's seed;
    the expert goes on from wherever that led. Such turns are part of the row like all others: it is the
    play of somebody who knows the way and is easily distracted. `react` rows carry the expert's thoughts.
    EnvironmentFault when the expert fails: nothing is written.
    """
    return agenttraj.write(path, [_demonstrate(task, action_format, wander) for task in tasks])


def _demonstrate(task: TaskReference, action_format: str, wander: float) -> agenttraj.Demonstration:
    environment = registry.environment(task.environment)
    exchanges = _play(environment, task, action_format, wander)
    return agenttraj.demonstration(task.task, environment.instructions(action_format), exchanges)


def _play(
    environment: Environment, task: TaskReference, action_format: str, wander: float
) -> Iterator[tuple[str, str]]:
    """What the expert saw and wrote, turn by turn, until it succeeded; the episode is closed in any case."""
    random = Random(f"demonstration:{task.task}:{task.seed}")
    episode = environment.reset(task.task, task.seed)
    try:
        for _ in range(MAX_TURNS):
            observation, (action, thought) = episode.observation, _move(episode, random, wander)
            written = environment.functions.call(action).text if action_format in CALL_FORMATS else action
            yield observation, render(written, action_format, thought)
            result = episode.step(action)
            if result.is_success:
                return
            if result.is_over:
                break
    finally:
        episode.close()
    raise EnvironmentFault(f"environment {environment.name}, task {task.task}: the expert did not succeed")


def _move(episode: Episode, random: Random, wander: float) -> tuple[str, str]:
    """An action and its thought: the expert's, or now and then a hint, where there is one."""
    move = episode.expert()
    if random.random() < wander and (hints := episode.actions()):
        return random.choice(hints), "Let me see."
    return move.action, move.thought
