"""What every rank runs to compare one rank with two: `torchrun -m tests.learner.algorithm_program MODEL OUT`.

Takes two steps under every algorithm, a checkpoint in between; rank 0 writes what it saw and all parameters.
"""

import json
import os
import sys
from pathlib import Path

import torch
import torch.distributed as dist
from safetensors.torch import save_file

from common.model_config import ModelConfig
from learner.batch_builder import BatchBuilder
from learner.checkpoint import CheckpointStore
from learner.ranks import Ranks, open_trainer, serve
from learner.updates import take_step
from tests.learner.algorithms import SETTINGS, settings_of
from tests.learner.random_groups import random_groups


def main(model: Path, out: Path) -> None:
    num_ranks = int(os.environ.get("WORLD_SIZE", "1"))
    seen, tensors = {}, {}
    for name in SETTINGS:
        config = settings_of(name, num_ranks=num_ranks)
        trainer = open_trainer(model, config, ModelConfig(path=str(model)))
        if int(os.environ.get("RANK", "0")):
            serve(trainer)
            continue
        ranks, builder = Ranks(trainer), BatchBuilder(config)
        seen[name] = []
        for step in (1, 2):
            groups = random_groups(seed=step)
            draft = builder.draft(groups, [[0] * 4 for _ in groups], 0)
            done = take_step(ranks, builder, draft, config, step=step, temperature=1.0).metrics()
            seen[name].append({k: v for k, v in done.items() if k not in ("duration_s", "tokens_per_s")})
            ranks.load(ranks.begin_checkpoint(CheckpointStore(out.with_suffix(".kept") / name), {}).result())
        state = ranks.state()
        tensors |= {f"{name}.{key}": tensor for key, tensor in state.weights.items()}
        ranks.stop(leaves=name == [*SETTINGS][-1])
    if seen:
        out.mkdir()
        (out / "seen.json").write_text(json.dumps(seen))
        save_file(tensors, out / "parameters.safetensors")
    assert not dist.is_initialized()


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(Path(sys.argv[1]), Path(sys.argv[2]))
