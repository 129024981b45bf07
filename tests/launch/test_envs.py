"""`pronghorn envs` lists whatever it is asked for: what breaks is missing, with the reason."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from common.errors import EnvironmentFault, PreflightError
from envhub.task import Split, Task
from launch.cli import main
from tests.envhub.fakes import HoardingEnvironment

ROOT = Path(__file__).parents[2]


class BrokenWorld(HoardingEnvironment):
    """Its constructor raises."""

    def __init__(self) -> None:
        raise KeyError("nobody thought of this")


class FaultyWorld(HoardingEnvironment):
    """Knows what is wrong with it."""

    def tasks(self, split: Split) -> tuple[Task, ...]:
        raise EnvironmentFault("the list of tasks is torn")


class LateWorld(HoardingEnvironment):
    """Finds out that something is missing when its tasks are listed."""

    def tasks(self, split: Split) -> tuple[Task, ...]:
        raise PreflightError("environment late: no clock; pip install clock")


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        (BrokenWorld, "cannot be made: KeyError: 'nobody thought of this'"),
        (FaultyWorld, "the list of tasks is torn"),
        (LateWorld, "environment late: no clock; pip install clock"),
    ],
)
def test_an_environment_that_breaks_is_listed_as_missing_with_the_reason(
    kind: type, reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    name = f"python:{__name__}:{kind.__name__}"
    assert main(["envs", name, "guess_number", "--json"]) == 0
    broken, good = json.loads(capsys.readouterr().out)
    assert (broken["name"], broken["is_available"]) == (name, False)
    assert broken["reason"].endswith(reason)
    assert good["is_available"]
    assert main(["envs", name, "guess_number"]) == 0
    shown = capsys.readouterr().out
    assert f"{reason}\n" in shown
    assert "guess_number" in shown


def test_a_name_that_means_nothing_is_a_mistake(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["envs", "guess_numbr"]) == 2
    assert "did you mean 'guess_number'" in capsys.readouterr().err


def test_an_environment_of_ones_own_is_found_where_the_command_is_typed(tmp_path: Path) -> None:
    shutil.copy(ROOT / "docs" / "sort_letters.py", tmp_path / "mine.py")
    done = subprocess.run(
        [Path(sys.executable).with_name("pronghorn"), "envs", "python:mine:SortLetters", "--json"],
        cwd=tmp_path, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert json.loads(done.stdout)[0]["is_available"]
