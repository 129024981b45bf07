"""What an evaluation tells: avg@k and pass@k by the environment's own predicate, with their intervals.

Of `k` plays of each task,
    avg@k    the share of plays that succeeded, every task counting alike
    pass@j   the share of tasks that at least one of j <= k plays would solve, estimated without bias
Success is `is_success` and nothing else: a score or a reward above 0 is no success.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from pydantic import Field

from common.statistics import clustered_interval, pass_at_k
from common.trajectory import Outcome, Record, TaskReference, Trajectory

TaskKey = tuple[str, str, int]
"""Environment, task, seed: what makes a task the same in two evaluations."""


class EpisodeResult(Record):
    """One play of one task, counted."""

    environment: str
    task: str
    seed: int = 0
    kind: str = ""
    depth: int = 0
    sample: int = Field(default=0, ge=0)
    """Which of the plays of the task."""
    is_success: bool
    score: float
    """The environment's own scale (SciWorld 0-100)."""
    episode_return: float
    outcome: Outcome
    num_turns: int = Field(ge=0)
    num_malformed: int = Field(default=0, ge=0)
    """Turns whose text was no action."""
    prompt_tokens: int = Field(default=0, ge=0)
    """Read: by our engines what was new in each turn, by an API what it billed."""
    action_tokens: int = Field(default=0, ge=0)
    oldest_version: int | None = None
    newest_version: int | None = None
    """Policy versions that sampled a part of it; None where nothing was sampled or no version is known."""
    duration_s: float = Field(default=0.0, ge=0)

    @property
    def key(self) -> TaskKey:
        """Which task it is."""
        return self.environment, self.task, self.seed


def episode_result(trajectory: Trajectory, sample: int) -> EpisodeResult:
    """The count of one trajectory, the `sample`-th of its task."""
    task = trajectory.task
    versions = [span.version for turn in trajectory.turns for span in turn.versions]
    return EpisodeResult(
        environment=task.environment,
        task=task.task,
        seed=task.seed,
        kind=task.kind,
        depth=task.depth,
        sample=sample,
        is_success=trajectory.is_success,
        score=trajectory.score,
        episode_return=trajectory.episode_return,
        outcome=trajectory.outcome,
        num_turns=len(trajectory.turns),
        num_malformed=sum(turn.is_malformed for turn in trajectory.turns),
        prompt_tokens=trajectory.num_tokens - trajectory.num_action_tokens,
        action_tokens=trajectory.num_action_tokens,
        oldest_version=min(versions, default=None),
        newest_version=max(versions, default=None),
        duration_s=max(0.0, trajectory.finished_at - trajectory.started_at),
    )


def episode_results(trajectories: Sequence[Trajectory]) -> list[EpisodeResult]:
    """The counts of trajectories; plays of one task are numbered in their order."""
    seen: dict[TaskReference, int] = defaultdict(int)
    results = []
    for trajectory in trajectories:
        results.append(episode_result(trajectory, seen[trajectory.task]))
        seen[trajectory.task] += 1
    return results


def summarize(results: Sequence[EpisodeResult]) -> dict[str, Any]:
    """All that is told of an evaluation, for all tasks, per environment, kind and depth.

    Kinds and depths of several environments stand under the environment's name, and each environment under
    its own. Raises ValueError when nothing was played.
    """
    if not results:
        raise ValueError("no evaluation episode was played")
    samples = min(map(len, by_task(results).values()))
    versions = [v for r in results for v in (r.oldest_version, r.newest_version) if v is not None]
    known = {"oldest_version": min(versions), "newest_version": max(versions)} if versions else {}
    is_mixed = len({result.environment for result in results}) > 1

    def named(result: EpisodeResult, name: str) -> str:
        return f"{result.environment}: {name}" if is_mixed and name else name

    return {
        **measure(results, samples),
        **known,
        "by_environment": _by(results, samples, lambda r: r.environment),
        "by_kind": _by(results, samples, lambda r: named(r, r.kind)),
        "by_depth": _by(results, samples, lambda r: named(r, f"depth {r.depth}" if r.depth else "")),
    }


def measure(results: Sequence[EpisodeResult], samples: int) -> dict[str, Any]:
    """avg@k with its 95 % interval, pass@j for j = 1, 2, 4, ... and k, and means over the plays.

    k = `samples`, which every task has at least. Intervals respect that plays of one task are alike
    (`common.statistics.clustered_interval`); with one play per task they are Wilson's.
    """
    tasks = by_task(results)
    shares = [sum(won) / len(won) for won in tasks.values()]
    low, high = clustered_interval(shares, len(results))
    number = len(results)
    return {
        "success": sum(shares) / len(shares),
        "low": low,
        "high": high,
        "num_tasks": len(tasks),
        "num_episodes": number,
        "samples": samples,
        "pass_at": {str(k): _pass_at(tasks, k, number) for k in _ks(samples)},
        "score": sum(r.score for r in results) / number,
        "return": sum(r.episode_return for r in results) / number,
        "turns": sum(r.num_turns for r in results) / number,
        "truncated_share": sum(r.outcome.startswith("truncated") for r in results) / number,
        "malformed_share": sum(r.num_malformed for r in results) / max(1, sum(r.num_turns for r in results)),
    }


def by_task(results: Iterable[EpisodeResult]) -> dict[TaskKey, list[bool]]:
    """Per task, whether each of its plays succeeded."""
    tasks: dict[TaskKey, list[bool]] = defaultdict(list)
    for result in results:
        tasks[result.key].append(result.is_success)
    return dict(tasks)


def _pass_at(tasks: dict[TaskKey, list[bool]], k: int, trials: int) -> dict[str, float]:
    shares = [pass_at_k(len(won), sum(won), k) for won in tasks.values()]
    low, high = clustered_interval(shares, trials)
    return {"share": sum(shares) / len(shares), "low": low, "high": high}


def _ks(samples: int) -> list[int]:
    """1, 2, 4, ... and the number of plays itself."""
    powers = [1 << exponent for exponent in range(samples.bit_length())]
    return sorted({k for k in powers if k <= samples} | {samples})


def _by(
    results: Sequence[EpisodeResult], samples: int, name: Callable[[EpisodeResult], str]
) -> dict[str, dict[str, Any]]:
    """The measures of each part that has a name."""
    parts: dict[str, list[EpisodeResult]] = defaultdict(list)
    for result in results:
        parts[name(result)].append(result)
    return {part: measure(found, samples) for part, found in sorted(parts.items()) if part}
