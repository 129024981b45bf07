"""A run as a person starts it: one command, given again until the run is finished."""

import asyncio
import os
import shutil
import signal
import socket
import sqlite3
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from common.errors import PronghornError
from common.run_directory import RunDirectory
from common.weights.store import store_directory
from launch.guard import MARK, marked
from launch.machine import SHARED_MEMORY

ROOT = Path(__file__).parents[2]
CONFIG = ROOT / "tests" / "chaos" / "chaos.toml"
CHANNELS = ("ledger_port", "policy_port", "weights_port")
MADE_BEFORE_TRAINING = ("tasks.json", "vocabulary.json", "model")
AGAIN_S = 0.5
"""Between the end of the command and its repetition."""
END_S = 30.0
"""By then nothing of a run that has ended is alive."""


@dataclass(frozen=True)
class Progress:
    """How far a run has come; only ever grows, but for the steps of a learner that resumes."""

    trajectories: int = 0
    step: int = 0


@dataclass
class System:
    """The run `name` under `directory`; `settings` are given with the command."""

    directory: Path
    name: str = "chaos"
    command: str = "run"
    """`local` for the run that nobody disturbs: one process, which writes the same files."""
    settings: Sequence[str] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    actor_ports: Mapping[str, int] = field(default_factory=dict)
    """Where actors find the learner, if elsewhere than where it listens."""
    deaths: list[str] = field(default_factory=list)
    """Last words of every command that ended before the run was finished."""
    launcher: psutil.Process | None = None
    _marks: set[str] = field(default_factory=set)
    _known: Progress = field(default_factory=Progress)

    @property
    def folder(self) -> RunDirectory:
        """Where the run is kept."""
        return RunDirectory(self.directory / self.name)

    def begin_like(self, other: "System") -> None:
        """Take over what another run of the same configuration made before its training."""
        self.folder.path.mkdir(parents=True)
        for product in MADE_BEFORE_TRAINING:
            source = other.folder.path / product
            copy = shutil.copytree if source.is_dir() else shutil.copy2
            copy(source, self.folder.path / product)

    async def finish(self, deadline_s: float, *, again: bool = True) -> None:
        """Give the command, `again` until it ends with 0; PronghornError when it does not, or too late."""
        try:
            async with asyncio.timeout(deadline_s):
                while (code := await self._once()) != 0:
                    self.deaths.append(f"exit code {code}: {self._last_line()}")
                    if not again:
                        raise PronghornError(f"run {self.folder.path} ended with {self.deaths[-1]}")
                    await asyncio.sleep(AGAIN_S)
        except TimeoutError:
            raise PronghornError(
                f"run {self.folder.path} was not finished within {deadline_s:g} s; deaths: {self.deaths}"
            ) from None

    async def _once(self) -> int:
        overrides = [f"--run.directory={self.directory}", f"--run.name={self.name}", *self.settings]
        command = ["-m", "launch.cli", self.command, str(CONFIG), *overrides]
        if self.actor_ports:
            ports = ",".join(f"bus.{name}={port}" for name, port in self.actor_ports.items())
            command = ["-m", "tests.chaos.behind_proxy", str(CONFIG), *overrides, f"--actors={ports}"]
        with self._output.open("ab") as output:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                *command,
                cwd=ROOT,
                env=os.environ | self.environment,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=asyncio.subprocess.STDOUT,
                start_new_session=True,
            )
        self.launcher = psutil.Process(process.pid)
        self._marks.add(f"{process.pid}-")
        try:
            return await process.wait()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()

    @property
    def _output(self) -> Path:
        return self.directory / f"{self.name}.out"

    def _last_line(self) -> str:
        lines = [x for x in self._output.read_text(errors="replace").splitlines() if x.strip()]
        return lines[-1][:300] if lines else "it said nothing"

    # --- looking at it -----------------------------------------------------------------------

    def progress(self) -> Progress:
        """What is durable now, as far as that can be read."""
        with suppress(sqlite3.Error):
            db = sqlite3.connect(f"file:{self.folder.ledger}?mode=ro", uri=True, timeout=1.0)
            try:
                trajectories = db.execute("SELECT COUNT(*) FROM trajectories").fetchone()[0]
                step = db.execute("SELECT COALESCE(MAX(step), 0) FROM steps").fetchone()[0]
                self._known = Progress(int(trajectories), int(step))
            finally:
                db.close()
        return self._known

    @property
    def is_finished(self) -> bool:
        """Whether the last product is there."""
        return self.folder.summary.exists()

    def processes(self, kind: str) -> list[psutil.Process]:
        """What is alive of: launcher, hub, worker, learner, actor. In the order of their names and pids."""
        if kind == "launcher":
            return [self.launcher] if self.launcher is not None and self.launcher.is_running() else []
        found = sorted(self._alive(), key=lambda pair: (pair[0], pair[1].pid))
        return [process for name, process in found if name == kind]

    def _alive(self) -> list[tuple[str, psutil.Process]]:
        named = []
        for process in self.leftovers():
            with suppress(psutil.Error):
                name = process.environ()[MARK].split("/")[1].partition("-")[0]
                is_child = self.launcher is not None and process.ppid() == self.launcher.pid
                if name == "hub" and not is_child:
                    name = "worker"
                if name == "learner" and is_child:
                    name = "torchrun"
                named.append((name, process))
        return named

    def leftovers(self) -> list[psutil.Process]:
        """Every process of this run that is alive, the launchers and guards apart."""
        return [process for mark in self._marks for process in marked(mark)]

    async def is_gone(self) -> bool:
        """Whether nothing of the run is alive, now or within `END_S`."""
        deadline = time.monotonic() + END_S
        while self.leftovers():
            if time.monotonic() > deadline:
                return False
            await asyncio.sleep(0.1)
        return True

    def kill(self) -> None:
        """End all of it at once, and leave nothing in shared memory; for a run that is given up."""
        for process in (*self.processes("launcher"), *self.leftovers()):
            with suppress(psutil.Error):
                process.send_signal(signal.SIGKILL)
        shutil.rmtree(store_directory(self.folder.path), ignore_errors=True)
        for mark in self._marks:  # of a launcher that was killed under a faked clock
            for file in SHARED_MEMORY.glob(f"*faketime_*_{mark.removesuffix('-')}"):
                file.unlink()


def free_ports() -> dict[str, int]:
    """A free port for each channel of the bus."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in CHANNELS]
        for holder in sockets:
            holder.bind(("127.0.0.1", 0))
        return {name: holder.getsockname()[1] for name, holder in zip(CHANNELS, sockets, strict=True)}
