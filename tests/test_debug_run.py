"""`configs/debug.toml` as a user runs it: real hub, real ZeroMQ, two real vLLM actors, a real learner."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from common.metrics import read_metrics
from common.run_directory import RunDirectory
from learner.ledger import Ledger

pytestmark = [pytest.mark.vllm, pytest.mark.slow, pytest.mark.timeout(900)]

ROOT = Path(__file__).parents[1]
STEPS, GROUPS_PER_STEP, GROUP_SIZE, HELDOUT = 3, 2, 4, 8


def command(directory: Path, *overrides: str) -> list[str]:
    """Half a second per turn: long enough for both actors to be up before everything is played."""
    fixed = (f"--run.directory={directory}", "--hub.latency_mean_s=0.5", "--hub.latency_sigma=0")
    return [sys.executable, "-m", "launch.cli", "run", "configs/debug.toml", *fixed, *overrides]


def environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name != "WANDB_API_KEY"}


def ran(directory: Path, *overrides: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(directory, *overrides),
        cwd=ROOT,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    directory = tmp_path_factory.mktemp("runs")
    done = ran(directory)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "held-out after" in done.stdout
    return RunDirectory(directory / "debug")


@pytest.fixture
def ledger(finished: RunDirectory) -> Iterator[Ledger]:
    opened = Ledger(finished.ledger, "debug")
    yield opened
    opened.close()


def test_the_ledger_holds_exactly_the_trajectories_that_were_trained_on(
    finished: RunDirectory, ledger: Ledger
) -> None:
    consumed = ledger.groups_in("consumed", "training")
    assert len(consumed) == STEPS * GROUPS_PER_STEP
    trajectories = [t for group in consumed for t in ledger.group(group.id).trajectories]
    assert len(trajectories) == len({(t.identity.group, t.identity.member) for t in trajectories})
    assert len(trajectories) == STEPS * GROUPS_PER_STEP * GROUP_SIZE
    told = json.loads(finished.summary.read_text())["trajectories"]
    assert told["consumed"] == len(trajectories)
    assert told["granted"] == sum(told[end] for end in ("consumed", "dropped", "waiting", "in_play"))


def test_every_heldout_task_is_played_once_before_and_once_after_by_the_last_version(ledger: Ledger) -> None:
    evaluations = ledger.groups_in("consumed", "evaluation")
    labels = [label for (label,) in ledger.rows("SELECT label FROM groups WHERE purpose = 'evaluation'")]
    assert sorted(labels) == ["after"] * HELDOUT + ["before"] * HELDOUT
    assert len(evaluations) == 2 * HELDOUT
    rows = ledger.rows("SELECT id, label FROM groups WHERE purpose = 'evaluation'")
    expected = {"before": {0}, "after": {STEPS}}
    for group, label in rows:
        (trajectory,) = ledger.group(group).trajectories
        assert set(trajectory.token_versions().tolist()) <= expected[label] | {-1}


def test_both_actors_played(ledger: Ledger) -> None:
    assert {name for (name,) in ledger.rows("SELECT DISTINCT actor FROM trajectories")} == {
        "actor-0",
        "actor-1",
    }


def test_the_horizon_rises_on_schedule_and_is_stamped_on_the_groups(
    finished: RunDirectory, ledger: Ledger
) -> None:
    summary = json.loads(finished.summary.read_text())
    assert summary["horizons"] == [{"step": 1, "horizon": 3}, {"step": 3, "horizon": 4}]
    for group in ledger.groups_in("consumed", "training"):
        for trajectory in ledger.group(group.id).trajectories:
            assert len(trajectory.turns) <= trajectory.horizon
            assert trajectory.horizon in (3, 4)


def test_running_engines_took_the_new_weights_and_left_in_good_order(finished: RunDirectory) -> None:
    for actor in ("actor-0", "actor-1"):
        log = (finished.logs / f"{actor}.log").read_text()
        assert f"loaded version={STEPS} " in log
        assert "reason=the run is finished" in log


def test_the_first_batch_was_scored_alike_by_engine_and_learner(finished: RunDirectory) -> None:
    log = (finished.logs / "learner.log").read_text()
    assert float(log.partition("mean_abs=")[2].split()[0]) < 1e-3


def test_curves_are_in_the_run_folder_and_offline_in_wandb(finished: RunDirectory) -> None:
    steps = [row["step"] for row in read_metrics(finished.metrics) if "train/loss" in row]
    assert steps == [1, 2, 3]
    assert list((finished.path / "wandb").glob("offline-run-*"))


def test_the_same_command_again_reports_and_trains_nothing(finished: RunDirectory) -> None:
    before = finished.ledger.stat().st_mtime_ns
    again = ran(finished.path.parent)
    assert again.returncode == 0
    assert "held-out after" in again.stdout
    assert finished.ledger.stat().st_mtime_ns == before


def test_a_run_outlives_a_killed_actor_and_resumes_after_a_killed_learner(tmp_path: Path) -> None:
    steps = ("--learner.steps=6", "--learner.checkpoint_every=2")
    log = tmp_path / "debug" / "logs" / "launch.log"
    with subprocess.Popen(
        command(tmp_path, *steps),
        cwd=ROOT,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as run:
        assert run.stdout is not None
        assert run.stderr is not None
        for line in run.stdout:
            if line.startswith("step 1/"):
                os.kill(pid_in(log, "actor-0"), signal.SIGKILL)
            if line.startswith("step 3/"):
                os.kill(pid_in(log, "learner"), signal.SIGKILL)
        assert run.wait() == 1
        assert "learner failed (killed by SIGKILL)" in run.stderr.read()
    resumed = ran(tmp_path, *steps)
    assert resumed.returncode == 0, resumed.stdout + resumed.stderr
    folder = RunDirectory(tmp_path / "debug")
    assert "resumed checkpoint=" in (folder.logs / "learner.log").read_text()
    assert [row[0] for row in groups_per_step(folder)] == [1, 2, 3, 4, 5, 6]
    assert {row[1] for row in groups_per_step(folder)} == {GROUPS_PER_STEP}
    assert json.loads(folder.summary.read_text())["steps"] == 6


def pid_in(log: Path, name: str) -> int:
    """The newest process of that name, as the launcher noted it."""
    return int(log.read_text().rpartition(f"{name} started: pid=")[2].split()[0])


def groups_per_step(folder: RunDirectory) -> list[tuple[int, int]]:
    opened = Ledger(folder.ledger, "debug")
    try:
        return opened.rows(
            "SELECT step, COUNT(*) FROM groups WHERE purpose = 'training' AND state = 'consumed' "
            "GROUP BY step ORDER BY step"
        )
    finally:
        opened.close()
