"""The two modes of the overlap benchmark, and what it makes of their runs."""

import json
from pathlib import Path

import pytest

from benchmarks.overlap import CONFIG, MODES, Pace, add_figures, measure, overrides
from benchmarks.report import Report
from common.config import load
from common.run_directory import RunDirectory
from common.trajectory import TaskReference
from launch.config import RunConfig
from learner.ledger import Ledger
from tests.making import trajectory


def pace(step_s: float, *, training_s: float, episode_s: float, max_staleness: int) -> Pace:
    return Pace(
        step_s=step_s,
        training_s=training_s,
        waiting_s=step_s - training_s,
        weight_sync_s=0.0,
        episode_s=episode_s,
        slowest_episode_s=2 * episode_s,
        turns=6.0,
        trained_per_s=64 / step_s,
        played_per_s=64 / step_s,
        tokens_per_s=0.0,
        engine_utilisation=1.0,
        masked_share=0.0,
        max_staleness=max_staleness,
    )


def finished_run(folder: RunDirectory, *, played: list[int]) -> None:
    """One step of two trajectories every 10 s; `played[i]` arrived before the end of step i + 1."""
    folder.path.mkdir()
    ledger = Ledger(folder.ledger, folder.path.name)
    lines = []
    for step, arrived in enumerate(played, start=1):
        tasks = [TaskReference(environment="toy", task="task-0")]
        (group,) = ledger.open_groups(
            tasks, purpose="training", label="", horizon=5, size=2, version=step - 1
        )
        members = [
            trajectory(group.id, m, num_turns=m + 1, started_at=100.0, finished_at=102.0 + 4 * m)
            for m in range(2)
        ]
        ledger.commit_submissions(members, step - 1)
        ledger.consume(step, [group.id], horizon=5, max_staleness=step % 3, num_tokens=6)
        row = {"step": step, "time": 1000.0 + 10 * step, "episodes/played": arrived}
        row |= {f"time/{name}_s": 1.0 for name in ("step", "training", "waiting", "weight_sync")}
        row |= {"train/num_trained_tokens": 6, "engine/utilisation": 0.5, "staleness/masked_share": 0.0}
        lines.append(json.dumps(row))
    ledger.close()
    folder.metrics.write_text("\n".join(lines) + "\n")


def test_the_first_steps_are_not_counted(tmp_path: Path) -> None:
    folder = RunDirectory(tmp_path / "run")
    finished_run(folder, played=[9, 2, 2, 2])
    measured = measure(folder, 2)
    assert measured.step_s == pytest.approx(10.0)
    assert measured.trained_per_s == measured.played_per_s == pytest.approx(0.2)
    assert (measured.episode_s, measured.slowest_episode_s, measured.turns) == pytest.approx((4.0, 6.0, 1.5))
    assert measured.max_staleness == 2, "of the whole run"


def test_what_was_played_before_is_no_time_for_free(tmp_path: Path) -> None:
    folder = RunDirectory(tmp_path / "run")
    finished_run(folder, played=[4, 3, 1, 0])
    assert measure(folder, 1).step_s == pytest.approx(10.0 * 6 / 4)


def test_the_modes_differ_in_the_staleness_limit_alone() -> None:
    one, other = (load(RunConfig, [CONFIG], overrides(m, Path("model"), 9)) for m in MODES)
    assert (one.learner.staleness.max_staleness, other.learner.staleness.max_staleness) == (0, 2)
    staleness = one.learner.staleness
    assert (
        other.model_copy(update={"learner": other.learner.model_copy(update={"staleness": staleness})}) == one
    )
    assert one.hub.latency_mean_s == 0.3
    assert not one.learner.drops_zero_variance


def test_the_ratio_is_of_medians_and_the_ideal_is_the_slower_of_playing_and_learning() -> None:
    report = Report("overlap")
    add_figures(
        report,
        {
            "sync": [pace(s, training_s=1, episode_s=3, max_staleness=0) for s in (8, 10, 99)],
            "async": [
                pace(s, training_s=1, episode_s=3, max_staleness=n) for s, n in ((4, 1), (5, 2), (6, 3))
            ],
        },
    )
    figures = report.figures
    assert figures["overlap_ratio"].value == pytest.approx(0.5)
    assert figures["overlap_ratio"].holds
    assert figures["overlap_ideal_ratio"].value == pytest.approx(0.3)
    assert figures["overlap_sync_step_s"].value == 10
    assert not figures["overlap_async_max_staleness"].holds, "one run trained on a token of 3 versions"
