"""Expert demonstrations: the expert plays, its texts are kept in AgentTraj form."""

import logging
from collections.abc import Iterable
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
MAX_LOST = 0.1
"""Of the tasks, at most this share may be lost by the expert."""

_log = logging.getLogger(__name__)


def write_demonstrations(
    tasks: Iterable[TaskReference], action_format: str, path: Path, *, wander: float = 0.0
) -> int:
    """Play every task to success and write a row for each, the task's name as `item_id`; how many.

    With probability `wander` a turn is not the expert's but any that is hinted at, chosen by the task's seed;
    the expert goes on from wherever that led. Such turns are part of the row like all others: it is the
    play of somebody who knows the way and is easily distracted. All rows but `plain` ones carry thoughts.
    A task that wandering lost is played again without; one that is lost even then is left out, and told.
    EnvironmentFault when more than `MAX_LOST` of the tasks are lost: nothing is written.
    """
    rows: list[agenttraj.Demonstration] = []
    lost: list[TaskReference] = []
    for task in tasks:
        row = _demonstrate(task, action_format, wander)
        if row is None:
            lost.append(task)
            _log.warning("expert did not succeed environment=%s task=%s", task.environment, task.task)
        else:
            rows.append(row)
    if len(lost) > MAX_LOST * (len(rows) + len(lost)):
        raise EnvironmentFault(
            f"environment {lost[0].environment}: the expert did not succeed in {len(lost)} of "
            f"{len(rows) + len(lost)} tasks, {lost[0].task} for one"
        )
    return agenttraj.write(path, rows)


def _demonstrate(task: TaskReference, action_format: str, wander: float) -> agenttraj.Demonstration | None:
    environment = registry.environment(task.environment)
    for share in dict.fromkeys((wander, 0.0)):
        exchanges = _play(environment, task, action_format, share)
        if exchanges is not None:
            return agenttraj.demonstration(task.task, environment.instructions(action_format), exchanges)
    return None


def _play(
    environment: Environment, task: TaskReference, action_format: str, wander: float
) -> list[tuple[str, str]] | None:
    """What the expert saw and wrote until it succeeded, or None; the episode is closed in any case."""
    random = Random(f"demonstration:{task.task}:{task.seed}")
    exchanges: list[tuple[str, str]] = []
    episode = environment.reset(task.task, task.seed)
    try:
        for _ in range(MAX_TURNS):
            observation, (action, thought) = episode.observation, _move(episode, random, wander)
            written = environment.functions.call(action).text if action_format in CALL_FORMATS else action
            exchanges.append((observation, render(written, action_format, thought)))
            result = episode.step(action)
            if result.is_over:
                return exchanges if result.is_success else None
    finally:
        episode.close()
    return None


def _move(episode: Episode, random: Random, wander: float) -> tuple[str, str]:
    """An action and its thought: the expert's, or now and then a hint, where there is one."""
    move = episode.expert()
    if random.random() < wander and (hints := episode.actions()):
        return random.choice(hints), "Let me see."
    return move.action, move.thought
