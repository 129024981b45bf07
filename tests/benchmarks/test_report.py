"""Figures and their goals."""

import json
import re
from pathlib import Path

import pytest

from benchmarks.all import FOLDER, names
from benchmarks.report import Report


@pytest.mark.parametrize("name", names())
def test_every_benchmark_leaves_its_figures_where_json_says(name: str) -> None:
    source = (FOLDER / f"{name}.py").read_text()
    assert re.search(r"\bparse\(\s*__doc__", source)
    assert "arguments.json" in source


def test_what_is_a_target_of_its_own_is_no_benchmark() -> None:
    assert not {"chaos", "multinode", "all", "report"} & set(names())


def test_figures_are_written_with_goal_and_verdict(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = Report("bus")
    report.add("speed", 2000, "1/s", at_least=1000)
    report.add("latency", 5.0, "ms", at_most=1.0)
    report.add("size", 3, "B")
    report.finish(tmp_path / "deep" / "bus.json")
    content = json.loads((tmp_path / "deep" / "bus.json").read_text())
    assert content["figures"] == {
        "speed": {"value": 2000.0, "unit": "1/s", "goal": 1000, "holds": True},
        "latency": {"value": 5.0, "unit": "ms", "goal": 1.0, "holds": False},
        "size": {"value": 3.0, "unit": "B", "goal": None, "holds": None},
    }
    assert content["machine"]["num_cores"] >= 1
    printed = capsys.readouterr().out
    assert "speed" in printed
    assert "MISSED" in printed


def test_a_figure_has_one_name_and_one_goal() -> None:
    report = Report("bus")
    report.add("speed", 1, "1/s")
    with pytest.raises(ValueError, match="recorded already"):
        report.add("speed", 1, "1/s")
    with pytest.raises(ValueError, match="two goals"):
        report.add("size", 1, "B", at_least=1, at_most=2)
