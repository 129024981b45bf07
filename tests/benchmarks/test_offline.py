"""What the benchmark of the offline trainers reports of results: gains are paired by task."""

from typing import Any

import pytest

from benchmarks.offline import add_figures, begun, per_task
from benchmarks.report import Report


def result(*tasks: tuple[bool, ...]) -> dict[str, Any]:
    episodes = [
        {"task": f"task {index}", "seed": 0, "is_success": won}
        for index, plays in enumerate(tasks)
        for won in plays
    ]
    share = sum(row["is_success"] for row in episodes) / len(episodes)
    return {"success": share, "low": 0.0, "high": 1.0, "episodes": episodes}


def test_plays_of_a_task_are_one_share() -> None:
    assert per_task(result((True, False), (True, True))) == [0.5, 1.0]


def test_a_gain_on_every_task_holds_and_no_gain_at_all_is_zero() -> None:
    report = Report("offline")
    base = result((False, False), (True, False), (False, True))
    better = result((True, False), (True, True), (True, True))
    add_figures(report, [{"sft": base, "dpo": better, "evol_weighted": base}])
    assert report.figures["offline_dpo_gain"].value == pytest.approx(0.5)
    assert report.figures["offline_dpo_gain_low"].holds
    assert report.figures["offline_evol_weighted_gain"].value == 0
    assert not report.figures["offline_evol_weighted_gain_low"].holds


def test_a_gain_over_two_seeds_is_the_mean_of_both() -> None:
    report = Report("offline")
    base, better = result((False, False), (True, False)), result((True, True), (True, False))
    add_figures(report, [{"sft": base, "dpo": better}, {"sft": base, "dpo": base}])
    assert report.figures["offline_dpo_gain"].value == pytest.approx(0.25)
    assert report.figures["offline_dpo_success_seed1"].value == pytest.approx(0.25)


def test_a_run_begins_with_what_the_warm_start_made_and_keeps_its_own(tmp_path: Any) -> None:
    for product in ("model", "data", "warm_start"):
        (tmp_path / "sft" / product).mkdir(parents=True)
    for product in ("tasks.json", "vocabulary.json"):
        (tmp_path / "sft" / product).write_text("made by sft")
    run = begun(tmp_path, "dpo")
    assert run.warm_start.is_dir()
    run.tasks.write_text("its own")
    assert begun(tmp_path, "dpo").tasks.read_text() == "its own"
