"""What is done to a run: a schedule that a seed decides, and who carries it out.

A fault comes when the run has made progress since the one before, after a random pause: moments are random,
and a run that does not recover is noticed by its name.
"""

import asyncio
import errno
import math
import os
import signal
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import psutil

from common.errors import PronghornError
from tests.chaos.proxy import Network
from tests.chaos.system import Progress, System

PROCESSES = ("actor", "hub", "worker", "learner", "launcher")
KILLS = tuple(f"kill -9 {kind}" for kind in PROCESSES)
STOPS = tuple(f"SIGSTOP {kind}" for kind in ("actor", "hub", "worker", "learner"))
LIMITS = tuple(f"file limit {kind}" for kind in ("actor", "learner"))
LOOK_S = 0.02
RESERVE_BYTES = 4 << 10
"""So little is left on the full disk."""


@dataclass(frozen=True)
class Fault:
    """One thing that is done: after the next progress and a pause, for a time where it has one."""

    kind: str
    pause_s: float
    hold_s: float
    pick: float
    """Which of several processes, 0 to 1."""
    is_at_once: bool
    """Without waiting for progress: into the recovery from the one before."""
    step: int = 0
    """Not before this step is durable."""

    def __str__(self) -> str:
        when = "at once" if self.is_at_once else f"{self.pause_s:.2f} s after progress"
        return f"{self.kind}, {when}, held {self.hold_s:.1f} s"


def schedule(seed: int, kinds: Sequence[str], *, max_pause_s: float, max_hold_s: float) -> Iterator[Fault]:
    """Endless: every kind once in a random order, then again in another."""
    random = Random(seed)
    while True:
        for kind in random.sample(kinds, len(kinds)):
            yield Fault(
                kind=kind,
                pause_s=random.uniform(0.0, max_pause_s),
                hold_s=random.uniform(max_hold_s / 2, max_hold_s),
                pick=random.random(),
                is_at_once=random.random() < 0.15,
            )


@dataclass
class Injector:
    """Does to `system` what its schedule says, until the run is finished."""

    system: System
    faults: Iterator[Fault]
    network: Network | None = None
    disk: "Disk | None" = None
    clock: "Clock | None" = None
    patience_s: float = 300.0
    """A run that makes no progress for so long after a fault has not recovered."""
    counts: Counter[str] = field(default_factory=Counter)
    recovery_s: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    """From a fault's end to the next durable progress, by kind; without those that another overtook."""
    history: list[str] = field(default_factory=list)
    _last: str | None = None
    _since: float = 0.0
    _reached: Progress = field(default_factory=Progress)

    async def run(self) -> None:
        """Until the schedule ends. Cancel it when the run is finished."""
        for fault in self.faults:
            if self._last is None or not fault.is_at_once:
                await self.recovered()
                await self._reach(fault.step)
            await asyncio.sleep(fault.pause_s)
            if await self._inject(fault):
                self._last = fault.kind
                self._since, self._reached = time.monotonic(), self.system.progress()

    async def recovered(self) -> None:
        """Wait until the run has gone on after the last fault, and note how long that took."""
        await self._reach(self._reached.step + 1, self._reached.trajectories + 1)
        if self._last is not None:
            self.recovery_s[self._last].append(time.monotonic() - self._since)
            self._last = None

    async def _reach(self, step: int, trajectories: float = math.inf) -> None:
        """Wait until this step or so many trajectories are durable."""
        began = time.monotonic()
        while (now := self.system.progress()).step < step and now.trajectories < trajectories:
            if time.monotonic() - began > self.patience_s:
                raise PronghornError(
                    f"no progress beyond {now} within {self.patience_s:g} s; done: {self.history}; "
                    f"commands that ended: {self.system.deaths}"
                )
            await asyncio.sleep(LOOK_S)

    async def _inject(self, fault: Fault) -> bool:
        what, _, target = fault.kind.rpartition(" ")
        self.history.append(str(fault))
        if what in ("kill -9", "SIGSTOP"):
            done = await self._signal(what, target, fault)
        elif fault.kind == "cut":
            done = self.network is not None and self.network.cut() > 0
        elif fault.kind == "disk full":
            done = self.disk is not None and await self.disk.fill(fault.hold_s)
        elif what == "file limit":
            done = await limit_files(self.system.processes(target), fault.hold_s)
        else:
            assert fault.kind == "clock jump", fault.kind
            done = self.clock is not None and self.clock.jump(fault.pick)
        self.counts[fault.kind] += done
        return done

    async def _signal(self, what: str, target: str, fault: Fault) -> bool:
        alive = self.system.processes(target)
        if not alive or self.system.is_finished:
            return False
        victim = alive[int(fault.pick * len(alive))]
        try:
            if what == "kill -9":
                victim.send_signal(signal.SIGKILL)
                return True
            victim.send_signal(signal.SIGSTOP)
        except psutil.NoSuchProcess:
            return False
        try:
            await asyncio.sleep(fault.hold_s)
        finally:
            with suppress(psutil.NoSuchProcess):
                victim.send_signal(signal.SIGCONT)
        return True


@dataclass(frozen=True)
class Disk:
    """The file system of the run, small and of its own."""

    folder: Path

    async def fill(self, hold_s: float) -> bool:
        """Leave next to nothing free for a time."""
        ballast = self.folder / "ballast"
        try:
            with ballast.open("wb") as file:
                while not self._takes_all(file.fileno()):
                    pass
            await asyncio.sleep(hold_s)
        finally:
            ballast.unlink(missing_ok=True)
        return True

    def _takes_all(self, descriptor: int) -> bool:
        """False when somebody wrote between the look and the grasp."""
        found = os.statvfs(self.folder)
        try:
            os.posix_fallocate(descriptor, 0, max(1, found.f_bavail * found.f_frsize - RESERVE_BYTES))
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
            return not found.f_bavail
        return True


async def limit_files(processes: Sequence[psutil.Process], hold_s: float) -> bool:
    """A disk that is full for these alone: they can write to no file (RLIMIT_FSIZE), for a time."""
    held = []
    try:
        for process in processes:
            with suppress(psutil.NoSuchProcess):
                soft, hard = process.rlimit(psutil.RLIMIT_FSIZE)
                process.rlimit(psutil.RLIMIT_FSIZE, (0, hard))
                held.append((process, (soft, hard)))
        if held:
            await asyncio.sleep(hold_s)
    finally:
        for process, before in held:
            with suppress(psutil.NoSuchProcess):
                process.rlimit(psutil.RLIMIT_FSIZE, before)
    return bool(held)


@dataclass(frozen=True)
class Clock:
    """The wall clock of every process of the run, by libfaketime; the monotonic clock is left alone."""

    file: Path

    def jump(self, pick: float) -> bool:
        """An hour back to an hour forth from the true time."""
        temporary = self.file.with_suffix(".new")
        temporary.write_text(f"{(pick * 2 - 1) * 3600:+.0f}")
        temporary.replace(self.file)
        return True
