"""The environments that AgentGym's servers serve: tasks, turns, scores, and what a policy is told."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from hashlib import blake2b
from typing import Final

from envhub.agentgym import grammars
from envhub.functions import Functions
from envhub.task import Split

MAX_LISTED: Final = 4096
"""So many tasks of a split are listed; the others have names all the same."""
_TEST_SHARE: Final = 0.2
_BYTES: Final = 8
_SQL: Final = re.compile(r"```sql(.*?)```", re.DOTALL)


def as_written(action: str) -> str:
    """The action itself."""
    return action


def as_tool_call(action: str) -> str:
    """The tools' servers read what follows `Action:`."""
    return action if "Action:" in action else f"Action: {action}"


def as_site_action(action: str) -> str:
    """WebArena's server reads what stands between two fences."""
    return action if "```" in action else f"```{action}```"


def as_sql(action: str) -> str:
    """Clients of SQLGym send the last block of SQL, or all of it where there is no block."""
    blocks = _SQL.findall(action)
    return blocks[-1].strip() if blocks else action


@dataclass(frozen=True)
class World:
    """One of them; the numbers of turns are those that AgentGym plays it with."""

    name: str
    horizon: int
    rules: str
    functions: Functions
    num_tasks: int
    first_test: int = -1
    """From here on tasks are for tests; -1: AgentGym does not say, so a fifth of them is, by hash."""
    first_train: int = 0
    """From here on tasks are for training, where those for tests come first."""
    is_open: bool = False
    """Any index is a task; `num_tasks` are listed."""
    full_score: float = 1.0
    """The score of a solved task."""
    success_above: float | None = None
    """A finished task with more than this is a success; None: with the full score."""
    written: Callable[[str], str] = as_written
    """The text that is sent for an action: some servers read it out of all that a policy wrote."""

    def has(self, index: int) -> bool:
        """Whether the index means a task."""
        return index >= 0 and (self.is_open or index < self.num_tasks)

    def split(self, index: int) -> Split:
        """Frozen."""
        if self.first_train:
            return "train" if index >= self.first_train else "test"
        if self.first_test >= 0:
            return "test" if index >= self.first_test else "train"
        share = int.from_bytes(_hash(self.name, index)) / 2 ** (8 * _BYTES)
        return "test" if share < _TEST_SHARE else "train"

    def is_success(self, score: float) -> bool:
        """Of a finished task."""
        return score >= self.full_score if self.success_above is None else score > self.success_above


@cache
def listed(world: World, split: Split) -> tuple[int, ...]:
    """The first `MAX_LISTED` indices of a split in their order by hash."""
    indices = [index for index in range(world.num_tasks) if world.split(index) == split]
    return tuple(sorted(indices, key=lambda index: _hash(f"{world.name}:order", index))[:MAX_LISTED])


def _hash(name: str, index: int) -> bytes:
    return blake2b(f"agentgym:{name}:{index}".encode(), digest_size=_BYTES).digest()


def _tool_world(name: str, horizon: int, num_tasks: int) -> World:
    return World(name, horizon, grammars.tool_rules(name), grammars.TOOL, num_tasks, written=as_tool_call)


_WORLDS: Final = (
    World(
        "alfworld",
        horizon=30,
        rules=grammars.ALFWORLD_RULES,
        functions=grammars.ALFWORLD,
        num_tasks=2620,
        first_test=2420,
    ),
    World(
        "babyai",
        horizon=20,
        rules=grammars.BABYAI_RULES,
        functions=grammars.BABYAI,
        num_tasks=900,
        is_open=True,
        success_above=0.0,
    ),
    World("maze", 15, grammars.MAZE_RULES, grammars.MAZE, num_tasks=25),
    World("sciworld", 30, grammars.SCIWORLD_RULES, grammars.SCIWORLD, num_tasks=4639, full_score=100.0),
    World(
        "searchqa",
        horizon=5,
        rules=grammars.SEARCHQA_RULES,
        functions=grammars.SEARCHQA,
        num_tasks=221_328,
        first_train=51_713,
    ),
    World(
        "sqlgym", 1, grammars.SQLGYM_RULES, grammars.SQLGYM, num_tasks=10_962, first_test=9428, written=as_sql
    ),
    World("textcraft", 20, grammars.TEXTCRAFT_RULES, grammars.TEXTCRAFT, num_tasks=544),
    World("webarena", 25, grammars.WEBARENA_RULES, grammars.WEBARENA, num_tasks=812, written=as_site_action),
    World("webshop", 10, grammars.WEBSHOP_RULES, grammars.WEBSHOP, num_tasks=6910),
    World("wordle", 8, grammars.WORDLE_RULES, grammars.WORDLE, num_tasks=980, is_open=True),
    _tool_world("academia", 12, 20),
    _tool_world("movie", 12, 238),
    _tool_world("sheet", 15, 20),
    _tool_world("todo", 15, 155),
    _tool_world("weather", 10, 343),
)
WORLDS: Final[Mapping[str, World]] = {world.name: world for world in _WORLDS}


def unknown_world(name: str) -> World:
    """An environment that AgentGym has not: a hundred tasks are listed, and any index may be one."""
    return World(name, 30, grammars.UNKNOWN_RULES, grammars.UNKNOWN, num_tasks=100, is_open=True)
