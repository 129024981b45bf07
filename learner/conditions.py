"""On what a learner computed: what must be alike for two of them to reach the same numbers bit for bit.

`RUN/learners.jsonl` has one line for every start of a learner; the last that began before a step is its own.
"""

import json
import platform
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from learner.config import LearnerConfig

FILE = "learners.jsonl"

IRRELEVANT = (
    "num_ranks", "num_hosts", "rendezvous", "num_threads", "cpu_cores", "device", "checkpoint_every",
    "keep_checkpoints", "keep_every", "max_logprob_mismatch", "batch_s", "curriculum",
)  # fmt: skip
"""Settings of the learner that change no number of a step, or that `found` tells as they turned out."""


def found(learner: LearnerConfig, device: torch.device) -> dict[str, Any]:
    """The conditions of this process, to be called when the trainer is built."""
    is_cuda = device.type == "cuda"
    return {
        "torch": torch.__version__,
        "device": torch.cuda.get_device_name(device) if is_cuda else "cpu",
        "machine": platform.machine(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "threads": torch.get_num_threads(),
        "ranks": dist.get_world_size(),
        "learner": learner.model_dump(mode="json", exclude=set(IRRELEVANT)),
    }


def record(run: Path, version: int, conditions: dict[str, Any]) -> None:
    """Note that the steps after `version` are taken under these conditions."""
    with (run / FILE).open("a", encoding="utf-8") as file:
        file.write(json.dumps({"version": version} | conditions) + "\n")


def recorded(run: Path, step: int) -> dict[str, Any] | None:
    """Under which conditions `step` was taken; None where that was not noted."""
    try:
        lines = (run / FILE).read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return None
    rows = [row for line in lines if (row := _row(line)) is not None]
    return next((row for row in reversed(rows) if row["version"] < step), None)


def _row(line: str) -> dict[str, Any] | None:
    """None for a line that a power cut tore."""
    try:
        row = json.loads(line)
    except ValueError:
        return None
    return row if isinstance(row, dict) and isinstance(row.get("version"), int) else None


def differences(then: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """What is not as it was, one phrase each: why equality bit for bit cannot be expected."""
    phrases = [
        f"{name}: {then[name]!r} then, {now[name]!r} now"
        for name in now
        if name != "learner" and name in then and then[name] != now[name]
    ]
    old, new = then.get("learner", {}), now["learner"]
    return phrases + [
        f"learner.{name}: {old[name]!r} then, {new[name]!r} now"
        for name in new
        if name in old and old[name] != new[name]
    ]
