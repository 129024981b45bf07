"""The view shows what the run folder says, and never more than it knows."""

import io
import json
from pathlib import Path

from rich.console import Console

from launch.report import complete_summary, report, rows
from launch.view import Tail, View, readings, step_line, with_sparkline
from tests.launch.making import run_config

SUMMARY = {
    "heldout": {
        "before": {"success": 0.1, "low": 0.06, "high": 0.17, "num_tasks": 100},
        "after": {"success": 0.62, "low": 0.52, "high": 0.71, "num_tasks": 100},
    },
    "steps": 60,
    "minutes": 1.0,
    "horizons": [{"step": 1, "horizon": 6}, {"step": 21, "horizon": 10}],
    "trajectories": {"granted": 4000, "consumed": 3840, "dropped": 160, "in_play": 0, "duplicate": 2},
    "max_staleness_trained": 4,
    "tokens": {"generated": 123456, "trained": 100000},
    "seconds": {"generation": 300.0, "training": 200.0, "weight_sync": 10.0, "waiting": 90.0},
}


def text_of(config_directory: Path, width: int = 100) -> tuple[View, Console, io.StringIO]:
    written = io.StringIO()
    console = Console(file=written, width=width, force_terminal=False)
    return View(run_config(config_directory), console), console, written


def test_what_is_left_is_estimated_from_the_newest_steps() -> None:
    rows = [{"time/step_s": 1000.0}, *[{"time/step_s": 30.0}] * 10, {"heldout/success": 0.5}]
    assert ("left", "3 minutes at this pace") in readings({"step": 4, "steps": 10}, rows)
    assert all(name != "left" for name, _ in readings({"step": 0, "steps": 10}, []))


def test_the_panel_shows_the_status_of_this_stage(tmp_path: Path) -> None:
    view, console, written = text_of(tmp_path)
    folder = run_config(tmp_path).run.folder
    folder.path.mkdir()
    folder.status.write_text(json.dumps({"stage": "old"}))
    import os

    os.utime(folder.status, (1, 1))
    view.stage("warm start")
    assert view.status() == {}
    status = {
        "stage": "training",
        "step": 3,
        "steps": 10,
        "success": 0.5,
        "horizon": 6,
        "staleness": 1.25,
        "queue": 2,
    }
    folder.status.write_text(json.dumps(status))
    os.utime(folder.status, (2**33, 2**33))
    console.print(view.render())
    shown = written.getvalue()
    for part in ("training", "3/10", "0.500", "6 turns", "1.25 versions", "2 groups"):
        assert part in shown
    assert "held-out" not in shown


def test_a_row_is_read_once_and_only_when_complete(tmp_path: Path) -> None:
    file = tmp_path / "metrics.jsonl"
    file.write_text('{"step": 1}\n')
    tail = Tail(file)
    assert tail.new_rows() == []
    with file.open("a") as out:
        out.write('{"step": 2}\n{"st')
        out.flush()
        assert tail.new_rows() == [{"step": 2}]
        out.write('ep": 3}\n')
        out.flush()
        assert tail.new_rows() == [{"step": 3}]
    assert tail.new_rows() == []


def test_a_step_is_one_line_of_what_is_known() -> None:
    row = {"step": 4, "train/success": 0.25, "horizon/current": 6.0, "staleness/mean": None}
    assert step_line(row, 10) == "step 4/10  success 0.250  horizon 6"
    assert step_line({"step": 4, "heldout/success": 0.5}, 10) == "held-out at step 4: success 0.500"


def test_a_sparkline_has_a_bar_per_point() -> None:
    assert with_sparkline([0.0, 0.5, 1.0], 1.0) == "1.000  ▁▅█"
    assert with_sparkline([], None) is None


def test_the_final_table_says_before_after_and_where_things_are(tmp_path: Path) -> None:
    config = run_config(tmp_path)
    folder = config.run.folder
    folder.path.mkdir()
    folder.summary.write_text(json.dumps(SUMMARY))
    complete_summary(folder, {"warm start": 120.0, "training": 480.0}, {"actor-0": 1})
    complete_summary(folder, {"warm start": 120.0, "training": 480.0}, {"actor-0": 2})
    written = io.StringIO()
    report(config, Console(file=written, width=200))
    shown = written.getvalue()
    for part in (
        "0.100  (95 % interval 0.060 to 0.170, 100 tasks)",
        "0.620  (95 % interval 0.520 to 0.710, 100 tasks)",
        "60 in 10.0 minutes",
        "6 from step 1, 10 from step 21",
        "actor-0 3x",
        str(folder.final_model),
        str(folder.metrics),
        str(folder.ledger),
    ):
        assert part in shown


def test_a_run_without_evaluation_says_so(tmp_path: Path) -> None:
    summary = SUMMARY | {"heldout": {"before": None, "after": None}}
    assert dict(rows(summary, run_config(tmp_path).run.folder))["held-out after"] == "not evaluated"
