"""Evaluation: held-out tasks, played by the same actors, counted by the environment's own predicate."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from common.statistics import wilson_interval
from common.trajectory import Trajectory


def summarize(trajectories: Sequence[Trajectory]) -> dict[str, Any]:
    """Success share with its 95 % Wilson interval and n, return, lengths, and the same share by kind of task.

    Kinds are those of the tasks; of several environments each stands under its own name too.
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
    is_mixed = len({trajectory.task.environment for trajectory in trajectories}) > 1
    for trajectory in trajectories:
        task = trajectory.task
        if is_mixed or not task.kind:
            kinds[task.environment].append(trajectory.is_success)
        if task.kind:
            kinds[f"{task.environment}: {task.kind}" if is_mixed else task.kind].append(trajectory.is_success)
    return {
        kind: {"success": sum(won) / len(won), "num_tasks": len(won)} for kind, won in sorted(kinds.items())
    }
