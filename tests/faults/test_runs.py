"""A whole learner over the memory bus, stopped and started again where AgentGym-RL's schedule breaks.

Its scheduler has Δ = 100 and is wrong when resumed at 75, 100 and 150 and right at 200; here Δ is 4 and the
same run is resumed at 3, 4, 6 and 8. One actor answers every lease at once: most members play, some never get
to act, some leases are faulted.
"""

import asyncio
import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from common.aio import background
from common.bus.config import BusConfig
from common.bus.memory import MemoryActorBus, MemoryLearnerBus, MemoryWire
from common.errors import PronghornError
from common.messages import Fault, Grant, Lease, Ready, Stop, Submit
from common.metrics import read_metrics
from common.run_directory import RunDirectory
from common.trajectory import TaskReference, Trajectory
from common.weights.store import WeightStore
from learner.assembly import opened
from learner.config import LearnerRoleConfig
from learner.ledger import Ledger
from learner.task_order import TaskOrder
from tests import making
from tests.learner.random_groups import random_groups
from tests.learner.torch_side import tiny_folder

BUS = BusConfig(heartbeat_s=60)
TASKS = [TaskReference(environment="toy", task=f"task-{i}") for i in range(7)]
HELDOUT = [TaskReference(environment="toy", task="heldout-0")]
ENDS = (3, 4, 6, 8, 10)
"""The run is given so many steps, one after the other."""
SCHEDULE = [2] * 4 + [4] * 4 + [6] * 2
SILENT, FAULTED = 3, 5


def config(folder: Path, steps: int, max_logprob_mismatch: float = 1000) -> LearnerRoleConfig:
    """The actor invents its logprobs, and the learner is told not to mind."""
    return LearnerRoleConfig.model_validate(
        {
            "run": {"name": "run", "directory": str(folder), "seed": 3},
            "model": {"path": str(folder / "run" / "model")},
            "learner": {
                "steps": steps,
                "groups_per_step": 2,
                "group_size": 2,
                "drops_zero_variance": False,
                "staleness": {"max_staleness": 0},
                "batch_s": 60,
                "checkpoint_every": 1,
                "keep_checkpoints": 1,
                "device": "cpu",
                "max_logprob_mismatch": max_logprob_mismatch,
                "loss": {"aggregation": "seq-mean-token-mean"},
            },
            "horizon": {"kind": "stepwise", "rounds": (2, 4, 6), "every": 4},
            "evaluation": {"num_tasks": 1, "every": 2, "is_concurrent": False},
            "monitor": {"wandb": "off"},
        }
    )


def played(lease: Lease, version: int) -> Trajectory:
    """What an actor would send: random turns, or for every third group's second member none at all."""
    group, member = lease.identity.group, lease.identity.member
    made = random_groups(1, 2, seed=100 * group + member, version=version)[0].trajectories[member]
    if lease.purpose == "training" and group % SILENT == 0 and member:
        made = making.trajectory(turns=(), outcome="truncated_by_tokens")
    return made.model_copy(update={"identity": lease.identity, "task": lease.task, "horizon": lease.horizon})


async def answer(bus: MemoryActorBus) -> None:
    """An actor that has played every lease as soon as it is granted; every fifth group breaks at first."""
    await bus.start()
    await bus.send(Ready(credits=4, is_first=True))
    while not isinstance(message := await bus.receive(), Stop):
        if isinstance(message, Grant):
            lease = message.lease
            is_broken = lease.identity.group % FAULTED == 0 and lease.identity.attempt == 0
            if is_broken:
                await bus.send(Fault(identity=lease.identity, reason="the test broke the environment"))
            else:
                await bus.send(Submit(trajectory=played(lease, lease.min_version)))
            await bus.send(Ready(credits=1))


async def trained(config: LearnerRoleConfig, number: int = 0) -> int:
    """Start the run, or start it again, and let it train to its last step; the horizon that it began with."""
    wire = MemoryWire(BUS)
    bus = MemoryActorBus(BUS, f"actor-{number}", "run", wire=wire)

    def listening(store: WeightStore) -> MemoryLearnerBus:
        return MemoryLearnerBus(BUS, "run", store, wire=wire)

    async with opened(config, listening) as learner, background(answer(bus)):
        horizon = learner._parts.dispatcher.horizon
        assert await learner.run()
    return horizon


