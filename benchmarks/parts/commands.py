"""Commands of this project in processes of their own, to be measured."""

import os
import subprocess
import sys
from pathlib import Path

from common.run_directory import RunDirectory

ROOT = Path(__file__).parents[2]
QUIET = ("--evaluation.num_tasks=0", "--monitor.wandb=off", "--monitor.live_view=off")
"""Of a run that does nothing but train."""


def python(*arguments: str, deadline_s: float, is_heard: bool = True) -> None:
    """Run a module of this project to its end; CalledProcessError when it fails."""
    print(f"pronghorn: {' '.join(arguments)}", flush=True)
    subprocess.run(
        [sys.executable, "-m", *arguments],
        cwd=ROOT,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        stdout=None if is_heard else subprocess.DEVNULL,
        timeout=deadline_s,
        check=True,
    )


def whole_run(config: Path, folder: Path, name: str, *changes: str, deadline_s: float) -> RunDirectory:
    """`pronghorn run` of `config` with `changes`: hub, ZeroMQ, engines and learner in their own processes."""
    where = (f"--run.directory={folder}", f"--run.name={name}")
    python("launch.cli", "run", str(config), *changes, *where, deadline_s=deadline_s, is_heard=False)
    return RunDirectory(folder / name)
