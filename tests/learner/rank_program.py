"""What every rank of the test of several ranks runs: `torchrun rank_program.py MODEL OUT LORA_RANK`.

Trains, keeps a checkpoint, trains on, goes back to the checkpoint and trains again; writes what it saw.
"""

import asyncio
import json
import os
import sys
from pathlib import Path

import torch
from safetensors.torch import save_file

from common.model_config import LoraConfig, ModelConfig
from learner.batch import Batch
from learner.checkpoint import CheckpointStore
from learner.config import LearnerConfig
from learner.packing import pack
from learner.ranks import TrainerThread, open_trainer, serve
from learner.trainer import Trainer
from tests.learner.torch_side import random_sequences

CONFIG = LearnerConfig(learning_rate=1e-2, epsilon=1e-3, device="cpu", steps=10)


def main(model: Path, out: Path, lora_rank: int) -> None:
    def build() -> Trainer:
        lora = LoraConfig(rank=lora_rank)
        return open_trainer(model, CONFIG, ModelConfig(path=str(model), lora=lora))

    if int(os.environ.get("RANK", "0")) > 0:
        serve(build())
    else:
        out.mkdir()
        asyncio.run(lead(build, out))


async def lead(build: object, out: Path) -> None:
    num_ranks = int(os.environ.get("WORLD_SIZE", "1"))
    store = CheckpointStore(out / "checkpoints")
    async with TrainerThread(build) as trainer:  # type: ignore[arg-type]
        seen = [await take(trainer, step, num_ranks) for step in (1, 2)]
        writing = await trainer.run(lambda ranks: ranks.begin_checkpoint(store, {"step": 2}))
        seen.append(await take(trainer, 3, num_ranks))
        await trainer.run(lambda ranks: ranks.load(writing.result()))
        seen.append(await take(trainer, 3, num_ranks))
        mismatch = await trainer.mismatch(batch(1, num_ranks), 1, 1.0)
        names = await trainer.gather("bfloat16", lambda weights: [name for name, _ in weights])
        await trainer.save_huggingface(out / "saved")
        state = await trainer.run(lambda ranks: ranks.state())
    save_file(
        state.weights | {f"optimizer.{k}": v for k, v in state.optimizer.items()}, out / "state.safetensors"
    )
    (out / "seen.json").write_text(json.dumps({"steps": seen, "mismatch": mismatch, "names": names}))


def batch(seed: int, num_ranks: int) -> Batch:
    """Five sequences: over two ranks the second has less to do, in the first step nothing at all."""
    lengths = [60] if seed == 1 else [60, 33, 20, 9, 4]
    return pack(random_sequences(lengths, seed), microbatch_tokens=64, num_ranks=num_ranks)


async def take(trainer: TrainerThread, step: int, num_ranks: int) -> list[float]:
    done = await trainer.step(batch(step, num_ranks), step, 1.0)
    return [done.loss, done.grad_norm, done.mismatch_kl, done.max_ratio, float(done.num_tokens)]


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))