@dataclass(frozen=True)
class Resumed:
    """A run that was stopped after each of `ENDS`."""

    folder: RunDirectory
    horizons: list[int]
    """Which one each start began with."""


def begun(folder: Path) -> RunDirectory:
    """What `pronghorn run` has made before the learner starts: the model and the lists of tasks."""
    run = RunDirectory(folder / "run")
    tiny_folder(run.model)
    tasks = {"train": TASKS, "heldout": HELDOUT}
    run.tasks.write_text(
        json.dumps({name: [task.model_dump() for task in listed] for name, listed in tasks.items()})
    )
    return run


@pytest.fixture(scope="module")
def resumed(tmp_path_factory: pytest.TempPathFactory) -> Resumed:
    folder = tmp_path_factory.mktemp("runs")
    run = begun(folder)
    return Resumed(
        run, [asyncio.run(trained(config(folder, steps), number)) for number, steps in enumerate(ENDS)]
    )


@pytest.fixture
def ledger(resumed: Resumed) -> Iterator[Ledger]:
    opened = Ledger(resumed.folder.ledger, "run")
    yield opened
    opened.close()


def test_a_resumed_run_begins_with_the_horizon_of_its_next_step(resumed: Resumed) -> None:
    assert resumed.horizons == [2, 2, 4, 4, 6]


def test_resumed_anywhere_every_step_trains_at_the_horizon_of_the_schedule(ledger: Ledger) -> None:
    """Also the step right after a resume, and the one after that, where a stage is skipped elsewhere."""
    rows = ledger.rows("SELECT step, horizon FROM groups WHERE purpose = 'training' AND state = 'consumed'")
    assert sorted(rows) == [(step, horizon) for step, horizon in enumerate(SCHEDULE, 1) for _ in range(2)]


def test_a_run_takes_every_step_that_it_was_given_and_no_other(ledger: Ledger) -> None:
    assert ledger.rows("SELECT step FROM steps ORDER BY step") == [(step,) for step in range(1, 11)]


def test_a_resume_goes_on_with_the_next_task(ledger: Ledger) -> None:
    rows = ledger.rows("SELECT task, seed FROM groups WHERE purpose = 'training' ORDER BY id")
    order = TaskOrder(TASKS, seed=3)
    assert rows == [(order[i].task, order[i].seed) for i in range(len(rows))]
    assert len(rows) >= 20


def test_held_out_tasks_are_played_as_often_as_the_configuration_says(ledger: Ledger) -> None:
    labels = {label for (label,) in ledger.rows("SELECT label FROM evaluations")}
    assert labels >= {"before", "step 2", "step 4", "step 6", "step 8", "after"}


def test_members_that_never_acted_make_no_step_a_nan_and_count_in_no_mean(
    resumed: Resumed, ledger: Ledger
) -> None:
    silent = [
        g.group
        for known in ledger.groups_in("consumed", "training")
        for g in [ledger.group(known.id)]
        if not all(t.num_action_tokens for t in g.trajectories)
    ]
    assert len(silent) > 2
    rows = [row for row in read_metrics(resumed.folder.metrics) if "train/loss" in row]
    assert [row["step"] for row in rows] == list(range(1, 11))
    for row in rows:
        assert all(math.isfinite(value) for value in row.values() if isinstance(value, float)), row
        assert row["train/is_skipped"] == row["train/num_skipped"] == 0


def test_an_episode_that_a_fault_ended_is_played_again_and_none_of_it_is_trained_on(ledger: Ledger) -> None:
    faulted = ledger.rows("SELECT group_id, member FROM leases WHERE ended = 'faulted' ORDER BY 1, 2")
    assert len(faulted) > 4
    for group, member in faulted:
        trajectory = ledger.group(group).trajectories[member]
        assert trajectory.outcome != "faulted"
        assert trajectory.identity.attempt > 0


async def test_an_engine_with_other_logprobs_than_its_learner_is_told_before_the_first_step(
    tmp_path: Path,
) -> None:
    """Neither is compared with the other in AgentGym-RL, where vLLM's logprobs are thrown away."""
    begun(tmp_path)
    with pytest.raises(PronghornError, match=r"more than learner\.max_logprob_mismatch = 0\.1"):
        await trained(config(tmp_path, 2, max_logprob_mismatch=0.1))
