"""What a run's ledger tells the simulator: known speeds are found again."""

from pathlib import Path
from statistics import fmean

import numpy as np
import pytest

from launch.plan.calibration import from_figures, from_run
from launch.plan.fit import fit_line, non_negative
from launch.plan.simulation import Plan, simulate
from tests.launch import plan_ledger as known
from tests.launch.plan_ledger import write_run
from tests.launch.plan_making import planned


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_run(tmp_path_factory.mktemp("runs"))


@pytest.fixture(scope="module")
def calibrated(run: Path) -> Plan:
    return from_run(run, ())


def test_the_speed_of_an_engine_is_found_from_the_durations_of_its_generations(calibrated: Plan) -> None:
    costs = calibrated.costs
    # How fast the others were at each moment is known only as a mean over each generation.
    assert costs.decode_s == pytest.approx(known.COSTS.decode_s, rel=0.1)
    assert costs.decode_per_request_s == pytest.approx(known.COSTS.decode_per_request_s, rel=0.15)
    assert costs.read_s == pytest.approx(known.COSTS.read_s, rel=0.15)
    assert {note.name: note.value for note in calibrated.notes}["engine fit"] > 0.97


def test_what_is_recorded_as_it_is_is_found_exactly(calibrated: Plan) -> None:
    costs = calibrated.costs
    assert costs.training_s == pytest.approx(known.TRAINING_S)
    assert costs.training_per_token_s == pytest.approx(known.TRAINING_PER_TOKEN_S)
    assert fmean(costs.training_noise) == pytest.approx(1.0)
    assert set(costs.publish_s) == {known.PUBLISH_S}
    assert fmean(costs.after_s) == pytest.approx(known.AFTER_S)
    assert (costs.load_s, costs.pause_s) == (pytest.approx(known.LOAD_S), pytest.approx(known.PAUSE_S))
    assert costs.grant_s == pytest.approx(known.GRANT_S, abs=1e-4)
    assert costs.delivery_s == pytest.approx(known.DELIVERY_S, abs=1e-4)
    assert costs.fault_share == pytest.approx(1 / (known.SESSIONS * known.PER_SESSION + 1))


def test_episodes_are_those_that_were_played(calibrated: Plan) -> None:
    played = [e for group in calibrated.workload.groups for e in group.episodes]
    assert [len(e.turns) for e in played] == [len(turns) for _, turns in known.played_at()]
    assert all(e.opening_s == pytest.approx(known.OPENING_S, abs=1e-3) for e in played)
    assert {e.score for e in played} == {0.0, 1.0}


def test_a_given_figure_stands_above_the_measured_one_and_is_named_so(run: Path) -> None:
    plan = from_run(run, ["--plan.pause_s=7", "--plan.fanout=3", "--plan.bandwidth_mb_s=10"])
    assert plan.costs.pause_s == 7
    origins = {note.name: note.origin for note in plan.notes}
    assert (origins["pause_s"], origins["load_s"], origins["fanout"], origins["serial_share"]) == (
        "given",
        "measured",
        "given",
        "assumed",
    )


def test_a_slowdown_holds_for_all_that_is_computed_and_for_nothing_else(run: Path, calibrated: Plan) -> None:
    slow, fast = from_run(run, ["--plan.slowdown=3", "--plan.load_s=0.7"]), calibrated
    for name in ("decode_per_request_s", "training_per_token_s", "pause_s", "delivery_s"):
        assert getattr(slow.costs, name) == pytest.approx(3 * getattr(fast.costs, name))
    assert slow.costs.publish_s == pytest.approx(tuple(3 * seconds for seconds in fast.costs.publish_s))
    assert slow.costs.load_s == 0.7, "what is given stands"
    assert slow.costs.fault_share == fast.costs.fault_share
    assert slow.costs.training_noise == fast.costs.training_noise
    assert slow.workload.groups == fast.workload.groups


def test_environment_steps_are_scaled_to_a_given_mean(run: Path, calibrated: Plan) -> None:
    slow = from_run(run, ["--plan.environment_s=2.0"])
    assert slow.workload.environment_s == pytest.approx(2.0)
    assert simulate(slow, steps=10, seed=0).step_s > simulate(calibrated, steps=10, seed=0).step_s


def test_an_engine_without_a_prefix_cache_is_known_by_its_configuration(tmp_path: Path) -> None:
    path = write_run(tmp_path)
    text = (path / "config.toml").read_text()
    (path / "config.toml").write_text(text.replace('"vllm"', '"transformers"'))
    assert from_run(path, ()).costs.reads_again


def test_horizons_that_were_never_played_are_named_as_an_assumption(run: Path) -> None:
    plan = from_run(run, ["--horizon.kind=stepwise", "--horizon.rounds=[3, 5, 8]"])
    meanings = {note.name: note.meaning for note in plan.notes if note.name.startswith("horizon")}
    assert "cut from horizon 5" in meanings["horizon 3"]
    assert "too short" in meanings["horizon 8"]
    assert "horizon 5" not in meanings


def test_figures_without_a_run_are_noted_as_given_or_assumed() -> None:
    stated = {"decode_s": 0.02, "training_per_token_s": 1e-4, "environment_s": 0.5}
    plan = from_figures(planned(plan=stated))
    origins = {note.name: note.origin for note in plan.notes}
    assert origins["decode_s"] == origins["environment_s"] == "given"
    assert origins["pause_s"] == origins["turns"] == "assumed"
    assert plan.workload.environment_s == pytest.approx(0.5, rel=0.1)


def test_no_speed_is_negative() -> None:
    columns = np.array([[1.0, 1.0], [2.0, 1.0], [3.0, 1.0]])
    found = non_negative(columns, np.array([1.0, 3.0, 5.0]))
    assert (found >= 0).all()
    assert found[0] > 1


def test_steps_of_one_size_tell_nothing_about_what_grows_with_it() -> None:
    assert fit_line(np.full(5, 100.0), np.full(5, 2.0)) == (0.0, pytest.approx(0.02))
    assert fit_line(np.zeros(5), np.full(5, 2.0)) == (2.0, 0.0)
