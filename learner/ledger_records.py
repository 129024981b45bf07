"""What the ledger hands out: groups as it knows them, and what became of submissions."""

from dataclasses import dataclass
from typing import Literal

from common.trajectory import TaskReference, Trajectory

Purpose = Literal["training", "evaluation"]
Verdict = Literal["stored", "duplicate", "late", "unknown"]


@dataclass(frozen=True)
class OpenGroup:
    """A group as the ledger knows it: what is to be played, and which members have been."""

    id: int
    purpose: Purpose
    label: str
    task: TaskReference
    horizon: int
    size: int
    granted_version: int
    played: frozenset[int]
    """Members whose trajectory is stored."""
    attempts: dict[int, int]
    """Highest attempt granted so far, by member."""


@dataclass(frozen=True)
class Arrival:
    """What became of one submitted trajectory."""

    trajectory: Trajectory
    verdict: Verdict
    completes: bool
    """True when it was the last missing member of its group."""


def task_columns(task: TaskReference) -> tuple[str, str, int, str, int]:
    """What the table of groups says of a task: environment, task, seed, kind, depth."""
    return task.environment, task.task, task.seed, task.kind, task.depth


def result_columns(t: Trajectory) -> tuple[str, bool, float, float, int, int, int]:
    """What the table of trajectories says of an episode beside its bytes, from `outcome` on."""
    return t.outcome, t.is_success, t.score, t.episode_return, len(t.turns), t.num_tokens, t.num_action_tokens
