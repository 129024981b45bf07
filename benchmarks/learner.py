"""The learner's packed step against a bare training loop and against padding, in tokens read per second.

    python -m benchmarks.learner [--json FILE] [--device cuda --dtype bfloat16]

The same model, the same number of real tokens, one optimizer step each:
  packed   `Trainer.step` on long-tailed lengths: FSDP2, float32 head, loss, statistics, clip, AdamW
  dense    a bare Hugging Face forward, backward and AdamW loop on equally long sequences: nothing is padded
  padded   the same bare loop on the long-tailed lengths, each batch padded to its longest
Repetitions take turns and the fastest of each counts, so that a busy machine disturbs all alike.
"""

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from transformers import AutoModelForCausalLM

from benchmarks.report import Report, parse
from common.model_config import ModelConfig, SmallModel
from learner.batch import TrainingSequence
from learner.command_channel import connect
from learner.config import LearnerConfig
from learner.loss import objective
from learner.model_source import make_small
from learner.packing import pack
from learner.trainer import Trainer, TrainerOptions

WORDS = [f"{a}{b}{c}" for a in "abcdefgh" for b in "abcdefgh" for c in "abcdefgh"]
NUM_SEQUENCES = 32
MEDIAN_LENGTH, SIGMA, LONGEST = 160, 0.8, 2048
ACTION_SHARE = 0.4
PADDED_BATCH = 8
Step = Callable[[], None]


def main() -> None:
    """Measure, print, and write what `--json` asks for."""
    arguments = parse(
        __doc__,
        ("--device", {"default": "cpu"}),
        ("--dtype", {"default": "float32"}),
        ("--repetitions", {"type": int, "default": 4}),
    )
    torch.set_num_threads(1)
    report = Report("learner")
    with tempfile.TemporaryDirectory() as folder:
        model = Path(folder) / "model"
        small = ModelConfig(source="small", small=SmallModel(max_length=LONGEST)).small
        make_small(model, small, WORDS, dtype=arguments.dtype, seed=0)
        device = connect(arguments.device)
        try:
            rates = measure(model, device, arguments.dtype, arguments.repetitions)
        finally:
            dist.destroy_process_group()
    for name, rate in rates.items():
        report.add(f"learner_{name}_tokens_per_s", rate, "tokens/s")
    report.add("learner_packed_over_dense", rates["packed"] / rates["dense"], "", at_least=0.85)
    report.add("learner_packed_over_padded", rates["packed"] / rates["padded"], "", at_least=1.8)
    report.finish(arguments.json)


def measure(model: Path, device: torch.device, dtype: str, repetitions: int) -> dict[str, float]:
    """Real tokens per second of each way, from its fastest repetition."""
    lengths = long_tailed_lengths()
    total = sum(lengths)
    equal = round(total / NUM_SEQUENCES)
    steps: dict[str, tuple[Step, int]] = {
        "packed": (packed_step(model, device, dtype, lengths), total),
        "dense": (bare_step(model, device, dtype, [equal] * NUM_SEQUENCES), equal * NUM_SEQUENCES),
        "padded": (bare_step(model, device, dtype, lengths), total),
    }
    seconds = dict.fromkeys(steps, float("inf"))
    for repetition in range(repetitions + 1):
        for name, (step, _) in steps.items():
            began = time.perf_counter()
            step()
            if device.type == "cuda":
                torch.cuda.synchronize()
            if repetition:  # the first one warms up
                seconds[name] = min(seconds[name], time.perf_counter() - began)
    return {name: num_tokens / seconds[name] for name, (_, num_tokens) in steps.items()}


def long_tailed_lengths() -> list[int]:
    """Log-normal lengths, as episodes of agents have; always the same."""
    drawn = np.random.default_rng(0).lognormal(np.log(MEDIAN_LENGTH), SIGMA, NUM_SEQUENCES)
    return [int(n) for n in np.clip(drawn, 16, LONGEST)]


def packed_step(model: Path, device: torch.device, dtype: str, lengths: list[int]) -> Step:
    """One whole step of the learner."""
    config = LearnerConfig()
    options = TrainerOptions(config, 100, dtype=dtype)
    trainer = Trainer(model, objective(config.loss), options, device)
    batch = pack(
        [_sequence(n, seed) for seed, n in enumerate(lengths)], microbatch_tokens=config.microbatch_tokens
    )

    def step() -> None:
        trainer.step(batch.ranks[0], num_action_tokens=batch.num_action_tokens, step=1, temperature=1.0)

    return step


def bare_step(model: Path, device: torch.device, dtype: str, lengths: list[int]) -> Step:
    """Forward, backward, AdamW; batches of PADDED_BATCH sequences, padded where their lengths differ."""
    made: Any = AutoModelForCausalLM.from_pretrained(model, dtype=getattr(torch, dtype)).to(device)
    optimizer = torch.optim.AdamW(made.parameters(), lr=1e-6, fused=True)
    batches = [_padded(lengths[i : i + PADDED_BATCH], device) for i in range(0, len(lengths), PADDED_BATCH)]

    def step() -> None:
        for batch in batches:
            (made(**batch, use_cache=False).loss / len(batches)).backward()
        optimizer.step()
        optimizer.zero_grad()

    return step


def _padded(lengths: list[int], device: torch.device) -> dict[str, torch.Tensor]:
    """Token ids, labels and, where something is padded, the mask; [B, longest]."""
    shape = (len(lengths), max(lengths))
    ids, labels = np.zeros(shape, np.int64), np.full(shape, -100, np.int64)
    for row, length in enumerate(lengths):
        sequence = _sequence(length, row)
        ids[row, :length] = sequence.tokens
        labels[row, :length] = np.where(sequence.is_action, sequence.tokens, -100)
    batch = {"input_ids": ids, "labels": labels}
    if min(lengths) < max(lengths):
        batch["attention_mask"] = (np.arange(max(lengths)) < np.array(lengths)[:, None]).astype(np.int64)
    return {name: torch.from_numpy(array).to(device) for name, array in batch.items()}


def _sequence(length: int, seed: int) -> TrainingSequence:
    rng = np.random.default_rng(seed)
    is_action = rng.random(length) < ACTION_SHARE
    is_action[0] = False
    return TrainingSequence.of(
        tokens=rng.integers(0, 2 * len(WORDS), length).astype(np.int32),
        is_action=is_action,
        is_trained=is_action,
        behaviour_logprobs=np.where(is_action, -6.9, 0).astype(np.float32),
        advantages=np.where(is_action, rng.normal(size=length), 0).astype(np.float32),
        versions=np.where(is_action, 0, -1).astype(np.int32),
    )


if __name__ == "__main__":
    main()
