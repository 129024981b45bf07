import asyncio
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.distributed as dist
from safetensors.torch import load_file

from common.errors import CheckpointError
from common.model_config import ModelConfig
from learner.checkpoint import CheckpointStore, load_checkpoint
from learner.config import LearnerConfig
from learner.packing import pack
from learner.ranks import Ranks, TrainerThread, open_trainer
from learner.trainer import Trainer
from tests.learner.checkpoints import kept
from tests.learner.torch_side import make_trainer, random_sequences, single_rank, tiny_folder

ROOT = Path(__file__).parents[2]


def under_torchrun(num_ranks: int, program: str, *arguments: object) -> None:
    """Run a program of this folder on so many ranks."""
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), "CUDA_VISIBLE_DEVICES": ""}
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(num_ranks)]
    done = subprocess.run(
        [sys.executable, *launcher, "-m", f"tests.learner.{program}", *map(str, arguments)],
        env=environment,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr[-4000:]


def run_ranks(num_ranks: int, model: Path, out: Path, lora_rank: int = 0) -> dict[str, object]:
    """The rank program under torchrun; what rank 0 saw."""
    under_torchrun(num_ranks, "rank_program", model, out, lora_rank)
    seen: dict[str, object] = json.loads((out / "seen.json").read_text())
    return seen


@pytest.mark.slow
@pytest.mark.parametrize("lora_rank", [0, 4])
def test_two_ranks_learn_the_same_as_one(tmp_path: Path, lora_rank: int) -> None:
    """Losses, statistics, parameters, optimizer, checkpoint, names; a rank may have nothing to do."""
    model = tiny_folder(tmp_path / "model")
    one, two = (run_ranks(n, model, tmp_path / f"ranks-{n}", lora_rank) for n in (1, 2))
    np.testing.assert_allclose(two["steps"], one["steps"], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(two["mismatch"], one["mismatch"], rtol=1e-4)
    assert two["names"] == one["names"]
    states = [load_file(tmp_path / f"ranks-{n}" / "state.safetensors") for n in (1, 2)]
    assert states[0].keys() == states[1].keys()
    for name, tensor in states[0].items():
        torch.testing.assert_close(states[1][name], tensor, atol=1e-5, rtol=0, msg=name)
    saved = [load_file(tmp_path / f"ranks-{n}" / "saved" / "model.safetensors") for n in (1, 2)]
    for name, tensor in saved[0].items():
        torch.testing.assert_close(saved[1][name], tensor, atol=1e-5, rtol=0, msg=name)
    steps = np.array(two["steps"])
    np.testing.assert_array_equal(steps[3], steps[2])  # back to the checkpoint, and the same step again


def test_a_checkpoint_goes_from_one_rank_to_two_and_back_bit_for_bit(tmp_path: Path, model: Path) -> None:
    """Parameters, optimizer, counts; two ranks write a file each, and the next step is the same.

    The program also sees that a folder which the ranks do not share is refused.
    """
    sequences = random_sequences([60, 33, 20])
    batch = pack(sequences, microbatch_tokens=64)
    one, two = (CheckpointStore(tmp_path / name) for name in ("one", "two"))
    with single_rank() as device:
        trainer = make_trainer(model, device)
        for step in (1, 2):
            Ranks(trainer).step(batch, step=step, temperature=1.0)
        kept(one, trainer)
        expected = Ranks(trainer).step(batch, step=3, temperature=1.0)
    under_torchrun(2, "reshard_program", model, one.folder, two.folder)
    before, after = (load_checkpoint(store.path(2)) for store in (one, two))
    assert (after.step, after.num_skipped) == (2, before.num_skipped)
    for part in ("weights", "optimizer"):
        ours, theirs = getattr(before, part), getattr(after, part)
        assert ours.keys() == theirs.keys()
        assert all(torch.equal(tensor, theirs[name]) for name, tensor in ours.items())
    assert len(list(two.path(2).glob("rank-*.safetensors"))) == 2
    with single_rank() as device:
        trainer = make_trainer(model, device)
        trainer.load(two.path(2))
        found = Ranks(trainer).step(batch, step=3, temperature=1.0)
    assert (found.loss, found.grad_norm) == (expected.loss, expected.grad_norm)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return tiny_folder(tmp_path / "model")


def build(model: Path) -> Trainer:
    return open_trainer(model, LearnerConfig(device="cpu", learning_rate=1e-2), ModelConfig(path=str(model)))


async def test_all_torch_work_is_done_on_one_thread_that_is_not_the_loops(model: Path) -> None:
    seen: set[str] = set()

    def builds() -> Trainer:
        seen.add(threading.current_thread().name)
        return build(model)

    def consume(weights: Iterator[tuple[str, torch.Tensor]]) -> int:
        seen.add(threading.current_thread().name)
        return len(list(weights))

    async with TrainerThread(builds) as trainer:
        assert await trainer.gather("float32", consume) == 21
        seen.add(await trainer.run(lambda _: threading.current_thread().name))
    assert len(seen) == 1
    assert threading.current_thread().name not in seen


async def test_a_cancelled_step_in_progress_is_still_whole(model: Path) -> None:
    """The caller may give up; the next call finds the trainer between steps."""
    batch = pack(random_sequences([60, 33, 20]), microbatch_tokens=64)
    began, may_go_on = threading.Event(), threading.Event()

    def work(ranks: Ranks) -> None:
        began.set()
        may_go_on.wait(30)
        ranks.step(batch, step=1, temperature=1.0)

    async with TrainerThread(lambda: build(model)) as trainer:
        async with asyncio.TaskGroup() as group:
            step = group.create_task(trainer.run(work))
            await asyncio.to_thread(began.wait, 30)
            step.cancel()
        may_go_on.set()
        state = await trainer.run(lambda ranks: ranks.state())
    assert step.cancelled()
    assert state.step == 1


async def test_a_consumer_that_fails_leaves_the_ranks_in_step(model: Path) -> None:
    def fail(weights: Iterator[tuple[str, torch.Tensor]]) -> None:
        next(weights)
        raise OSError("the disk is full")

    async with TrainerThread(lambda: build(model)) as trainer:
        with pytest.raises(OSError, match="the disk is full"):
            await trainer.gather("float32", fail)
        assert (await trainer.step(pack(random_sequences([30]), microbatch_tokens=64), 1, 1.0)).step == 1


async def test_a_batch_packed_for_other_ranks_is_refused(model: Path) -> None:
    batch = pack(random_sequences([30]), microbatch_tokens=64, num_ranks=2)
    async with TrainerThread(lambda: build(model)) as trainer:
        with pytest.raises(ValueError, match="packed for 2 ranks, there are 1"):
            await trainer.step(batch, 1, 1.0)


def test_ranks_leave_their_group_after_an_error_too(model: Path) -> None:
    with pytest.raises(OSError, match="the disk is full"), Ranks(build(model)):
        raise OSError("the disk is full")
    assert not dist.is_initialized()


async def test_another_models_state_is_refused(model: Path, tmp_path: Path) -> None:
    other = tiny_folder(tmp_path / "other", num_kv_heads=4)
    async with TrainerThread(lambda: build(other)) as trainer:
        store = CheckpointStore(tmp_path / "checkpoints")
        path = (await trainer.run(lambda ranks: ranks.begin_checkpoint(store, {}))).result()
    async with TrainerThread(lambda: build(model)) as trainer:
        with pytest.raises(CheckpointError, match="another model"):
            await trainer.run(lambda ranks: ranks.load(path))
