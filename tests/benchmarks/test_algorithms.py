"""The comparison of algorithms: its rows, its runs, forced staleness, and what is made of the results."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.parts.algorithm_dispatcher import FullQueueDispatcher
from benchmarks.parts.algorithm_outcome import Outcome, Result, Share, outcome, results
from benchmarks.parts.algorithm_pool import Job, run_all
from benchmarks.parts.algorithm_rows import ALGORITHMS, CONFIG, FORCED, OFF_POLICY, Row, chosen
from benchmarks.parts.algorithm_table import algorithm_table, insert, staleness_table
from common.config import load
from common.errors import ConfigurationError
from common.messages import Grant, Lease, Sampling
from common.run_directory import RunDirectory
from common.statistics import wilson_interval
from common.trajectory import TaskReference, Trajectory
from launch.config import RunConfig
from learner.config import LearnerConfig, StalenessConfig
from learner.leases import LeaseBook
from learner.ledger import Ledger
from learner.task_order import TaskOrder
from tests import making

TASKS = [TaskReference(environment="toy", task=f"task-{i}") for i in range(9)]


# --- rows -----------------------------------------------------------------------------------------


def test_every_algorithm_of_the_comparison_is_there() -> None:
    assert [row.name for row in ALGORITHMS] == [
        "grpo", "rloo", "reinforce_pp", "ppo+gae", "vtrace", "decoupled_ppo", "cispo", "gspo",
    ]  # fmt: skip
    assert {(row.changes["loss.kind"], row.staleness) for row in OFF_POLICY} == {
        (loss, staleness) for loss in ("dppo_tv", "reinforce") for staleness in FORCED
    }


@pytest.mark.parametrize("row", [*ALGORITHMS, *OFF_POLICY], ids=lambda row: row.name)
def test_a_row_changes_how_is_learnt_and_neither_budget_nor_task(row: Row) -> None:
    plain, changed = (load(RunConfig, [CONFIG], overrides) for overrides in ([], row.overrides))
    assert changed.model_copy(update={"learner": plain.learner}) == plain
    for field in ("steps", "groups_per_step", "group_size"):
        assert getattr(changed.learner, field) == getattr(plain.learner, field)
    assert changed.learner.drops_zero_variance == (row.staleness is None)
    if row.staleness is not None:
        assert changed.learner.staleness == StalenessConfig(max_staleness=row.staleness, mode="wait")


def test_the_curve_is_of_one_version_at_a_time_and_in_the_budget_of_one_core() -> None:
    config = load(RunConfig, [CONFIG])
    assert not config.evaluation.is_concurrent
    assert config.evaluation.samples == 1
    assert config.learner.steps % config.evaluation.every == 0


def test_an_unknown_row_is_refused_with_those_that_there_are() -> None:
    assert [row.name for row in chosen(ALGORITHMS, ["gspo", "grpo"])] == ["grpo", "gspo"]
    with pytest.raises(ValueError, match=r"--only trpo: allowed are grpo, rloo, "):
        chosen(ALGORITHMS, ["trpo"])


# --- forced staleness -----------------------------------------------------------------------------


@pytest.fixture
def forced(tmp_path: Path) -> Iterator[FullQueueDispatcher]:
    """Two groups of two in a step, and a staleness of 1."""
    config = LearnerConfig.model_validate(
        {"groups_per_step": 2, "group_size": 2, "staleness": {"max_staleness": 1, "mode": "wait"}}
    )
    ledger = Ledger(tmp_path / "ledger.sqlite", "test")
    book = LeaseBook("test", lambda: 0.0, ledger=ledger.name)
    dispatcher = FullQueueDispatcher(
        config, ledger, book, TaskOrder(TASKS, seed=1), Sampling(), horizon=5, version=0
    )
    dispatcher.is_training = True
    yield dispatcher
    dispatcher.close()
    ledger.close()


async def granted(dispatcher: FullQueueDispatcher) -> list[Lease]:
    is_first = not dispatcher.book.actors
    if is_first:
        await dispatcher.join("a")
    dispatcher.book.add_credits("a", 100, is_first=is_first)
    return [message.lease for _, message in await dispatcher.grants() if isinstance(message, Grant)]


def played(lease: Lease, version: int, *, reward: float | None = None) -> tuple[str, Trajectory]:
    member = lease.identity.member
    trajectory = making.trajectory(reward=float(member) if reward is None else reward, version=version)
    return "a", trajectory.model_copy(update={"identity": lease.identity, "task": lease.task})


async def test_a_batch_is_held_back_until_as_many_groups_wait_as_may_be_outstanding(
    forced: FullQueueDispatcher,
) -> None:
    *leases, last = await granted(forced)
    await forced.submit([played(lease, 0) for lease in leases])
    assert forced.queue == 3
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.2):
            await forced.take_batch()
    await forced.submit([played(last, 0)])
    assert len(await forced.take_batch()) == 2


async def test_every_token_of_a_batch_is_exactly_as_old_as_forced(forced: FullQueueDispatcher) -> None:
    for version in range(5):
        leases = await granted(forced)
        assert {lease.min_version for lease in leases} == {version}, "no episode begins with older weights"
        await forced.submit([played(lease, version) for lease in leases])
        batch = await forced.take_batch()
        ages = {version - t.oldest_version for group in batch for t in group.trajectories}
        assert ages == {min(version, 1)}
        await forced.consumed(version + 1, batch, max_staleness=max(ages), num_tokens=8)


async def test_a_group_that_teaches_nothing_is_replaced_before_the_step(forced: FullQueueDispatcher) -> None:
    leases = await granted(forced)
    dull = leases[0].identity.group
    await forced.submit(
        [played(lease, 0, reward=1.0 if lease.identity.group == dull else None) for lease in leases]
    )
    assert forced.queue == 3
    await forced.submit([played(lease, 0) for lease in await granted(forced)])
    assert dull not in {group.group for group in await forced.take_batch()}


async def test_who_waits_for_a_full_queue_is_woken_by_the_end(forced: FullQueueDispatcher) -> None:
    async with asyncio.timeout(5), asyncio.TaskGroup() as tasks:
        waiting = tasks.create_task(forced.take_batch())
        tasks.create_task(asyncio.to_thread(lambda: None)).add_done_callback(lambda _: forced.stop())
    assert waiting.result() == []


def test_forcing_without_waiting_for_the_newest_weights_is_refused() -> None:
    with pytest.raises(ValueError, match=r"staleness\.mode = 'mask': allowed is 'wait'"):
        FullQueueDispatcher(LearnerConfig())


# --- runs -----------------------------------------------------------------------------------------


def job(work: Path, *shared: str, row: Row = ALGORITHMS[3], seed: int = 2) -> Job:
    return Job(row, seed, work, ("--sft.num_demonstrations=0", *shared))


def test_a_run_is_named_and_seeded_after_its_row(tmp_path: Path) -> None:
    config = job(tmp_path).config
    assert (config.run.name, config.run.seed) == ("ppo-gae-seed2", 2)
    assert config.learner.advantage.kind == "gae"


def test_a_finished_run_is_kept_and_one_with_other_settings_is_refused(tmp_path: Path) -> None:
    finished = job(tmp_path)
    assert not finished.is_done()
    finished.folder.final_model.mkdir()
    finished.folder.summary.write_text(json.dumps({"steps": finished.config.learner.steps}))
    assert finished.is_done()
    assert run_all([finished], 1) == []
    with pytest.raises(ConfigurationError, match="ppo-gae-seed2: was begun with other settings; remove it"):
        job(tmp_path, "--learner.groups_per_step=2").is_done()


@pytest.mark.slow
def test_a_broken_run_is_told_by_its_last_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    broken = job(tmp_path, "--model.source=path", f"--model.path={tmp_path / 'missing'}")
    assert run_all([broken], 1) == ["ppo-gae-seed2"]
    said = capsys.readouterr().out
    assert "ppo-gae-seed2 broke: exit code 1: pronghorn: model.path = " in said
    assert f"no such folder; give a Hugging Face model folder [{tmp_path / 'ppo-gae-seed2.out'}]" in said


# --- results --------------------------------------------------------------------------------------


def run(seed: int, before: int, after: int, *, staleness: tuple[float, ...] = (0.0, 1.0)) -> Outcome:
    """72 held-out tasks, of which so many were solved at steps 0 and 40."""
    heldout = {0: Share(before, 72), 40: Share(after, 72)}
    return Outcome(seed, heldout, [(1, 0.5)], list(staleness), 0.9, 2000, 90.0)


def test_a_finished_run_is_read_from_its_ledger(tmp_path: Path) -> None:
    folder = RunDirectory(tmp_path / "run")
    folder.path.mkdir()
    ledger = Ledger(folder.ledger, "run")
    for label, step, won in (("before", 0, 0.25), ("after", 2, 0.75)):
        values = {"success": won, "num_tasks": 8}
        ledger.record_evaluation(label, step=step, version=step, values=values)
    for step in (1, 2):
        ledger.consume(step, [], horizon=5, max_staleness=0, num_tokens=6)
        values = {
            "staleness/token_mean": step / 2,
            "train/effective_sample_share": 0.5,
            "episodes/played": 9.0,
        }
        ledger.record_step_values(step, values | ({"train/success": 0.5} if step == 2 else {}))
    ledger.close()
    (folder.path / "stages.json").write_text(json.dumps({"training": 12.5}))
    found = outcome(folder, 3)
    assert (found.before, found.after) == (Share(2, 8), Share(6, 8))
    assert (found.staleness, found.training) == ([0.5, 1.0], [(2, 0.5)])
    assert (found.num_played, found.effective_share, found.training_s) == (18, 0.5, 12.5)


def test_intervals_are_of_all_episodes_of_all_seeds_and_must_not_overlap() -> None:
    learnt = Result(ALGORITHMS[0], tuple(run(seed, 30, 60) for seed in range(3)))
    assert learnt.after == Share(180, 216)
    assert learnt.after.interval == wilson_interval(180, 216)
    assert learnt.is_above
    assert not Result(ALGORITHMS[0], tuple(run(seed, 30, 36) for seed in range(3))).is_above


def test_forced_staleness_is_measured_where_it_is_reached() -> None:
    row = next(row for row in OFF_POLICY if row.staleness == 2)
    assert Result(row, (run(0, 1, 1, staleness=(0.0, 1.0, 2.0, 2.0)),)).staleness == 2.0


def test_a_row_with_a_missing_seed_is_left_out(tmp_path: Path) -> None:
    assert results(ALGORITHMS[:1], [0, 1], {("grpo", 0): tmp_path}) == []


def test_tables_show_every_row_with_its_intervals(tmp_path: Path) -> None:
    found = [Result(row, (run(0, 30, 60), run(1, 32, 70))) for row in ALGORITHMS]
    table = algorithm_table(found)
    assert "| `ppo+gae` | `gae` + `ppo`, " in table
    assert "| 0.431 (0.353 to 0.512) | 0.903 (0.843 to 0.941) | 0.83, 0.97 | yes |" in table
    assert "2 seeds, 40 steps each, 72 held-out tasks a seed" in table
    stale = staleness_table([Result(row, (run(0, 30, 28),)) for row in OFF_POLICY[:1]])
    assert "| `dppo_tv` | 0 | 0.50 | 0.900 | " in stale
    page = tmp_path / "page.md"
    page.write_text("# Title\n<!-- algorithms -->\nold\n<!-- /algorithms -->\nend\n")
    insert(page, "algorithms", table)
    assert page.read_text() == f"# Title\n<!-- algorithms -->\n{table}\n<!-- /algorithms -->\nend\n"
    with pytest.raises(ValueError, match="has no part between <!-- offpolicy -->"):
        insert(page, "offpolicy", stale)


def test_the_same_results_draw_the_same_plot(tmp_path: Path) -> None:
    plot = pytest.importorskip("benchmarks.parts.algorithm_plot", reason="matplotlib is not installed")
    found = {row.name: [("", Result(row, (run(0, 30, 60),)))] for row in ALGORITHMS[:5]}
    for name in ("first.svg", "second.svg"):
        plot.draw(tmp_path / name, found)
    drawn = (tmp_path / "first.svg").read_text()
    assert drawn == (tmp_path / "second.svg").read_text()
    assert "vtrace" in drawn
