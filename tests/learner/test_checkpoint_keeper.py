"""Checkpoints beside training: one at a time, waited for at the end, and a failed one ends the run."""

import asyncio
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any, cast

import pytest

from common.aio import background
from common.errors import PreflightError
from learner.checkpoint_keeper import CheckpointKeeper


class SlowDisk:
    """A trainer whose checkpoints are written when the test says so."""

    def __init__(self) -> None:
        self.begun: list[tuple[int, Future[Path]]] = []

    async def run(self, work: Callable[[Any], Any]) -> Any:
        return work(self)

    def begin_checkpoint(self, _store: object, ledger: dict[str, int]) -> Future[Path]:
        assert all(writing.done() for _, writing in self.begun), "two writes in flight"
        self.begun.append((ledger["step"], Future()))
        return self.begun[-1][1]


@pytest.fixture
def disk() -> SlowDisk:
    return SlowDisk()


def keeper(disk: SlowDisk, kept: int = 0) -> CheckpointKeeper:
    return CheckpointKeeper(cast("Any", disk), cast("Any", None), kept)


async def test_training_goes_on_while_one_is_written_and_the_next_waits_for_it(disk: SlowDisk) -> None:
    made = keeper(disk)
    async with background(made.serve()), asyncio.timeout(20):
        await made.keep(2)
        next_one = asyncio.ensure_future(made.keep(4))
        end = asyncio.ensure_future(made.settled())
        for _ in range(5):
            await asyncio.sleep(0)
        assert [step for step, _ in disk.begun] == [2]
        assert not end.done()
        disk.begun[0][1].set_result(Path())
        await next_one
        assert [step for step, _ in disk.begun] == [2, 4]
        disk.begun[1][1].set_result(Path())
        await made.settled()


async def test_a_version_that_is_kept_is_not_written_again(disk: SlowDisk) -> None:
    made = keeper(disk, kept=4)
    async with background(made.serve()), asyncio.timeout(20):
        await made.keep(4)
        await made.settled()
    assert disk.begun == []


async def test_a_write_that_fails_ends_the_run_with_its_one_error(disk: SlowDisk) -> None:
    """Also when the run waits for that write at the same moment."""

    async def run() -> None:
        made, full = keeper(disk), PreflightError("the disk is full")
        async with background(made.serve()), asyncio.timeout(20):
            await made.keep(2)
            asyncio.get_running_loop().call_soon(disk.begun[0][1].set_exception, full)
            await made.settled()

    with pytest.raises(PreflightError, match="the disk is full"):
        await run()
