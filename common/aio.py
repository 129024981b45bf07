"""Structured concurrency: endless loops that live exactly as long as the work they serve."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable
from contextlib import asynccontextmanager
from typing import Any, TypeVar

ItemT = TypeVar("ItemT")
ResultT = TypeVar("ResultT")


@asynccontextmanager
async def background(
    *loops: Coroutine[Any, Any, None],
) -> AsyncIterator[Callable[[Coroutine[Any, Any, None]], None]]:
    """Run endless `loops` for exactly as long as the body runs; fail with the first that fails.

        async with background(heartbeat(), receive()) as begin:
            await work()          # cancelled as soon as a loop raises
            begin(another())      # from now on it is one of them

    A loop that returns early ends quietly. When the body ends, the loops are cancelled and awaited
    before this returns. The exception of a loop (or of the body) is raised bare when it is alone,
    otherwise as the ExceptionGroup that asyncio made of them.
    """
    failure: BaseException | None = None
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(loop) for loop in loops]
            yield lambda loop: tasks.append(group.create_task(loop))
            for task in tasks:
                task.cancel()
    except BaseExceptionGroup as errors:
        failure = errors.exceptions[0] if len(errors.exceptions) == 1 else errors
    if failure is not None:
        raise failure


async def within(seconds: float, awaitable: Awaitable[ResultT], what: str, error: type[Exception]) -> ResultT:
    """Await something for at most `seconds`; past that raise `error` naming `what` and the deadline."""
    try:
        async with asyncio.timeout(seconds):
            return await awaitable
    except TimeoutError as late:
        raise error(f"{what} did not answer within {seconds:g} s") from late


async def in_thread(work: Callable[[], ResultT]) -> ResultT:
    """As `asyncio.to_thread`, but cancelled only when the thread has ended: nothing is left half done."""
    running = asyncio.get_running_loop().run_in_executor(None, work)
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        await asyncio.wait({running})
        raise


def first_leaf(error: BaseException) -> BaseException:
    """The first exception that is no group: what a person is told when several tasks failed together."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


async def each(items: Iterable[ItemT], work: Callable[[ItemT], Awaitable[None]], *, at_once: int) -> None:
    """Await `work` for every item, in order of beginning, at most `at_once` at a time.

    Raises the first failure itself; what is in progress is cancelled, and nothing more begins.
    """
    places = asyncio.Semaphore(at_once)

    async def one(item: ItemT) -> None:
        await places.acquire()
        await work(item)
        # Not after a failure: nobody is to begin what will be cancelled.
        places.release()

    try:
        async with asyncio.TaskGroup() as group:
            for item in items:
                group.create_task(one(item))
    except BaseExceptionGroup as errors:
        raise first_leaf(errors) from errors
