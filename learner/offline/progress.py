"""The steps of an offline trainer: taken from where they stopped, told as they are taken, kept at times."""

import json
import logging
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch

from common.model_config import LoraConfig, ModelConfig
from learner.checkpoint import CheckpointStore
from learner.command_channel import connect
from learner.config import LearnerConfig, OptimizerConfig
from learner.loss import imitation
from learner.ranks import Ranks, serve
from learner.trainer import Trainer, TrainerOptions

log = logging.getLogger(__name__)

LOG_EVERY = 10
"""Steps between log lines."""


def is_rank_zero() -> bool:
    """Whether this process is the one that writes."""
    return os.environ.get("RANK", "0") == "0"


@dataclass(frozen=True)
class Course:
    """One training from its first step to its last."""

    name: str
    folder: Path
    """Where its curve and its kept state live."""
    num_steps: int
    checkpoint_every: int
    is_stopped: threading.Event
    """Set from outside: end the step in progress, keep the state, raise KeyboardInterrupt."""

    @property
    def curve(self) -> Path:
        """One JSON object per log line."""
        return self.folder / "curves" / f"{self.name}.jsonl"

    @property
    def checkpoints(self) -> Path:
        """The newest state of an unfinished course."""
        return self.folder / "unfinished" / self.name


@contextmanager
def opened(
    model_folder: Path,
    *,
    optimizer: OptimizerConfig,
    num_steps: int,
    learner: LearnerConfig,
    model: ModelConfig,
    seed: int,
) -> Iterator[Ranks | None]:
    """All ranks on one model, seen from rank 0; None on the others, once rank 0 has left."""
    torch.manual_seed(seed)
    options = TrainerOptions(
        optimizer=optimizer,
        num_steps=num_steps,
        dtype=model.dtype,
        lora=model.lora if model.lora.covers_offline else LoraConfig(),
        attention=learner.attention,
        gradient_checkpointing=learner.gradient_checkpointing,
    )
    device = connect(learner.device)
    trainer = Trainer(model_folder, imitation, options, device)
    if torch.distributed.get_rank() > 0:
        serve(trainer)
        yield None
        return
    with Ranks(trainer) as ranks:
        yield ranks


def resume(ranks: Ranks, course: Course) -> int:
    """Load the newest kept state; the last step that it has behind it, 0 without one."""
    path = CheckpointStore(course.checkpoints).latest()
    if path is None:
        return 0
    step = ranks.load(path).step
    log.info("resumed course=%s step=%d", course.name, step)
    return step


def take_steps(
    ranks: Ranks, course: Course, done: int, step: Callable[[int], dict[str, float]]
) -> dict[str, float]:
    """Take the steps after `done`, in order; the means of what `step` measured since the last log line.

    Raises KeyboardInterrupt, with the state kept, when `is_stopped` is set. A course that is finished leaves
    no state behind once `finish` was called.
    """
    store = CheckpointStore(course.checkpoints, keep=1)
    written: Future[Path] | None = None
    measured: list[dict[str, float]] = []
    means: dict[str, float] = {}
    stops, since = False, time.perf_counter()
    for number in range(done + 1, course.num_steps + 1):
        measured.append(step(number))
        if number % LOG_EVERY == 0 or number == course.num_steps:
            means = {name: sum(row[name] for row in measured) / len(measured) for name in measured[0]}
            _tell(course, number, means, time.perf_counter() - since)
            measured, since = [], time.perf_counter()
        stops = course.is_stopped.is_set()
        if stops or (number % course.checkpoint_every == 0 and number < course.num_steps):
            written = ranks.begin_checkpoint(store, {})
        if stops:
            break
    if written is not None:
        written.result()
    if stops:
        raise KeyboardInterrupt
    return means


def finish(course: Course) -> None:
    """Forget the kept state: the product is there."""
    shutil.rmtree(course.checkpoints, ignore_errors=True)


def _tell(course: Course, step: int, means: dict[str, float], seconds: float) -> None:
    shown = " ".join(f"{name}={value:.4f}" for name, value in means.items())
    log.info("trained course=%s step=%d of=%d %s", course.name, step, course.num_steps, shown)
    course.curve.parent.mkdir(parents=True, exist_ok=True)
    row = {"course": course.name, "step": step, "steps": course.num_steps, **means, "seconds": seconds}
    with course.curve.open("a", encoding="utf-8") as file:
        file.write(json.dumps(row) + "\n")
