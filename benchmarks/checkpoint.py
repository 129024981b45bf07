"""How long training stops for a checkpoint: copied and written behind its back, against gathered and written.

`stop` is what a step waits for, the copy of every rank's shards to memory; `write` ends when the checkpoint
has its name. `before` is what a step waited for in the format of before: the gathering of the whole on rank 0
and its writing, for which two safetensors files of whole tensors, flushed to the disk, stand.
"""

import json
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

from safetensors.torch import save_file

from benchmarks.parts.commands import python
from benchmarks.report import Report, parse
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
DEADLINE_S = 900.0
"""Of one model on one number of ranks."""


def main() -> None:
    """Measure every model on every number of ranks and report; medians."""
    arguments = parse(
        __doc__,
        ("--models", {"nargs": "+", "choices": MODELS, "default": list(MODELS)}),
        ("--ranks", {"nargs": "+", "type": int, "default": [1, 2]}),
        ("--repeats", {"type": int, "default": 5, "help": "checkpoints of each"}),
    )
    report = Report("checkpoint")
    with tempfile.TemporaryDirectory() as scratch:
        for name in arguments.models:
            folder = Path(scratch) / name
            make_small(folder, MODELS[name], WORDS, dtype="float32", seed=0)
            for ranks in arguments.ranks:
                for figure, seconds in measured(folder, ranks, arguments.repeats).items():
                    report.add(f"{name}_{ranks}_ranks_{figure}", statistics.median(seconds), "s")
    report.finish(arguments.json)


def measured(folder: Path, num_ranks: int, repeats: int) -> dict[str, list[float]]:
    """Seconds of each checkpoint, by what is measured."""
    out = folder.with_suffix(".json")
    launcher = ("torch.distributed.run", "--standalone", "--nproc-per-node", str(num_ranks))
    ranks = ("-m", "benchmarks.checkpoint", "--rank-of", str(folder), str(out), str(repeats))
    python(*launcher, *ranks, deadline_s=DEADLINE_S)
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
    found: dict[str, list[float]] = {"stop": [], "write": [], "before": []}
    store = CheckpointStore(folder.parent / f"{folder.name}-checkpoints", keep=1)
    # One unmeasured round: the moments are made in it.
    for round_number in range(repeats + 1):
        times = _round(ranks, trainer, store)
        for key, seconds in times.items():
            if round_number:
                found[key].append(seconds)
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
        main()
