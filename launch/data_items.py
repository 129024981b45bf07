"""Which task an item id of a data file means, and whether what was played of it succeeded.

    textcraft_17                the 17th of AgentGym's count: the environment's `indexed`
    lmrlgym_maze_3              the same; the prefix that LMRL-Gym's two have is no part of the name
    ..._trial_T20190907_174127_043461     ALFWorld's own ids, by name and never by their last digits
    textcraft_oak_boat          a name that the environment itself gives
    maze::full-9x9-000123       any environment of ours and its task; what `pronghorn data export` writes

An environment that AgentGym has and Pronghorn has not is played as `agentgym:webshop@URL`.
"""

import difflib
import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from common.agent_items import read_items
from common.agenttraj import Demonstration
from common.errors import ConfigurationError
from common.trajectory import TaskReference
from envhub import registry
from envhub.agentgym.worlds import WORLDS
from envhub.hub import references
from envhub.task import Task

SEPARATOR = "::"
_LMRL = "lmrlgym_"
_ALFWORLD = re.compile(r".+[_/]trial_T[0-9]+(?:_[0-9]+)*", re.ASCII)
_NUMBER = re.compile(r"[0-9]{1,15}", re.ASCII)
_SHOWN = 120


@dataclass(frozen=True)
class ItemTask:
    """The task that an id means."""

    item_id: str
    environment: str
    task: Task

    @property
    def reference(self) -> TaskReference:
        """As a run knows it, with seed 0."""
        return references(self.environment, [self.task])[0]


def item_id_of(task: TaskReference) -> str:
    """An id from which `resolve` finds this task again, whatever else is in the file."""
    said = task.task.startswith(f"{task.environment}_")
    return task.task if said else f"{task.environment}{SEPARATOR}{task.task}"


def world_of(item_id: str) -> str:
    """The environment's name as the id alone tells it; empty when it does not."""
    environment, separator, _ = item_id.rpartition(SEPARATOR)
    if separator:
        return environment
    if _ALFWORLD.fullmatch(item_id):
        return "alfworld"
    name = item_id.removeprefix(_LMRL)
    known = [world for world in (*WORLDS, *registry.names()) if name.startswith(f"{world}_")]
    return max(known, key=len, default="")


def resolve(item_id: str, environments: Sequence[str] = ()) -> ItemTask:
    """The task that the id means in one of the environments; in any of Pronghorn's own without them.

    ConfigurationError, with the nearest names, when there is no such environment or task; PreflightError
    when what backs the environment is missing.
    """
    among = tuple(environments) or registry.names()
    stated, separator, name = item_id.rpartition(SEPARATOR)
    if separator:
        if environments and stated not in environments:
            raise _unknown(item_id, stated, environments)
        return ItemTask(item_id, stated, registry.environment(stated).task(name))
    world = world_of(item_id)
    chosen = [environment for environment in among if world and world in worlds_of(environment)]
    if chosen:
        environment = world if world in chosen else chosen[0]
        return ItemTask(item_id, environment, _task(environment, world, item_id))
    if len(environments) == 1:
        # The environment may know it by another name; if not it says which are near.
        return ItemTask(item_id, environments[0], registry.environment(environments[0]).task(item_id))
    raise _unknown(item_id, world or item_id, environments)


def worlds_of(environment: str) -> tuple[str, ...]:
    """The names that ids of an environment begin with: its own, and AgentGym's for what backs it."""
    scheme, colon, rest = environment.partition(":")
    if scheme == "agentgym":
        return (re.split(r"[+@]", rest, maxsplit=1)[0],)
    if colon:
        return (scheme.partition("_")[0],) if scheme.partition("_")[0] in WORLDS else ()
    return (environment, "alfworld") if environment == "alfworld_textworld" else (environment,)


def _task(environment: str, world: str, item_id: str) -> Task:
    known = registry.environment(environment)
    rest = item_id.removeprefix(_LMRL).removeprefix(f"{world}_")
    is_numbered = _NUMBER.fullmatch(rest) and not _ALFWORLD.fullmatch(item_id)
    try:
        return known.indexed(int(rest)) if is_numbered else known.task(item_id)
    except ConfigurationError as error:
        is_original = _ALFWORLD.fullmatch(item_id) and not os.environ.get("ALFWORLD_DATA")
        hint = (
            "; the original's games are looked for below $ALFWORLD_DATA, which is not set"
            if is_original
            else ""
        )
        raise ConfigurationError(f"item_id = {item_id[:_SHOWN]!r}: {error}{hint}") from None


def _unknown(item_id: str, said: str, environments: Sequence[str]) -> ConfigurationError:
    shown = item_id[:_SHOWN]
    if not environments and said in WORLDS:
        return ConfigurationError(
            f"item_id = {shown!r}: {said} is AgentGym's; name its server: --environment=agentgym:{said}@URL"
        )
    known = [world for name in environments for world in worlds_of(name)] or [*registry.names(), *WORLDS]
    head = said.rpartition("_")[0] or said
    near = difflib.get_close_matches(head[:_SHOWN], dict.fromkeys(known), n=3, cutoff=0.0)
    return ConfigurationError(
        f"item_id = {shown!r}: of no environment that is {'asked for' if environments else 'known'}; "
        f"nearest: {', '.join(near)}"
    )


def resolve_files(files: Iterable[str], environments: Sequence[str]) -> list[ItemTask]:
    """The tasks of the files' rows in order, each once; ConfigurationError names the file and the id."""
    found: dict[tuple[str, str], ItemTask] = {}
    for file in files:
        for row in read_items(Path(file)).rows:
            try:
                item = resolve(row.item_id, environments)
            except ConfigurationError as error:
                raise ConfigurationError(f"{file}: {error}") from None
            found.setdefault((item.environment, item.task.name), item)
    return list(found.values())


def is_success(row: Demonstration) -> bool:
    """Whether the play of a row succeeded, by the environment's own predicate on its reward.

    Never `reward == 1`: SciWorld is solved at 100, BabyAI by any reward above 0. ConfigurationError when the
    row has no reward, or its environment no predicate on a number.
    """
    world = WORLDS.get(world_of(row.item_id))
    if row.reward is None or world is None:
        lacks = "has no reward" if row.reward is None else "is of no environment that AgentGym scores"
        raise ConfigurationError(f"item_id = {row.item_id[:_SHOWN]!r}: {lacks}: success cannot be told")
    return world.is_success(row.reward)
