"""Pages made from the code agree with it, and every metric that is written is described."""

import json
import re
from pathlib import Path

import pytest

from common.metric_names import METRICS, PANELS, is_known
from launch.config import RunConfig
from launch.reference import attribute_docstrings, pages

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("file", sorted(pages()), ids=lambda file: file.name)
def test_a_generated_page_agrees_with_the_code(file: Path) -> None:
    assert file.read_text() == pages()[file], "run `python -m launch.reference`"


def test_every_metric_that_the_learner_names_is_described() -> None:
    written = set()
    for file in (ROOT / "learner").rglob("*.py"):
        written |= set(
            re.findall(r'values\["([a-z_]+/[a-z_/]+)"\]|^\s+"([a-z_]+/[a-z_/]+)":', file.read_text(), re.M)
        )
    names = {name for pair in written for name in pair if name}
    assert len(names) > 20
    assert not {name for name in names if not is_known(name)}


def test_every_metric_of_the_optimizer_step_is_described() -> None:
    from dataclasses import fields

    from learner.statistics import StepStatistics

    own = {field.name for field in fields(StepStatistics)} - {"critic"}
    assert not {f"train/{name}" for name in own} - METRICS.keys()


def test_every_metric_has_a_panel_a_unit_and_a_meaning() -> None:
    assert {metric.panel for metric in METRICS.values()} == set(PANELS)
    assert all(metric.unit and metric.meaning for metric in METRICS.values())


def test_names_with_numbers_are_known() -> None:
    assert is_known("horizon/12/success")
    assert is_known("length/trained/up_to_8")
    assert not is_known("horizon/success")
    assert not is_known("train/succes")


def test_what_is_not_obvious_about_a_field_is_said_below_it() -> None:
    notes = attribute_docstrings(RunConfig.model_fields["learner"].annotation)  # type: ignore[arg-type]
    assert "teaches nothing" in notes["drops_zero_variance"]
    assert json.dumps(notes)
