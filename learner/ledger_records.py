"""What the ledger hands out: groups as it knows them, and what became of submissions."""

from dataclasses import dataclass
from typing import Literal

from common.trajectory import TaskReference, Trajectory

Purpose = Literal["training", "evaluation"]
Verdict = Literal["stored", "duplicate", "late", "unknown"]
"""Of a trajectory that arrived. `duplicate`: its member is played already; `late`: its group is dropped;
`unknown`: it was never granted here."""

COUNTED: dict[Verdict, str] = {"duplicate": "duplicates", "late": "late", "unknown": "unknown"}
"""The curve in which a trajectory that is not stored is counted."""

LeaseEnd = Literal[
    "submitted",
    "recovered",
    "superseded",
    "dropped",
    "faulted",
    "refused",
    "undelivered",
    "rejoined",
    "left",
    "lost",
    "unreachable",
    "restarted",
]
"""How a lease ended; in the ledger "" while it is out.

`submitted`: its trajectory is stored; `recovered`: the same, after the lease had been given up and before
anybody was faster; `superseded`: another attempt's is; `dropped`: its group was given up. The others went
to a later attempt: `faulted`, environment or engine broke; `refused`, what was submitted for it is not what
was granted; `undelivered`, the actor does not know of it; `rejoined`, `left`, `lost`, `unreachable`, what
became of the actor; `restarted`, the learner was.
"""


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
