"""`pronghorn plan` as it is typed: its tables, its JSON, its refusals."""

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from launch.cli import main
from launch.plan.record import bottleneck
from launch.plan.settings import Result, Setting, recommended, settings_of
from launch.plan.simulation import simulate
from tests.launch.plan_ledger import write_run
from tests.launch.plan_making import alone, episode, plan


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_run(tmp_path_factory.mktemp("runs"))


def said(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    code = main(["plan", *arguments])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_every_setting_has_a_row_and_the_last_line_recommends_one(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "plan.json"
    sweep = ("--actors", "1,2", "--max-staleness", "0,2", "--steps", "10", "--plan.seeds=2")
    code, out, _ = said(capsys, str(run), *sweep, "--json", str(file))
    assert code == 0
    assert out.strip().splitlines()[-1].startswith("recommended: actors ")
    assert "serial_share" in out
    assert "assumed" in out
    values = json.loads(file.read_text())
    assert [(s["setting"]["actors"], s["setting"]["max_staleness"]) for s in values["settings"]] == [
        (1, 0),
        (1, 2),
        (2, 0),
        (2, 2),
    ]
    assert all(len(s["outcomes"]) == 2 for s in values["settings"])
    assert values["recommended"] in [s["setting"] for s in values["settings"]]


def test_configuration_files_with_stated_figures_need_no_run(capsys: pytest.CaptureFixture[str]) -> None:
    figures = ("--plan.decode_s=0.02", "--plan.training_per_token_s=1e-4", "--plan.environment_s=0.5")
    arguments = ("configs/debug.toml", *figures, "--plan.seeds=1", "--latency", "0.1,1.0", "--ranks", "1,2")
    code, out, _ = said(capsys, *arguments)
    assert code == 0
    assert out.strip().splitlines()[-1].startswith("recommended: ")


REFUSALS = {
    "no run here": (["{empty}"], "no run here"),
    "no ledger": (["{no_ledger}"], "there is no ledger"),
    "episodes that no actor played": (["{no_leases}"], "no group was played to its end"),
    "too few steps": (["{short}"], "3 steps with metrics; at least 4"),
    "one score": (["{same}"], "scored the same"),
    "no actors": (["{run}", "--actors", "0"], "'0': allowed are whole numbers from 1"),
    "no number": (["{run}", "--bandwidth", "fast"], "'fast': allowed are numbers from 0"),
    "a negative age": (["{run}", "--max-staleness", "-1"], "whole numbers from 0"),
    "no such file": (["nowhere.toml"], "no such configuration file"),
    "a figure that is missing": (["configs/debug.toml"], "plan.decode_s is missing"),
    "an unknown figure": (["{run}", "--plan.speed=9"], "plan.speed = 9: unknown key"),
    "a run and a file": (["{run}", "configs/debug.toml"], "a run stands alone"),
    "no such run": (["runs/nowhere"], "no such run"),
    "an unknown option": (["{run}", "--hosts", "2"], "unrecognized arguments: --hosts 2"),
    "a negative bandwidth": (["{run}", "--bandwidth", "-5"], "'-5': allowed are numbers from 0"),
    "a folder for a file": (["{run}", "--json", "{empty}"], "a folder; allowed is a file"),
    "a size that nobody knows": (
        ["{run}", "--bandwidth", "9", "--plan.weight_mb=0"],
        "give --plan.weight_mb",
    ),
    "an environment that takes no time": (
        ["{run}", "--plan.environment_s=0", "--latency", "1"],
        "the environment takes no time, nothing to scale",
    ),
    "a setting under which no step comes": (
        [
            "{run}",
            "--actors",
            "1",
            "--bandwidth",
            "1000,1e-9",
            "--learner.staleness.mode=drop",
            "--plan.seeds=1",
        ],
        "bandwidth_mb_s 1e-09, environment_s",
    ),
    "no time at all": (
        [
            "configs/debug.toml",
            *(
                "--plan.decode_s=0",
                "--plan.training_per_token_s=0",
                "--plan.environment_s=0",
                "--plan.commit_s=0",
            ),
        ],
        "nothing takes any time",
    ),
}


@pytest.mark.parametrize(("arguments", "text"), REFUSALS.values(), ids=REFUSALS)
def test_what_cannot_be_planned_is_refused_in_one_line(
    arguments: list[str], text: str, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    places = {"run": run, "empty": tmp_path}
    wanted = arguments[0].strip("{}")
    if wanted == "short":
        places[wanted] = write_run(tmp_path, steps=3)
    if wanted == "same":
        places[wanted] = write_run(tmp_path, scores=(1.0,))
    if wanted == "no_ledger":
        places[wanted] = write_run(tmp_path)
        (places[wanted] / "ledger.sqlite").unlink()
    if wanted == "no_leases":
        places[wanted] = write_run(tmp_path)
        with closing(sqlite3.connect(places[wanted] / "ledger.sqlite")) as database, database:
            database.execute("DELETE FROM leases")
    given = [argument.format(**places) for argument in arguments]
    try:
        code, _, err = said(capsys, *given)
    except SystemExit as refused:
        code, err = int(str(refused.code)), capsys.readouterr().err
    assert code != 0
    assert text in err.splitlines()[-1]
    assert "Traceback" not in err


def test_a_file_that_cannot_be_written_is_one_line(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = said(capsys, str(run), "--steps", "3", "--plan.seeds=1", "--json", "/proc/none/plan.json")
    assert code == 1
    assert err.startswith("pronghorn: --json /proc/none/plan.json: ")
    assert len(err.splitlines()) == 1


def test_a_ledger_of_nonsense_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write_run(tmp_path)
    (path / "ledger.sqlite").write_bytes(b"nonsense" * 1000)
    (path / "ledger.sqlite-wal").unlink(missing_ok=True)
    code, _, err = said(capsys, str(path))
    assert code == 1
    assert len(err.splitlines()) == 1


def results(*speeds: tuple[int, int, float]) -> list[Result]:
    """(actors, max staleness, seconds of a turn) each."""
    found = []
    for actors, age, seconds in speeds:
        made = plan(alone(episode(environment_s=seconds)), learner={"staleness": {"max_staleness": age}})
        found.append(Result(Setting(actors, 1, age, 0.0, seconds), (simulate(made, steps=5, seed=0),)))
    return found


def test_the_smallest_setting_that_is_nearly_the_best_is_recommended() -> None:
    found = results((4, 2, 1.0), (2, 2, 1.03), (2, 8, 1.02), (1, 2, 1.5))
    assert recommended(found, 0.05).setting == found[1].setting
    assert recommended(found, 0.0).setting == found[0].setting
    assert recommended(found, 0.9).setting == found[3].setting


def test_the_time_to_the_last_step_is_that_of_so_many_steps_however_many_are_simulated() -> None:
    made = plan(alone(episode(turns=1)))
    result = Result(Setting(1, 1, 0, 0.0, 1.0), (simulate(made, steps=30, seed=0),))
    assert [result.seconds_to(steps) for steps in (10, 30, 100)] == pytest.approx([10.0, 30.0, 100.0])


def test_what_is_not_swept_stays_as_the_configuration_has_it() -> None:
    made = plan(alone(episode()), actor={"num_actors": 3}, learner={"staleness": {"max_staleness": 5}})
    (only,) = settings_of(made, {"actors": [], "ranks": [2]})
    assert (only.actors, only.ranks, only.max_staleness) == (3, 2, 5)


def test_the_bottleneck_is_age_the_learner_the_bound_or_where_episodes_spend_their_time() -> None:
    waits = {"generation": 0.2, "environment": 0.5, "hub_queue": 0.3}
    assert bottleneck(0.05, 0.9, 0.3, waits) == "tokens too old"
    assert bottleneck(0.05, 0.9, 0.0, waits) == "learner"
    assert bottleneck(0.5, 0.1, 0.1, waits) == "environment"
    assert bottleneck(0.5, 0.5, 0.0, waits) == "staleness bound, environment"
