"""Evaluation: held-out tasks, played by the same actors, counted by the environment's own predicate."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from common.statistics import wilson_interval
from common.trajectory import Trajectory


def summarize(trajectories: Sequence[Trajectory]) -> dict[str, Any]:
    """Success share with its 95 % Wilson interval and n, return, lengths, and the same share by kind of task.

    The kind of a task is what its name says before a dash (`d2-000123` -> `d2`), else its environment.
    Raises ValueError when nothing was played.
    """
    if not trajectories:
        raise ValueError("no evaluation episode was played")
    successes = sum(t.is_success for t in trajectories)
    low, high = wilson_interval(successes, len(trajectories))
    return {
        "success": successes / len(trajectories),
        "low": low,
        "high": high,
        "num_tasks": len(trajectories),
        "return": sum(t.episode_return for t in trajectories) / len(trajectories),
        "turns": sum(len(t.turns) for t in trajectories) / len(trajectories),
        "truncated_share": sum(t.is_truncated for t in trajectories) / len(trajectories),
        "by_kind": _by_kind(trajectories),
    }


def _by_kind(trajectories: Sequence[Trajectory]) -> dict[str, dict[str, float]]:
    kinds: dict[str, list[bool]] = defaultdict(list)
    for trajectory in trajectories:
        kind, dash, _ = trajectory.task.task.partition("-")
        kinds[kind if dash else trajectory.task.environment].append(trajectory.is_success)
    return {
        kind: {"success": sum(won) / len(won), "num_tasks": len(won)} for kind, won in sorted(kinds.items())
    }
