"""`python -m learner.offline.sft CONFIG.toml`: the warm start, supervised learning on demonstrations.

Reads the run's initial model and its demonstrations, writes `RunDirectory.warm_start`. Prompts, masks and
end tokens are those of an episode, batches, model and optimizer those of the learner; the loss is the mean
negative log-likelihood of the demonstrated action tokens.
"""

import logging
import sys
import time
from collections.abc import Iterator, Sequence

import numpy as np
import torch
import torch.distributed as dist
from transformers import AutoTokenizer

from common import agenttraj
from common.model_config import ModelConfig
from common.prompt import Dialogue
from common.role import run_role
from common.run_config import RoleConfig, RunSection
from learner.batch import Batch, TrainingSequence
from learner.command_channel import connect
from learner.config import LearnerConfig, SftConfig
from learner.loss import imitation
from learner.offline.demonstrations import sequences
from learner.packing import pack
from learner.trainer import Trainer, TrainerOptions

log = logging.getLogger(__name__)

LOG_EVERY = 10
"""Steps between log lines."""


class SftRoleConfig(RoleConfig):
    """What it reads of a run's configuration."""

    run: RunSection = RunSection()
    model: ModelConfig
    learner: LearnerConfig = LearnerConfig()
    sft: SftConfig = SftConfig()


def main() -> int:
    """Warm-start the run's model; the exit code."""
    return run_role("sft", SftRoleConfig, _train)


def _train(config: SftRoleConfig) -> int:
    train(config)
    return 0


def train(config: SftRoleConfig) -> float:
    """Take `sft.steps` steps and write the warm-started model; the mean loss of the last steps, as logged.

    The same seed, demonstrations and threads give the same model.
    """
    folder = config.run.folder
    tokenizer = AutoTokenizer.from_pretrained(folder.model, local_files_only=True)
    rows = agenttraj.read(folder.demonstrations)
    learnable, num_long = sequences(rows, lambda text: Dialogue(tokenizer, text), tokenizer.model_max_length)
    log.info("read demonstrations=%d learnable=%d too_long=%d", len(rows), len(learnable), num_long)
    torch.manual_seed(config.run.seed)
    device = connect(config.learner.device)
    try:
        trainer = Trainer(folder.model, imitation, _options(config), device)
        loss = _take_steps(trainer, learnable, config)
        trainer.save_huggingface(folder.warm_start)
    finally:
        dist.destroy_process_group()
    log.info("wrote warm_start=%s", folder.warm_start)
    return loss


def batches(learnable: Sequence[TrainingSequence], config: SftRoleConfig) -> Iterator[Batch]:
    """Endless batches of about `sft.batch_tokens` tokens; every sequence once per epoch, in seeded order."""
    rng = np.random.default_rng(config.run.seed)
    while True:
        chosen: list[TrainingSequence] = []
        for index in rng.permutation(len(learnable)):
            chosen.append(learnable[index])
            if sum(map(len, chosen)) >= config.sft.batch_tokens:
                yield pack(chosen, microbatch_tokens=config.learner.microbatch_tokens)
                chosen = []
        if chosen:
            yield pack(chosen, microbatch_tokens=config.learner.microbatch_tokens)


def _options(config: SftRoleConfig) -> TrainerOptions:
    return TrainerOptions(
        optimizer=config.sft,
        num_steps=config.sft.steps,
        dtype=config.model.dtype,
        attention=config.learner.attention,
        gradient_checkpointing=config.learner.gradient_checkpointing,
    )


def _take_steps(trainer: Trainer, learnable: Sequence[TrainingSequence], config: SftRoleConfig) -> float:
    """All steps, with a log line every few; the mean loss since the last line."""
    losses: list[float] = []
    num_tokens, since = 0, time.perf_counter()
    for step, batch in zip(range(1, config.sft.steps + 1), batches(learnable, config), strict=False):
        done = trainer.step(
            batch.ranks[0], num_action_tokens=batch.num_action_tokens, step=step, temperature=1.0
        )
        losses.append(done.loss)
        num_tokens += done.num_tokens
        if step % LOG_EVERY == 0 or step == config.sft.steps:
            rate = num_tokens / (time.perf_counter() - since)
            mean = float(np.mean(losses))
            log.info("imitated step=%d of=%d loss=%.4f tokens_per_s=%.0f", step, config.sft.steps, mean, rate)
            losses, num_tokens, since = [], 0, time.perf_counter()
    return mean


if __name__ == "__main__":
    sys.exit(main())
