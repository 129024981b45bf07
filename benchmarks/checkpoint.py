"""How long training stops for a checkpoint: copied and written behind its back, against gathered and written.

    python -m benchmarks.checkpoint [--models quickstart,medium] [--ranks 1,2] [--repeats 5]

`stop` is what a step waits for: now the copy of every rank's shards to memory, before the gathering of the
whole on rank 0 and its writing. `whole write` ends when the checkpoint has its name. Two safetensors files of
whole tensors, flushed to the disk, stand for the format of before.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
from safetensors.torch import save_file

from common.model_config import ModelConfig, SmallModel
from learner.atomic_folder import atomic_folder
from learner.checkpoint import CheckpointStore
from learner.config import LearnerConfig
from learner.model_source import make_small
from learner.ranks import Ranks, open_trainer, serve
from learner.trainer import Trainer

WORDS = ["put", "take", "go"]
MODELS = {
    "quickstart": SmallModel(
        hidden_size=128, intermediate_size=256, num_layers=3, num_heads=4, num_kv_heads=4, is_tied=False
    ),
    "medium": SmallModel(hidden_size=512, intermediate_size=2048, num_layers=10, num_heads=8, num_kv_heads=8),
}
"""`medium` has about 42 million parameters."""


def main() -> int:
    """Measure every model on every number of ranks and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--models", default=",".join(MODELS))
    parser.add_argument("--ranks", default="1,2")
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as scratch:
        for name in options.models.split(","):
            folder = Path(scratch) / name
            make_small(folder, MODELS[name], WORDS, dtype="float32", seed=0)
            for ranks in options.ranks.split(","):
                rows.append((name, int(ranks), _measured(folder, int(ranks), options.repeats)))
    print(f"\nmedian of {options.repeats} checkpoints, milliseconds")
    print(
        f"{'model':<12}{'parameters':>12}{'ranks':>6}{'stop now':>10}{'whole write':>13}{'stop before':>13}"
    )
    for name, ranks, found in rows:
        now, write, before = (1e3 * statistics.median(found[key]) for key in ("stop", "write", "before"))
        print(f"{name:<12}{found['parameters']:>12,}{ranks:>6}{now:>10.1f}{write:>13.1f}{before:>13.1f}")
    return 0


def _measured(folder: Path, num_ranks: int, repeats: int) -> dict[str, list[float]]:
    out = folder.with_suffix(".json")
    command = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(num_ranks)]
    command += ["-m", "benchmarks.checkpoint", "--rank-of", str(folder), str(out), str(repeats)]
    subprocess.run([sys.executable, *command], check=True, env=os.environ | {"OMP_NUM_THREADS": "1"})
    found: dict[str, list[float]] = json.loads(out.read_text())
    return found


def rank_main(folder: Path, out: Path, repeats: int) -> None:
    """One rank: measured checkpoints of a trainer that holds moments."""
    learner = LearnerConfig(device="cpu")
    trainer = open_trainer(folder, learner, ModelConfig(path=str(folder)))
    if int(os.environ["RANK"]):
        serve(trainer)
        return
    ranks = Ranks(trainer)
    found: dict[str, object] = {"stop": [], "write": [], "before": []}
    store = CheckpointStore(folder.parent / f"{folder.name}-checkpoints", keep=1)
    # One unmeasured round: the moments are made in it.
    for round_number in range(repeats + 1):
        times = _round(ranks, trainer, store)
        for key, seconds in times.items():
            if round_number:
                found[key].append(seconds)  # type: ignore[attr-defined]
    found["parameters"] = sum(torch.Size(shape).numel() for shape in ranks.shapes.values())
    ranks.stop()
    out.write_text(json.dumps(found))


def _round(ranks: Ranks, trainer: Trainer, store: CheckpointStore) -> dict[str, float]:
    trainer.step_taken += 1
    began = time.perf_counter()
    writing = ranks.begin_checkpoint(store, {})
    stopped = time.perf_counter()
    writing.result()
    written = time.perf_counter()
    state = ranks.state()
    with atomic_folder(store.folder / "before") as draft:
        save_file(state.weights, draft / "weights.safetensors")
        save_file(state.optimizer, draft / "optimizer.safetensors")
    return {"stop": stopped - began, "write": written - began, "before": time.perf_counter() - written}


if __name__ == "__main__":
    if sys.argv[1:2] == ["--rank-of"]:
        rank_main(Path(sys.argv[2]), Path(sys.argv[3]), int(sys.argv[4]))
    else:
        sys.exit(main())
