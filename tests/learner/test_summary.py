"""What the ledger says about a run: what the horizon is judged on, and the result."""

import pytest

from common.trajectory import TaskReference
from learner.horizon import StepEvidence
from learner.ledger import Ledger
from learner.ledger_records import Purpose
from learner.summary import evidence, summarize_run
from tests import making

TASK = TaskReference(environment="toy", task="task-0")


@pytest.fixture
def ledger(tmp_path):
    ledger = Ledger(tmp_path / "ledger.sqlite", "test")
    yield ledger
    ledger.close()


def played(
    ledger: Ledger,
    *rewards: float,
    horizon: int = 5,
    purpose: Purpose = "training",
    outcome: str = "terminated",
) -> int:
    """The id of a complete group whose members got these rewards."""
    (group,) = ledger.open_groups(
        [TASK], purpose=purpose, label="", horizon=horizon, size=len(rewards), version=0
    )
    members = [
        making.trajectory(group.id, i, reward=reward, horizon=horizon, outcome=outcome)
        for i, reward in enumerate(rewards)
    ]
    ledger.commit_submissions(members, version=0)
    return group.id


def test_groups_that_were_all_solved_or_all_failed_count_for_the_horizon(ledger):
    mixed = played(ledger, 1.0, 0.0)
    ledger.drop(played(ledger, 1.0, 1.0), "zero_variance", 1)
    ledger.drop(played(ledger, 0.0, 0.0, outcome="truncated_by_horizon"), "zero_variance", 1)
    ledger.consume(1, [mixed], horizon=5, max_staleness=0, num_tokens=4)
    assert evidence(ledger) == [
        StepEvidence(step=1, horizon=5, num_trajectories=6, num_successes=3, num_cut=2)
    ]


def test_other_drops_and_other_horizons_do_not_count_for_the_horizon(ledger):
    mixed, shorter = played(ledger, 1.0, 0.0), played(ledger, 1.0, 0.0, horizon=3)
    ledger.drop(played(ledger, 1.0, 0.0), "stale", 1)
    ledger.drop(played(ledger, 1.0, 1.0, horizon=3), "zero_variance", 1)
    ledger.consume(1, [mixed, shorter], horizon=5, max_staleness=0, num_tokens=4)
    ((counted, successes),) = [(e.num_trajectories, e.num_successes) for e in evidence(ledger)]
    assert (counted, successes) == (2, 1)


def test_generated_tokens_are_those_of_training_trajectories(ledger):
    played(ledger, 1.0, 0.0)
    played(ledger, 1.0, purpose="evaluation")
    assert summarize_run(ledger)["tokens"]["generated"] == 2 * 2


def test_seconds_are_those_of_all_steps_whichever_process_took_them(ledger):
    for step in (1, 2):
        ledger.consume(step, [played(ledger, 1.0, 0.0)], horizon=5, max_staleness=0, num_tokens=4)
        ledger.record_step_values(
            step, {"engine/generation_s": 2.5, "time/training_s": 1.0, "time/step_s": 30.0}
        )
    summary = summarize_run(ledger)
    assert summary["seconds"] == {"generation": 5.0, "training": 2.0, "weight_sync": 0.0, "waiting": 0.0}
    assert summary["minutes"] == 1.0
