"""Weights between hosts: what a step of SmolLM2-135M changes, and what it costs to send only that.

A learner's trainer (AdamW over float32 masters) takes real policy-gradient steps on a few hundred tokens of
text; after each, the weights are published in bfloat16, and a host that holds the version before gets them
twice over TCP on the loopback interface: as a delta and as a whole copy. Both must be the learner's file, bit
for bit. Per step, with mean and spread over the steps:

  changed   elements whose bits differ from the version before
  share     bytes of the delta over bytes of the whole file
  make      delta from two files in host memory, one thread
  apply     base + delta -> new file in host memory, every checksum compared
  delta     request -> the rebuilt, verified file, the making of the delta included
  full      request -> the whole, verified file

Seconds at a given bandwidth are computed, bytes over bandwidth, and add to none of the above.
"""

import asyncio
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from benchmarks.report import Report, parse
from common.bus.chunks import ChunkFetch, request_of
from common.bus.config import BusConfig
from common.bus.tcp import TcpLearnerBus
from common.messages import WeightManifest
from common.model_config import ModelConfig
from common.weights import layout
from common.weights.delta import apply_delta, make_delta
from common.weights.manifest import file_bytes
from common.weights.store import WeightStore, host_memory
from common.weights.verify import verify
from learner.algorithm_config import LossConfig
from learner.batch import TrainingSequence
from learner.config import LearnerConfig
from learner.packing import pack
from learner.publisher import as_named_array
from learner.ranks import TrainerThread, open_trainer
from learner.smollm2 import smollm2_folder

RATES = (1e-6, 1e-5)
SEQUENCES, LENGTH = 4, 96
BANDWIDTHS = {"100_mbit": 100e6 / 8, "1_gbit": 1e9 / 8, "10_gbit": 1e10 / 8}
TEXT = Path(__file__).parent.parent / "docs" / "environments.md"


def sequences(tokens: list[int], step: int) -> list[TrainingSequence]:
    """Pieces of text; half of them were rewarded, half not."""
    random = np.random.default_rng(step)
    made = []
    for number in range(SEQUENCES):
        begin = int(random.integers(0, len(tokens) - LENGTH))
        is_action = np.arange(LENGTH) >= LENGTH // 4
        sign = 1 if number % 2 else -1
        made.append(
            TrainingSequence.of(
                tokens=np.array(tokens[begin : begin + LENGTH], np.int32),
                is_action=is_action,
                is_trained=is_action,
                behaviour_logprobs=np.where(is_action, -3, 0).astype(np.float32),
                advantages=np.where(is_action, sign, 0).astype(np.float32),
                versions=np.where(is_action, step - 1, -1).astype(np.int32),
            )
        )
    return made


def changed(base: WeightManifest, target: WeightManifest) -> tuple[int, int]:
    """(elements that differ, elements)."""
    before, after = (np.memmap(manifest.path, np.uint8, "r") for manifest in (base, target))
    number, total = 0, 0
    for tensor in target.tensors:
        place = slice(tensor.offset, tensor.offset + tensor.num_bytes)
        kind = f"<u{layout.DTYPES[tensor.dtype][1]}"
        number += int((before[place].view(kind) != after[place].view(kind)).sum())
        total += tensor.num_bytes // np.dtype(kind).itemsize
    return number, total


class Receiver:
    """A host that holds the version before."""

    def __init__(self, bus: BusConfig, folder: Path) -> None:
        self._bus = bus
        self._delta, self._made, self._file = (folder / name for name in ("delta", "made", "file"))

    async def receive(self, base: WeightManifest, target: WeightManifest) -> dict[str, float]:
        """Fetch `target` both ways; RuntimeError when a file is not the learner's, bit for bit."""
        seconds: dict[str, float] = {}
        began = time.perf_counter()
        await ChunkFetch(request_of(target, base), self._bus).run(self._delta)
        await asyncio.to_thread(self._apply, base, target)
        seconds["delta_s"] = time.perf_counter() - began
        seconds["apply_s"] = _timed(lambda: self._apply(base, target))
        self._compare(target)
        self._file.unlink()
        began = time.perf_counter()
        await ChunkFetch(request_of(target), self._bus).run(self._file)
        await asyncio.to_thread(verify, target, self._file)
        seconds["full_s"] = time.perf_counter() - began
        self._compare(target)
        self._file.unlink()
        seconds["make_s"] = _timed(
            lambda: make_delta(base, Path(base.path), target, Path(target.path), self._made)
        )
        seconds["delta_bytes"] = self._delta.stat().st_size
        return seconds

    def _apply(self, base: WeightManifest, target: WeightManifest) -> None:
        apply_delta(base, Path(base.path), target, self._delta, self._file)

    def _compare(self, target: WeightManifest) -> None:
        if not np.array_equal(np.memmap(self._file, np.uint8, "r"), np.memmap(target.path, np.uint8, "r")):
            raise RuntimeError(f"version {target.version} is not the learner's")


