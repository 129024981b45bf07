"""A run that is killed again and again ends bit for bit as the one that nobody disturbed; and is replayed."""

import json
import multiprocessing
import signal
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import pytest
import torch.distributed as dist

from common.config import validate
from common.errors import LedgerError
from common.run_directory import RunDirectory
from launch.cli import parser
from launch.replay import is_identical, main, steps_of, told
from learner.checkpoint import load_checkpoint
from learner.conditions import found
from learner.fsck.examine import examine
from learner.ledger import Ledger
from learner.ledger_reader import LedgerReader, RecordedStep
from learner.ranks import Ranks, open_trainer
from learner.replay import MEASURED_TIMES, ReplayConfig, StepReport, as_json, chosen, compared, replay
from learner.statistics import StepStatistics
from tests import making
from tests.dying_run import KINDS, STEPS, Kind, Moment, config_in, play

DEATHS: list[tuple[Moment, int]] = [
    ("before consuming", 3),
    ("after consuming", 3),
    ("while writing", 4),
    ("after writing", 4),
]


@pytest.fixture(scope="module")
def fresh() -> Any:
    """Processes that have imported everything and share nothing with this one."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.dying_run", "learner.assembly", "actors.assembly", "transformers"])
    return context


def ended(fresh: Any, directory: Path, moment: Moment = "", step: int = 0, kind: Kind = "") -> int:
    process = fresh.Process(target=play, args=(directory, moment, step, kind))
    process.start()
    process.join(120)
    if process.exitcode is None:
        process.kill()
        pytest.fail(f"the run that was to die {moment} step {step} does not end")
    return int(process.exitcode)


@pytest.fixture(scope="module")
def undisturbed(fresh: Any, tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    directory = tmp_path_factory.mktemp("undisturbed")
    assert ended(fresh, directory) == 0
    return config_in(directory).run.folder


def test_a_run_that_is_killed_at_any_moment_ends_as_if_nothing_had_happened(
    fresh: Any, undisturbed: RunDirectory, tmp_path: Path
) -> None:
    """Parameters, optimizer, schedule, data order, horizon, statistics; each resumes from what is whole."""
    for moment, step in DEATHS:
        assert ended(fresh, tmp_path, moment, step) == -signal.SIGKILL, moment
    assert ended(fresh, tmp_path) == 0
    disturbed = config_in(tmp_path).run.folder
    assert history(disturbed) == history(undisturbed)
    name = "model.safetensors"
    assert (disturbed.final_model / name).read_bytes() == (undisturbed.final_model / name).read_bytes()
    ours, theirs = (
        load_checkpoint(run.checkpoints / f"step-{STEPS:06d}") for run in (disturbed, undisturbed)
    )
    assert all(bool((tensor == theirs.optimizer[key]).all()) for key, tensor in ours.optimizer.items())
    starts = [
        json.loads(line)["version"] for line in (disturbed.path / "learners.jsonl").read_text().splitlines()
    ]
    assert starts[0] == 0
    assert starts[-1] == 4
    assert len(starts) == len(DEATHS) + 1
    assert not list(disturbed.checkpoints.glob(".draft-*"))
    assert examine(disturbed).violations == ()


def history(run: RunDirectory) -> list[tuple[int, tuple[int, ...], dict[str, float]]]:
    with LedgerReader(run.ledger) as ledger:
        return [(s.step, s.groups, _lasting(s.values)) for s in ledger.steps()]


def _lasting(values: dict[str, float]) -> dict[str, float]:
    """Of the horizon and of the optimizer step; not of the clock, nor of what arrived since a start."""
    names = {f"train/{field.name}" for field in fields(StepStatistics)} - MEASURED_TIMES
    return {name: value for name, value in values.items() if name in names or name == "horizon/current"}


@pytest.fixture
def ranks(undisturbed: RunDirectory) -> Iterator[Ranks]:
    config = replay_config(undisturbed)
    with Ranks(open_trainer(undisturbed.policy_zero, config.learner, config.model)) as opened:
        yield opened
    assert not dist.is_initialized()


def replay_config(run: RunDirectory, first: int = 1, last: int = 0, kind: Kind = "") -> ReplayConfig:
    dumped = config_in(run.path.parent, kind).model_dump()
    return validate(ReplayConfig, dumped | {"replay": {"first": first, "last": last, "report": "nowhere"}})


@pytest.mark.parametrize(("first", "begun"), [(1, "policy zero"), (3, "step-000002"), (5, "step-000004")])
def test_recorded_steps_are_reached_bit_for_bit_and_the_run_is_not_touched(
    undisturbed: RunDirectory, ranks: Ranks, first: int, begun: str
) -> None:
    before = {path: path.stat().st_mtime_ns for path in undisturbed.path.rglob("*")}
    config, reports = replay_config(undisturbed, first), list[StepReport]()
    report = replay(config, ranks, found(config.learner, ranks.device), reports.append)
    assert [row.step for row in reports] == list(range(first, STEPS + 1))
    assert all(not row.differences and row.num_compared > 15 for row in reports)
    assert report["began_with"] == begun
    assert report["is_known_under_which_conditions"]
    assert is_identical(report)
    assert {path: path.stat().st_mtime_ns for path in undisturbed.path.rglob("*")} == before
    losses = {row[2]["train/loss"] for row in history(undisturbed)}
    assert len(losses) == STEPS


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind])
def test_adapters_and_critics_are_reached_bit_for_bit_too(fresh: Any, tmp_path: Path, kind: Kind) -> None:
    assert ended(fresh, tmp_path, kind=kind) == 0
    run = config_in(tmp_path, kind).run.folder
    for first in (1, 3):
        config = replay_config(run, first, kind=kind)
        with Ranks(open_trainer(run.policy_zero, config.learner, config.model)) as ranks:
            report = replay(config, ranks, found(config.learner, ranks.device), lambda _: None)
        assert is_identical(report), told(report)
        assert len(report["steps"]) == STEPS + 1 - first
        assert report["differing_conditions"] == []


def test_steps_that_were_not_recorded_are_named(undisturbed: RunDirectory, ranks: Ranks) -> None:
    config = replay_config(undisturbed, 4, 99)
    with pytest.raises(LedgerError, match="steps 4:99 asked for, recorded are 1:5"):
        replay(config, ranks, found(config.learner, ranks.device), print)


def test_one_bit_is_a_difference_and_a_measured_time_is_none() -> None:
    values = {"train/loss": 0.1, "train/grad_norm": float("nan"), "train/duration_s": 1.0}
    step = RecordedStep(1, (0,), values)
    same = compared(step, values | {"train/duration_s": 2.0})
    assert (same.num_compared, same.differences) == (2, ())
    (difference,) = compared(step, values | {"train/loss": 0.1 + 2**-56}).differences
    assert difference.name == "train/loss"
    assert 0 < difference.relative < 1e-15


def test_the_first_difference_is_told_with_both_values_and_what_may_explain_it() -> None:
    difference = {"name": "train/loss", "recorded": 0.5, "replayed": 0.25}
    report = {
        "began_with": "policy zero",
        "is_known_under_which_conditions": True,
        "conditions": {"device": "cpu"},
        "differing_conditions": ["threads: 1 then, 2 now"],
        "largest_relative_difference": 0.5,
        "steps": [
            {"step": 1, "num_compared": 20, "differences": []},
            {"step": 2, "num_compared": 20, "differences": [difference]},
        ],
    }
    assert not is_identical(report)
    said = "\n".join(told(report))
    assert "1 of 2 steps identical in all of 20 statistics" in said
    assert "step 2, train/loss: 0.5 recorded, 0.25 replayed; largest relative difference 0.5" in said
    assert "not as it was: threads: 1 then, 2 now" in said


def test_a_report_is_json_whatever_differs() -> None:
    """JSON has neither NaN nor infinity; who reads a report is not to fail on them."""
    step = RecordedStep(1, (0,), {"train/loss": float("nan")})
    report = compared(step, {"train/loss": 0.5, "train/grad_norm": float("inf")})
    rows = as_json({"steps": [asdict(report)], "largest": max(d.relative for d in report.differences)})

    def refuse(name: str) -> None:
        raise AssertionError(name)

    assert json.loads(json.dumps(rows), parse_constant=refuse) == rows
    assert rows["largest"] == "Infinity"
    assert rows["steps"][0]["differences"] == [
        {"name": "train/grad_norm", "recorded": None, "replayed": "Infinity"},
        {"name": "train/loss", "recorded": "NaN", "replayed": 0.5},
    ]


def test_what_lies_before_the_checkpoint_need_not_be_replayable(tmp_path: Path) -> None:
    """A run that an older release began, without the order of groups, is replayed from a newer checkpoint."""
    ledger = Ledger(tmp_path / "ledger.sqlite", "test")
    task = making.trajectory().task
    ledger.open_groups([task] * 3, purpose="training", label="", horizon=5, size=1, version=0)
    for step in (1, 2, 3):
        ledger.commit_submissions([making.trajectory(step - 1)], 0)
        ledger.consume(step, [step - 1], horizon=5, max_staleness=0, num_tokens=2)
        ledger.record_step_values(step, {"train/loss": 1.0})
    ledger.rows("UPDATE steps SET groups_json = '' WHERE step = 1")
    ledger.close()
    with LedgerReader(tmp_path / "ledger.sqlite") as reader:
        assert [step.step for step in chosen(reader, 3, 0, behind=1)] == [2, 3]
        with pytest.raises(LedgerError, match="step 1 was recorded by a release"):
            chosen(reader, 3, 0, behind=0)
    with closing(sqlite3.connect(tmp_path / "ledger.sqlite")) as db:
        db.execute("UPDATE steps SET values_json = '{' WHERE step = 2")
        db.commit()
    with (
        LedgerReader(tmp_path / "ledger.sqlite") as reader,
        pytest.raises(LedgerError, match="step 2 cannot"),
    ):
        chosen(reader, 3, 0, behind=1)


def test_what_is_asked_for_is_checked(tmp_path: Path) -> None:
    assert [steps_of(text) for text in ("", "3", "3:", ":4", "3:4")] == [
        (1, 0),
        (3, 3),
        (3, 0),
        (1, 4),
        (3, 4),
    ]
    for wrong in ("0", "4:3", "a:b", "-1"):
        with pytest.raises(ValueError, match="--steps="):
            steps_of(wrong)
    with pytest.raises(ValueError, match="not a run"):
        main(parser().parse_args(["replay", str(tmp_path)]), [])
