"""Pairs of trajectories of one task, one better than the other: mined from a ledger or from AgentTraj files.

A pair needs a gap: the chosen trajectory succeeded, and returned at least `min_gap` more than the rejected.
Trajectories that did the same are one. What is left out is counted and told, never filled in.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from pydantic import Field

from common import json_rows
from common.errors import ConfigurationError
from common.trajectory import Record
from learner.ledger_reader import LedgerReader, Selection
from learner.offline.config import DpoConfig
from learner.offline.examples import Example, explored, read_examples

EXPERT_RETURN = 1.0
"""What a trajectory without a recorded return is taken to have returned: demonstrations are successes."""


class Pair(Record):
    """Two plays of one task."""

    task: str = Field(min_length=1)
    chosen: Example
    rejected: Example

    @property
    def gap(self) -> float:
        """By how much the chosen trajectory returned more."""
        return _return(self.chosen) - _return(self.rejected)


@dataclass(frozen=True)
class Mined:
    """Pairs, and what became of the tasks that gave none."""

    pairs: list[Pair]
    num_tasks: int
    without_success: int
    """Tasks that nobody solved."""
    without_gap: int
    """Solved tasks, but no play was worse by `min_gap`."""

    def __str__(self) -> str:
        return (
            f"{len(self.pairs)} pairs of {self.num_tasks} tasks; left out: "
            f"{self.without_success} tasks without a success, {self.without_gap} without a gap"
        )


def mine(plays: Iterable[tuple[str, Example]], config: DpoConfig) -> Mined:
    """At most `max_pairs_per_task` pairs of each task, the widest gaps first; `plays` are (task, play).

    Every chosen and rejected trajectory is used before one is used again.
    """
    tasks: dict[str, list[Example]] = defaultdict(list)
    for task, play in plays:
        if all(play.actions != known.actions for known in tasks[task]):
            tasks[task].append(play)
    pairs: list[Pair] = []
    without_success = without_gap = 0
    for task, played in tasks.items():
        won = [play for play in played if _is_success(play)]
        found = list(islice(_of_task(task, won, played, config), config.max_pairs_per_task))
        without_success += not won
        without_gap += bool(won) and not found
        pairs += found
    return Mined(pairs, len(tasks), without_success, without_gap)


def _of_task(task: str, won: list[Example], played: list[Example], config: DpoConfig) -> Iterator[Pair]:
    """Round after round, in each of which nobody stands twice."""
    won = sorted(won, key=_return, reverse=True)
    lost = sorted(played, key=_return)
    for shift in range(len(lost)):
        for index, chosen in enumerate(won):
            rejected = lost[(index + shift) % len(lost)]
            if _return(chosen) - _return(rejected) >= config.min_gap:
                yield Pair(task=task, chosen=chosen, rejected=rejected)


def _return(play: Example) -> float:
    return EXPERT_RETURN if play.episode_return is None else play.episode_return


def _is_success(play: Example) -> bool:
    return _return(play) >= EXPERT_RETURN if play.is_success is None else play.is_success


def from_ledger(path: Path, max_policy_version: int = -1) -> Iterator[tuple[str, Example]]:
    """Every stored training trajectory and its task: environment, task and seed, so the same first prompt.

    Without those that a newer policy than `max_policy_version` had a part in; -1: all.
    Raises ConfigurationError when there is no ledger, LedgerError when it cannot be read.
    """
    if not path.is_file():
        raise ConfigurationError(f"{path}: no ledger; give --data, --pairs or another --ledger")
    with LedgerReader(path) as ledger:
        for played in ledger.played(Selection(purpose="training")):
            trajectory, task = played.trajectory, played.trajectory.task
            example = explored(trajectory)
            if example is None or 0 <= max_policy_version < trajectory.newest_version:
                continue
            yield f"{task.environment}/{task.task}/{task.seed}", example


def from_files(paths: Sequence[Path]) -> Iterator[tuple[str, Example]]:
    """Every trajectory of AgentTraj or example files and its `item_id`.

    Rows without a reward are the expert's: successes that returned `EXPERT_RETURN`. Rows with a reward and no
    word on success are successes from that return on.
    """
    for path in paths:
        for example in read_examples(path):
            yield example.item_id, example


def read_pairs(path: Path, config: DpoConfig) -> tuple[list[Pair], int]:
    """The pairs of a file that have a gap, and how many were left out for having none."""
    pairs = json_rows.read(path, Pair.model_validate).rows
    kept = [pair for pair in pairs if pair.gap >= config.min_gap]
    return kept, len(pairs) - len(kept)


def write_pairs(path: Path, pairs: Iterable[Pair]) -> int:
    """Write one pair per line, whole or not at all; how many."""
    return json_rows.write(
        path, (pair.model_dump(mode="json", exclude_defaults=True) for pair in pairs), "lines"
    )
