"""Runs side by side, one on each core. A finished one is kept; one that stopped goes on where it was."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue

from benchmarks.parts.algorithm_rows import CONFIG, Row
from common.config import load
from common.errors import ConfigurationError, PronghornError
from common.run_directory import RunDirectory, write_json
from launch.config import RunConfig
from launch.stages import is_trained

ROOT = Path(__file__).parents[2]
DEADLINE_S = 3600.0
"""Of one run."""


class RunError(PronghornError):
    """A run ended before its last step."""


@dataclass(frozen=True)
class Job:
    """One run: a row under one seed."""

    row: Row
    seed: int
    work: Path
    """Where all runs are kept."""
    shared: tuple[str, ...]
    """Overrides of all runs."""

    @property
    def name(self) -> str:
        """Of the run; a plus sign is none of a run's letters."""
        return f"{self.row.name.replace('+', '-')}-seed{self.seed}"

    @property
    def overrides(self) -> list[str]:
        """All that this run changes in the configuration file."""
        own = [f"--run.name={self.name}", f"--run.directory={self.work}", f"--run.seed={self.seed}"]
        return [*self.shared, *self.row.overrides, *own]

    @property
    def config(self) -> RunConfig:
        """What it runs with; ConfigurationError when it cannot be."""
        return load(RunConfig, [CONFIG], self.overrides)

    @property
    def folder(self) -> RunDirectory:
        """Where it is kept."""
        return RunDirectory(self.work / self.name)

    def is_done(self) -> bool:
        """Whether the run reached its last step; ConfigurationError when it began with other settings."""
        settings = self.folder.path / "row.json"
        asked = self.config.model_dump(mode="json")
        if settings.exists() and json.loads(settings.read_text()) != asked:
            raise ConfigurationError(
                f"{self.folder.path}: was begun with other settings; remove it, or give another --work"
            )
        write_json(settings, asked)
        return is_trained(self.config)


def make_warm_start(work: Path, shared: Sequence[str], core: int) -> Path:
    """The model that all runs begin with, made once. RunError when that broke."""
    config = load(RunConfig, [CONFIG], [*shared, f"--run.directory={work}", "--run.name=warm-start"])
    folder = config.run.folder
    if not folder.warm_start.exists():
        changes = ["--learner.steps=0", "--evaluation.num_tasks=0", "--run.name=warm-start"]
        _start([*shared, *changes, f"--run.directory={work}"], core, folder.path, is_forced=False)
    return folder.warm_start


def run_all(jobs: Sequence[Job], num_workers: int) -> list[str]:
    """Run what is not done yet on `num_workers` cores; the names of those that broke, which are printed."""
    waiting = [job for job in jobs if not job.is_done()]
    print(f"pronghorn: {len(jobs) - len(waiting)} runs are done, {len(waiting)} to go", flush=True)
    cores: SimpleQueue[int] = SimpleQueue()
    for core in range(num_workers):
        cores.put(core)

    def run(job: Job) -> bool:
        core, began = cores.get(), time.monotonic()
        try:
            _start(job.overrides, core, job.folder.path, is_forced=job.row.staleness is not None)
        except RunError as error:
            print(f"pronghorn: {job.name} broke: {error}", flush=True)
            return False
        finally:
            cores.put(core)
        print(f"pronghorn: finished {job.name} in {time.monotonic() - began:.0f} s", flush=True)
        return True

    with ThreadPoolExecutor(num_workers) as pool:
        held = list(pool.map(run, waiting))
    return [job.name for job, is_whole in zip(waiting, held, strict=True) if not is_whole]


def _start(overrides: Sequence[str], core: int, folder: Path, *, is_forced: bool) -> None:
    """Run to the end; what it prints is kept beside its folder. RunError with its last line otherwise."""
    command = [sys.executable, "-m", "benchmarks.parts.algorithm_run", str(CONFIG), f"--core={core}"]
    command += ["--forced"] * is_forced + list(overrides)
    folder.parent.mkdir(parents=True, exist_ok=True)
    printed = folder.with_suffix(".out")
    with printed.open("ab") as output:
        try:
            subprocess.run(
                command,
                cwd=ROOT,
                env=os.environ | {"OMP_NUM_THREADS": "1"},
                stdout=output,
                stderr=subprocess.STDOUT,
                timeout=DEADLINE_S,
                check=True,
            )
        except subprocess.CalledProcessError as error:
            said = printed.read_text(errors="replace").strip().rpartition("\n")[2]
            raise RunError(f"exit code {error.returncode}: {said} [{printed}]") from None
        except subprocess.TimeoutExpired:
            raise RunError(f"not finished within {DEADLINE_S:g} s [{printed}]") from None
