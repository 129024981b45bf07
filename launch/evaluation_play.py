"""Plays what an evaluation asks for, many episodes at a time, and keeps each as it ends."""

import asyncio
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from typing import Protocol

from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress, TimeRemainingColumn

from actors.chat_client import Usage
from common.aio import each
from common.evaluation import episode_result
from common.messages import Lease, Sampling
from common.trajectory import Member, TaskReference, Trajectory
from launch.evaluation_folder import EpisodeLine, EvaluationFolder, Spent, spoken
from launch.persistence import persistently


@dataclass(frozen=True)
class Play:
    """One play of one task."""

    index: int
    """Of the task."""
    task: TaskReference
    sample: int


class Player(Protocol):
    """Who plays an episode; adds to `usage` what it costs, also when it fails."""

    async def __call__(self, lease: Lease, usage: Usage, /) -> Trajectory:
        """The record of the episode; EnvironmentFault or EngineFault when it broke."""
        ...


async def play_all(
    plays: Sequence[Play],
    player: Player,
    folder: EvaluationFolder,
    *,
    run: str,
    horizon: int,
    sampling: Sampling,
    max_sessions: int,
    advance: Callable[[], None] = lambda: None,
) -> None:
    """Play each once, at most `max_sessions` at a time, and keep each in `folder`.

    Raises the fault of the first episode that broke in every attempt; others stop, and what has ended stays.
    """

    async def one(play: Play) -> None:
        identity = Member(run=run, group=play.index, member=play.sample)
        lease = Lease(
            identity=identity, task=play.task, horizon=horizon, sampling=sampling, purpose="evaluation"
        )
        await _kept(lease, player, folder)
        advance()

    await each(plays, one, at_once=max_sessions)


async def _kept(lease: Lease, player: Player, folder: EvaluationFolder) -> None:
    usage = Usage()

    async def attempt() -> Trajectory:
        nonlocal usage
        usage = Usage()
        return await _paid(lease, player, folder, usage)

    trajectory = await persistently(attempt)
    await asyncio.to_thread(folder.append, line_of(trajectory, lease.identity.member, usage))


async def _paid(lease: Lease, player: Player, folder: EvaluationFolder, usage: Usage) -> Trajectory:
    """Play it; where it comes to no end, for whatever reason, what it has cost is kept."""

    def keep_cost(kind: type[BaseException] | None, error: BaseException | None, _: object) -> None:
        if kind and usage.num_requests:
            folder.append(EpisodeLine(fault=f"{kind.__name__}: {error}", spent=Spent(**asdict(usage))))

    with ExitStack() as stack:
        stack.push(keep_cost)
        return await player(lease, usage)


def line_of(trajectory: Trajectory, sample: int, usage: Usage) -> EpisodeLine:
    """The line of one played episode; tokens are those of the server where a server played."""
    result = episode_result(trajectory, sample)
    if usage.num_requests:
        billed = {"prompt_tokens": usage.prompt_tokens, "action_tokens": usage.completion_tokens}
        result = result.model_copy(update=billed)
    return EpisodeLine(result=result, spent=Spent(**asdict(usage)), turns=spoken(trajectory))


@contextmanager
def progress(number: int) -> Iterator[Callable[[], None]]:
    """A bar in a terminal, nothing elsewhere; what is given moves it on by one episode."""
    columns = (*Progress.get_default_columns()[:2], MofNCompleteColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not sys.stderr.isatty()) as bar:
        task = bar.add_task("episodes", total=number)
        yield lambda: bar.advance(task)