def _timed(work: Callable[[], Any]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


@asynccontextmanager
async def learner(rate: float, folder: Path) -> AsyncIterator[tuple[TrainerThread, WeightStore, BusConfig]]:
    """A trainer of the packaged model, and a store that is served."""
    config = LearnerConfig(learning_rate=rate, loss=LossConfig(kind="reinforce"), num_threads=1)
    model = ModelConfig(source="smollm2", dtype="bfloat16")
    with WeightStore(folder / "run", root=folder) as store:
        bus = TcpLearnerBus(BusConfig(), "benchmark", store)
        await bus.start()
        try:
            async with TrainerThread(lambda: open_trainer(smollm2_folder(), config, model)) as trainer:
                yield trainer, store, bus.config
        finally:
            await bus.close()


async def measure(rate: float, steps: int, folder: Path) -> dict[str, list[float]]:
    """The figures of every step at one learning rate."""
    from transformers import AutoTokenizer

    tokens = AutoTokenizer.from_pretrained(smollm2_folder())(TEXT.read_text())["input_ids"]
    rows: dict[str, list[float]] = defaultdict(list)
    async with learner(rate, folder) as (trainer, store, bus):

        async def publish(version: int) -> WeightManifest:
            def write(weights: Iterator[tuple[str, Tensor]]) -> WeightManifest:
                return store.write(version, (as_named_array(name, tensor) for name, tensor in weights))

            return await trainer.gather("bfloat16", write)

        receiver, base = Receiver(bus, folder), await publish(0)
        for step in range(1, steps + 1):
            batch = pack(sequences(tokens, step), microbatch_tokens=SEQUENCES * LENGTH)
            await trainer.step(batch, step, 1.0)
            target = await publish(step)
            number, total = changed(base, target)
            row = {"changed": number, "changed_share": number / total}
            row |= await receiver.receive(base, target)
            row["full_bytes"] = file_bytes(target)
            row["share"] = row["delta_bytes"] / row["full_bytes"]
            print(
                f"rate={rate:g} step={step} " + " ".join(f"{k}={v:.6g}" for k, v in row.items()), flush=True
            )
            for name, value in row.items():
                rows[name].append(value)
            base = target
    return rows


UNITS = {"changed": "", "changed_share": "", "share": "", "delta_bytes": "B", "full_bytes": "B"}


def main() -> None:
    """Both learning rates, each from the initial model."""
    steps = {"type": int, "default": 6, "help": "optimizer steps per learning rate"}
    arguments = parse(__doc__, ("--steps", steps))
    report = Report("deltas")
    for rate in RATES:
        with tempfile.TemporaryDirectory(prefix="pronghorn-deltas-", dir=host_memory()) as folder:
            rows = asyncio.run(measure(rate, arguments.steps, Path(folder)))
        for name, values in rows.items():
            key, unit = f"deltas_{rate:g}_{name}", UNITS.get(name, "s")
            report.add(key, statistics.mean(values), unit)
            report.add(f"{key}_sd", statistics.stdev(values) if len(values) > 1 else 0.0, unit)
        for name, bytes_per_s in BANDWIDTHS.items():
            for kind in ("delta", "full"):
                mean = statistics.mean(rows[f"{kind}_bytes"])
                report.add(f"deltas_{rate:g}_{kind}_at_{name}_computed_s", mean / bytes_per_s, "s")
    report.finish(arguments.json)


if __name__ == "__main__":
    main()
