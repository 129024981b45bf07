"""What `background` and `within` promise about who is cancelled, who is awaited and what is raised."""

import asyncio
import threading
from typing import NoReturn

import pytest

from common.aio import background, each, in_thread, within
from common.errors import EngineFault


async def forever() -> None:
    await asyncio.Event().wait()


async def fail(error: Exception, after: asyncio.Event | None = None) -> None:
    if after is not None:
        await after.wait()
    raise error


async def test_the_loops_run_while_the_body_runs_and_end_with_it() -> None:
    ran, ended = asyncio.Event(), asyncio.Event()

    async def loop() -> None:
        try:
            ran.set()
            await forever()
        finally:
            ended.set()

    async with background(loop()):
        await ran.wait()
        assert not ended.is_set()
    assert ended.is_set()


async def test_the_clean_up_of_a_loop_is_awaited_before_the_body_is_left() -> None:
    steps: list[str] = []

    async def loop() -> None:
        try:
            await forever()
        finally:
            await asyncio.sleep(0)
            steps.append("cleaned up")

    async with background(loop()):
        await asyncio.sleep(0)
    steps.append("left")
    assert steps == ["cleaned up", "left"]


async def test_a_failing_loop_cancels_the_body_and_is_raised_bare() -> None:
    was_cancelled = False
    with pytest.raises(EngineFault, match="broke"):  # noqa: PT012
        async with background(forever(), fail(EngineFault("broke"))):
            try:
                await forever()
            except asyncio.CancelledError:
                was_cancelled = True
                raise
    assert was_cancelled


async def test_the_task_that_survives_a_failing_loop_is_not_cancelled_any_more() -> None:
    with pytest.raises(EngineFault):
        async with background(fail(EngineFault("broke"))):
            await forever()
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0
    await asyncio.sleep(0)


async def test_a_failing_body_cancels_the_loops_and_is_raised_bare() -> None:
    ended = asyncio.Event()

    async def loop() -> None:
        try:
            await forever()
        finally:
            ended.set()

    with pytest.raises(KeyError, match="body"):  # noqa: PT012
        async with background(loop()):
            await asyncio.sleep(0)
            raise KeyError("body")
    assert ended.is_set()


async def test_a_loop_that_returns_early_ends_quietly() -> None:
    async def once() -> None:
        return None

    async with background(once(), forever()):
        await asyncio.sleep(0)


async def test_a_failure_during_clean_up_is_raised() -> None:
    async def loop() -> None:
        try:
            await forever()
        finally:
            raise EngineFault("clean-up")

    with pytest.raises(EngineFault, match="clean-up"):
        async with background(loop()):
            await asyncio.sleep(0)


async def test_failures_of_loop_and_body_come_together() -> None:
    trigger = asyncio.Event()
    with pytest.raises(ExceptionGroup) as caught:  # noqa: PT012
        async with background(fail(EngineFault("loop"), trigger)):
            trigger.set()
            try:
                await forever()
            except asyncio.CancelledError:
                raise KeyError("body") from None
    assert {type(error) for error in caught.value.exceptions} == {EngineFault, KeyError}


async def test_cancelling_the_caller_cancels_the_loops_and_stays_a_cancellation() -> None:
    started, ended = asyncio.Event(), asyncio.Event()

    async def loop() -> None:
        try:
            await forever()
        finally:
            ended.set()

    async def caller() -> None:
        async with background(loop()):
            await asyncio.sleep(0)
            started.set()
            await forever()

    async with asyncio.TaskGroup() as group:
        task = group.create_task(caller())
        await started.wait()
        task.cancel()
    assert task.cancelled()
    assert ended.is_set()


async def test_within_returns_what_was_awaited_in_time() -> None:
    async def answer() -> int:
        return 42

    assert await within(5, answer(), "the engine", EngineFault) == 42


async def test_within_names_who_is_late_and_the_deadline() -> None:
    with pytest.raises(EngineFault, match=r"^the engine did not answer within 0\.01 s$"):
        await within(0.01, forever(), "the engine", EngineFault)


async def test_within_passes_on_what_the_awaited_raises() -> None:
    async def broken() -> NoReturn:
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        await within(5, broken(), "the engine", EngineFault)


async def test_each_works_on_so_many_at_once_and_on_all() -> None:
    begun, done, most = list[int](), list[int](), 0

    async def work(item: int) -> None:
        nonlocal most
        begun.append(item)
        most = max(most, len(begun) - len(done))
        await asyncio.sleep(0)
        done.append(item)

    await each(range(7), work, at_once=3)
    assert begun == list(range(7))
    assert sorted(done) == begun
    assert most == 3


async def test_the_first_failure_of_each_is_raised_bare_and_nothing_more_begins() -> None:
    begun = list[int]()

    async def work(item: int) -> None:
        begun.append(item)
        if item == 1:
            raise EngineFault("broken")
        await asyncio.Event().wait()

    with pytest.raises(EngineFault, match="broken"):
        await each(range(9), work, at_once=2)
    assert begun == [0, 1]


async def test_work_in_a_thread_is_cancelled_only_when_the_thread_has_ended() -> None:
    has_begun, may_end, has_ended = threading.Event(), threading.Event(), threading.Event()

    def work() -> None:
        has_begun.set()
        assert may_end.wait(20)
        has_ended.set()

    task = asyncio.ensure_future(in_thread(work))
    await asyncio.to_thread(has_begun.wait)
    task.cancel()
    await asyncio.wait({task}, timeout=0.01)
    assert not task.done()
    may_end.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert has_ended.is_set()
