"""`python -m learner.offline.sft CONFIG.toml`: supervised learning on recorded trajectories.

Reads the run's initial model and its demonstrations and writes `RunDirectory.warm_start`, unless others are
given. Prompts, masks and end tokens are those of an episode; batches, ranks, model and optimizer those of the
learner. The loss is the negative log-likelihood of the learnt action tokens, each counted by the weight of
its example (1 for a demonstration), over their number.
"""

import argparse
import logging
import sys
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
from transformers import AutoTokenizer

from common.errors import ConfigurationError
from common.model_config import ModelConfig
from common.role import run_role
from common.run_config import RoleConfig, RunSection
from learner.batch import Batch, TrainingSequence
from learner.config import LearnerConfig, SftConfig
from learner.offline.examples import Encoder, encode_all, read_examples
from learner.offline.progress import Course, finish, opened, resume, take_steps
from learner.offline.signals import asked_to_stop
from learner.packing import pack
from learner.ranks import Ranks

log = logging.getLogger(__name__)


class SftRoleConfig(RoleConfig):
    """What it reads of a run's configuration."""

    run: RunSection = RunSection()
    model: ModelConfig
    learner: LearnerConfig = LearnerConfig()
    sft: SftConfig = SftConfig()


@dataclass(frozen=True)
class Lesson:
    """From which model, on which examples, to which model."""

    model: Path
    data: Path
    out: Path
    name: str = "sft"
    """Of its curve and its kept state."""

    @classmethod
    def warm_start(cls, run: RunSection) -> "Lesson":
        """The warm start of a run."""
        folder = run.folder
        return cls(folder.model, folder.demonstrations, folder.warm_start)


def main() -> int:
    """Train; the exit code."""
    parser = argparse.ArgumentParser(add_help=False)
    for name in ("model", "data", "out"):
        parser.add_argument(f"--{name}", type=Path)
    parser.add_argument("--name")
    given, others = parser.parse_known_args()

    def work(config: SftRoleConfig) -> int:
        usual = Lesson.warm_start(config.run)
        lesson = Lesson(
            given.model or usual.model,
            given.data or usual.data,
            given.out or usual.out,
            given.name or usual.name,
        )
        train(config, lesson, asked_to_stop())
        return 0

    return run_role("sft", SftRoleConfig, work, arguments=others)


def train(
    config: SftRoleConfig, lesson: Lesson | None = None, is_stopped: threading.Event | None = None
) -> float:
    """Take `sft.steps` steps and write the model; the mean loss of the last steps, as logged.

    0 on every rank but 0. Goes on where an earlier call was stopped. The same seed, examples and threads give
    the same model.
    """
    lesson = lesson or Lesson.warm_start(config.run)
    learnt, held_out = _sequences(config, lesson)
    course = Course(
        lesson.name,
        config.run.folder.path,
        config.sft.steps,
        config.sft.checkpoint_every,
        is_stopped or threading.Event(),
    )
    with opened(
        lesson.model,
        optimizer=config.sft,
        num_steps=config.sft.steps,
        learner=config.learner,
        model=config.model,
        seed=config.run.seed,
    ) as ranks:
        if ranks is None:
            return 0.0
        means = _take_steps(ranks, course, learnt, held_out, config)
        ranks.save_huggingface(lesson.out)
    finish(course)
    log.info("wrote model=%s", lesson.out)
    return means["loss"]


def _sequences(
    config: SftRoleConfig, lesson: Lesson
) -> tuple[list[TrainingSequence], list[TrainingSequence]]:
    """What is learnt, and the share of it that only measures."""
    if not (lesson.model / "config.json").is_file():
        raise ConfigurationError(
            f"model {lesson.model}: no config.json there; give a Hugging Face model folder"
        )
    tokenizer = AutoTokenizer.from_pretrained(lesson.model, local_files_only=True)
    examples = read_examples(lesson.data)
    learnable, num_long = encode_all(examples, Encoder(tokenizer), tokenizer.model_max_length)
    log.info("read examples=%d learnable=%d too_long=%d", len(examples), len(learnable), num_long)
    num_held_out = int(len(learnable) * config.sft.validation_share)
    if config.sft.validation_share and not num_held_out:
        raise ConfigurationError(
            f"sft.validation_share = {config.sft.validation_share:g}: "
            f"of {len(learnable)} trajectories that is none"
        )
    order = (
        np.random.default_rng(config.run.seed).permutation(len(learnable))
        if num_held_out
        else range(len(learnable))
    )
    chosen = [learnable[index] for index in order]
    return chosen[num_held_out:], chosen[:num_held_out]


def _take_steps(
    ranks: Ranks,
    course: Course,
    learnt: Sequence[TrainingSequence],
    held_out: Sequence[TrainingSequence],
    config: SftRoleConfig,
) -> dict[str, float]:
    done = resume(ranks, course)
    endless = islice(batches(learnt, config), done, None)

    def step(number: int) -> dict[str, float]:
        statistics = ranks.step(next(endless), step=number, temperature=1.0)
        return {"loss": statistics.loss, "tokens_per_s": statistics.num_tokens / statistics.duration_s}

    means = take_steps(ranks, course, done, step)
    if held_out:
        means["validation_loss"] = mean_loss(ranks, held_out, config)
        log.info("measured validation_loss=%.4f trajectories=%d", means["validation_loss"], len(held_out))
    return means


def mean_loss(ranks: Ranks, sequences: Sequence[TrainingSequence], config: SftRoleConfig) -> float:
    """The mean negative log-likelihood of the action tokens, nats."""
    batch = pack(
        sequences, microbatch_tokens=config.learner.microbatch_tokens, num_ranks=config.learner.num_ranks
    )
    scored = ranks.score(batch, temperature=1.0, wants=["proximal"])
    return -float(
        np.concatenate([s.proximal_logprobs for s in scored if s.proximal_logprobs is not None]).mean()
    )


def batches(learnable: Sequence[TrainingSequence], config: SftRoleConfig) -> Iterator[Batch]:
    """Endless batches of about `sft.batch_tokens` tokens; every sequence once per epoch, in seeded order."""
    rng = np.random.default_rng(config.run.seed)
    learner = config.learner
    while True:
        chosen: list[TrainingSequence] = []
        for index in rng.permutation(len(learnable)):
            chosen.append(learnable[index])
            if sum(map(len, chosen)) >= config.sft.batch_tokens:
                yield pack(chosen, microbatch_tokens=learner.microbatch_tokens, num_ranks=learner.num_ranks)
                chosen = []
        if chosen:
            yield pack(chosen, microbatch_tokens=learner.microbatch_tokens, num_ranks=learner.num_ranks)


if __name__ == "__main__":
    sys.exit(main())
