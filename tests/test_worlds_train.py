"""Every world trains: `pronghorn run` on its configuration, with a tiny model and the real hub."""

import subprocess
import sys
from pathlib import Path

import pytest

from common.config import load
from common.errors import PreflightError
from common.metrics import read_metrics
from common.run_directory import RunDirectory
from launch.config import RunConfig
from launch.preflight import check_tasks
from learner.ledger import Ledger

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

ROOT = Path(__file__).parents[1]
TINY = ROOT / "tests" / "tiny.toml"
STEPS, GROUPS_PER_STEP, GROUP_SIZE = 2, 2, 2


def trained(name: str, directory: Path) -> RunDirectory:
    """A finished run of `configs/NAME.toml` under the tiny overlay; skips where its world is missing."""
    file = ROOT / "configs" / f"{name}.toml"
    try:
        check_tasks(load(RunConfig, [file, TINY]))
    except PreflightError as missing:
        pytest.skip(str(missing))
    command = [sys.executable, "-m", "launch.cli", "run", str(file), str(TINY)]
    done = subprocess.run(
        [*command, f"--run.directory={directory}"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "held-out after" in done.stdout
    return RunDirectory(directory / name)


@pytest.mark.parametrize("name", ["textcraft", "babyai", "sciworld", "alfworld", "maze", "wordle"])
def test_a_world_trains_for_a_few_steps(name: str, tmp_path: Path) -> None:
    folder = trained(name, tmp_path)
    steps = [row["step"] for row in read_metrics(folder.metrics) if "train/loss" in row]
    assert steps[-1] == STEPS
    ledger = Ledger(folder.ledger, name)
    groups = ledger.groups_in("consumed", "training")
    consumed = [trajectory for group in groups for trajectory in ledger.group(group.id).trajectories]
    ledger.close()
    assert len(consumed) == STEPS * GROUPS_PER_STEP * GROUP_SIZE
    assert {trajectory.task.environment for trajectory in consumed} == {name}
    assert all(turn.observation for trajectory in consumed for turn in trajectory.turns)


def test_a_mixture_of_three_worlds_trains_in_one_run(tmp_path: Path) -> None:
    folder = trained("mixture", tmp_path)
    ledger = Ledger(folder.ledger, "mixture")
    opened = ledger.rows("SELECT environment FROM groups WHERE purpose = 'training' ORDER BY id LIMIT 4")
    ledger.close()
    assert sorted(name for (name,) in opened) == ["maze", "textcraft", "textcraft", "wordle"]
