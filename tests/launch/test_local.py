"""`pronghorn local`: the whole run in one process, over the memory bus, resumed like any other."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from launch.cli import main

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.slow


def command(directory: Path, *overrides: str) -> list[str]:
    fixed = (f"--run.directory={directory}", "--actor.engine.kind=transformers", "--monitor.wandb=off")
    return [sys.executable, "-m", "launch.cli", "local", "configs/debug.toml", *fixed, *overrides]


def test_one_process_runs_everything_and_resumes_after_ctrl_c(tmp_path: Path) -> None:
    steps = ("--learner.steps=12", "--evaluation.num_tasks=2")
    with subprocess.Popen(
        command(tmp_path, *steps), cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as first:
        assert first.stdout is not None
        said = ""
        for line in first.stdout:
            said += line
            if line.startswith("step 2/"):
                os.kill(first.pid, signal.SIGINT)
        assert first.wait() == 130, said
        assert "the same command resumes" in said
    again = subprocess.run(command(tmp_path, *steps), cwd=ROOT, capture_output=True, text=True, check=False)
    assert again.returncode == 0, again.stdout + again.stderr
    summary = json.loads((tmp_path / "debug" / "summary.json").read_text())
    assert summary["steps"] == 12
    assert summary["trajectories"]["consumed"] == 12 * 2 * 4
    assert [change["horizon"] for change in summary["horizons"]] == [3, 4]


def test_more_ranks_than_one_process_has_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    arguments = ["local", "configs/debug.toml", f"--run.directory={tmp_path}", "--learner.num_ranks=2"]
    assert main(arguments) == 2
    assert "learner.num_ranks = 2: `pronghorn local` has one process" in capsys.readouterr().err
    assert not (tmp_path / "debug").exists()
