"""What is done to a run, and how it is counted."""

import asyncio
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import count, islice
from pathlib import Path

import psutil

from learner.ledger import Ledger
from tests import making
from tests.chaos.faults import KILLS, STOPS, Fault, Injector, limit_files, schedule
from tests.chaos.system import Progress, System

WRITER = """
import sys
for _ in sys.stdin:
    try:
        with open(sys.argv[1], "wb") as file:
            file.write(b"x")
        print("written", flush=True)
    except OSError as error:
        print(error.strerror, flush=True)
"""


@asynccontextmanager
async def writing(file: Path) -> AsyncIterator[asyncio.subprocess.Process]:
    """A process that writes to `file` for every line that it is given, and says what came of it."""
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", WRITER, str(file), stdin=pipe, stdout=pipe
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def answer(process: asyncio.subprocess.Process) -> str:
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(b"\n")
    return (await process.stdout.readline()).decode().strip()


@dataclass
class SteadySystem(System):
    """Goes on whatever is done to it; of its parts only actors are there."""

    actors: list[psutil.Process] = field(default_factory=list)
    played: Iterator[int] = field(default_factory=count)

    def progress(self) -> Progress:
        return Progress(trajectories=next(self.played))

    def processes(self, kind: str) -> list[psutil.Process]:
        return self.actors if kind == "actor" else []


def briefly(kind: str) -> Fault:
    return Fault(kind, pause_s=0.0, hold_s=0.0, pick=0.0, is_at_once=False)


def test_a_seed_decides_the_schedule_and_every_kind_has_its_turn() -> None:
    kinds = [*KILLS, *STOPS]
    first, again = (list(islice(schedule(7, kinds, max_pause_s=1, max_hold_s=1), 18)) for _ in range(2))
    assert first == again
    assert {fault.kind for fault in first[:9]} == {fault.kind for fault in first[9:]} == set(kinds)


async def test_those_whose_files_are_limited_can_write_nothing_until_it_is_over(tmp_path: Path) -> None:
    async with asyncio.timeout(30), writing(tmp_path / "file") as process:
        assert await answer(process) == "written"
        async with asyncio.TaskGroup() as both:
            limit = both.create_task(limit_files([psutil.Process(process.pid)], 0.5))
            await asyncio.sleep(0)
            assert await answer(process) == "File too large"
        assert limit.result()
        assert await answer(process) == "written"


async def test_a_recovery_is_counted_once_also_when_the_next_fault_finds_nobody(tmp_path: Path) -> None:
    async with asyncio.timeout(30), writing(tmp_path / "file") as process:
        system = SteadySystem(tmp_path, actors=[psutil.Process(process.pid)])
        kinds = ("kill -9 actor", "kill -9 hub", "kill -9 hub", "SIGSTOP worker")
        injector = Injector(system, map(briefly, kinds))
        await injector.run()
        await injector.recovered()
        assert +injector.counts == {"kill -9 actor": 1}
        assert {kind: len(seconds) for kind, seconds in injector.recovery_s.items()} == {"kill -9 actor": 1}
        assert await process.wait() == -9


def test_what_is_known_of_a_run_stays_known_while_its_ledger_cannot_be_read(tmp_path: Path) -> None:
    system = System(tmp_path)
    assert system.progress() == Progress()
    system.folder.path.mkdir()
    ledger = Ledger(system.folder.ledger, "test")
    task = making.trajectory().task
    ledger.open_groups([task], purpose="training", label="", horizon=5, size=2, version=0)
    ledger.commit_submissions([making.trajectory()], 0)
    ledger.close()
    assert system.progress() == Progress(trajectories=1)
    system.folder.ledger.rename(tmp_path / "elsewhere")
    assert system.progress() == Progress(trajectories=1)
