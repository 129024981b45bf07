"""The training set of one AgentEvol iteration: demonstrations, and what was explored, weighed or filtered.

AgentEvol (arXiv:2406.04151) maximises  E[R(tau) log pi(tau)]  over trajectories tau that the newest policy
has played, merged with the expert's. R is the return within [0, 1]: an environment's rewards sum to at most 1
whatever its score's scale is, and below 0 a trajectory counts nothing. No baseline is subtracted. The
filtered variant keeps one success per task, by the environment's own predicate, with weight 1.
"""

from collections.abc import Sequence
from typing import NamedTuple

from common.errors import PronghornError
from common.trajectory import Trajectory
from learner.offline.config import EvolConfig
from learner.offline.examples import Example, explored


class Counts(NamedTuple):
    """How much of what was explored is learnt, and of how many examples the set consists."""

    explored: int
    kept: int
    examples: int


def kept(trajectories: Sequence[Trajectory], config: EvolConfig) -> list[Example]:
    """What of the explored trajectories is learnt, with its weight; plays that repeat another are one."""
    chosen = _weighted(trajectories) if config.objective == "weighted" else _filtered(trajectories, config)
    found: dict[tuple[object, ...], Example] = {}
    for trajectory, weight in chosen:
        example = explored(trajectory, weight)
        if example is not None:
            key = (trajectory.task.environment, trajectory.task.task, example.actions)
            found.setdefault(key, example)
    return list(found.values())


def _weighted(trajectories: Sequence[Trajectory]) -> list[tuple[Trajectory, float]]:
    weights = [min(1.0, max(0.0, trajectory.episode_return)) for trajectory in trajectories]
    return [pair for pair in zip(trajectories, weights, strict=True) if pair[1] > 0]


def _filtered(trajectories: Sequence[Trajectory], config: EvolConfig) -> list[tuple[Trajectory, float]]:
    best: dict[tuple[str, str, int], Trajectory] = {}
    for trajectory in trajectories:
        task = trajectory.task
        key = (task.environment, task.task, task.seed)
        is_better = key not in best or (config.keeps == "best" and _quality(trajectory) > _quality(best[key]))
        if trajectory.is_success and is_better:
            best[key] = trajectory
    return [(trajectory, 1.0) for trajectory in best.values()]


def _quality(trajectory: Trajectory) -> tuple[float, int]:
    return trajectory.episode_return, -len(trajectory.turns)


def merged(
    demonstrations: Sequence[Example], trajectories: Sequence[Trajectory], config: EvolConfig
) -> tuple[list[Example], Counts]:
    """The set that an iteration learns from, the demonstrations first.

    Raises PronghornError when no explored trajectory is kept: such a set is the demonstrations alone, and
    training on it is behavioural cloning under another name.
    """
    learnt = kept(trajectories, config)
    if not learnt:
        wanted = "returned more than 0" if config.objective == "weighted" else "succeeded"
        raise PronghornError(
            f"evol: of {len(trajectories)} explored trajectories none {wanted}: the set would be the "
            "demonstrations alone, which is behavioural cloning; explore more (evol.num_tasks, "
            "evol.samples_per_task) or begin with a better model"
        )
    examples = [*demonstrations, *learnt]
    return examples, Counts(len(trajectories), len(learnt), len(examples))
