"""`python -m learner.offline.dpo CONFIG.toml`: direct preference optimization on pairs of trajectories.

Begins with the run's policy zero, which is the reference model as well: frozen, so every trajectory is scored
by it once, before the first step. A step scores its trajectories with the current weights, finds the slope of
each pair's loss (`preference.py`) and makes one update of the weighted likelihood with those slopes, whose
gradient is exactly that of the loss. Writes the pairs to `data/pairs.jsonl` and the model to `dpo/`.
"""

import argparse
import logging
import sys
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from math import ceil
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from transformers import AutoTokenizer

from common.errors import ConfigurationError
from common.model_config import ModelConfig
from common.role import run_role
from common.run_config import RoleConfig, RunSection
from common.run_directory import RunDirectory, write_json
from learner.algorithm_config import LossConfig
from learner.batch import Batch, TrainingSequence
from learner.config import LearnerConfig
from learner.offline.config import DpoConfig
from learner.offline.examples import Encoder, Example
from learner.offline.pairs import Pair, from_files, from_ledger, mine, read_pairs, write_pairs
from learner.offline.preference import advantages, log_ratio, preferences
from learner.offline.progress import Course, finish, is_rank_zero, opened, resume, take_steps
from learner.offline.signals import asked_to_stop
from learner.packing import pack
from learner.ranks import Ranks

log = logging.getLogger(__name__)

SCORED_AT_ONCE = 256
"""Sequences in one scoring pass of the reference model."""
_SUM = LossConfig(aggregation="seq-mean-token-sum")

Logprobs = NDArray[np.float32]
IndexPair = tuple[int, int]
"""Which of the sequences was chosen, and which rejected."""


class DpoRoleConfig(RoleConfig):
    """What it reads of a run's configuration."""

    run: RunSection = RunSection()
    model: ModelConfig
    learner: LearnerConfig = LearnerConfig()
    dpo: DpoConfig = DpoConfig()


@dataclass(frozen=True)
class Sources:
    """Where pairs come from: one of the three; without any, the run's own ledger, or its AgentEvol's."""

    pairs: Path | None = None
    data: tuple[Path, ...] = ()
    ledger: Path | None = None


@dataclass(frozen=True)
class Material:
    """The trajectories of all pairs in tokens, each once."""

    sequences: list[TrainingSequence]
    pairs: list[IndexPair]


def main() -> int:
    """Train; the exit code."""
    parser = argparse.ArgumentParser(add_help=False)
    for name in ("pairs", "ledger", "model", "out"):
        parser.add_argument(f"--{name}", type=Path)
    parser.add_argument("--data", type=Path, action="append", default=[])
    given, others = parser.parse_known_args()

    def work(config: DpoRoleConfig) -> int:
        folder = config.run.folder
        sources = Sources(given.pairs, tuple(given.data), given.ledger)
        model, out = given.model or folder.policy_zero, given.out or folder.path / "dpo"
        train(config, sources, model, out, asked_to_stop())
        return 0

    return run_role("dpo", DpoRoleConfig, work, arguments=others)


def train(
    config: DpoRoleConfig,
    sources: Sources,
    model: Path,
    out: Path,
    is_stopped: threading.Event | None = None,
) -> dict[str, float]:
    """Take all steps from `model` and write `out`; loss, margin and accuracy of the last steps.

    {} on every rank but 0. Goes on where an earlier call was stopped. The same seed, pairs and threads give
    the same model.
    """
    if not (model / "config.json").is_file():
        raise ConfigurationError(f"{model}: no model there, and DPO needs one as its reference; give --model")
    folder = config.run.folder
    pairs, told = find_pairs(config, sources)
    material = _material(pairs, model)
    num_steps = config.dpo.epochs * ceil(len(material.pairs) / config.dpo.pairs_per_step)
    course = Course(
        "dpo", folder.path, num_steps, config.dpo.checkpoint_every, is_stopped or threading.Event()
    )
    with opened(
        model,
        optimizer=config.dpo,
        num_steps=num_steps,
        learner=config.learner,
        model=config.model,
        seed=config.run.seed,
    ) as ranks:
        if ranks is None:
            return {}
        means = _take_steps(ranks, course, material, config)
        ranks.save_huggingface(out)
    result = {"found": told, "steps": num_steps, "pairs": len(material.pairs), **means}
    write_json(folder.path / "dpo.json", result)
    finish(course)
    log.info("wrote model=%s", out)
    return means


def find_pairs(config: DpoRoleConfig, sources: Sources) -> tuple[list[Pair], str]:
    """Pairs read or mined, and one line on what was left out; mined ones are written to `data/pairs.jsonl`.

    Raises ConfigurationError when no pair has a gap.
    """
    folder = config.run.folder
    if sources.pairs is not None:
        pairs, num_left_out = read_pairs(sources.pairs, config.dpo)
        told = f"{len(pairs)} pairs; left out: {num_left_out} without a gap [{sources.pairs}]"
    else:
        mined = mine(_plays(folder, sources, config.dpo), config.dpo)
        pairs, told = mined.pairs, str(mined)
    if not pairs:
        raise ConfigurationError(f"dpo.min_gap = {config.dpo.min_gap:g}: {told}")
    log.info("found %s", told)
    if sources.pairs is None and is_rank_zero():
        write_pairs(folder.path / "data" / "pairs.jsonl", pairs)
    return pairs, told


def _plays(folder: RunDirectory, sources: Sources, dpo: DpoConfig) -> Iterator[tuple[str, Example]]:
    if sources.data:
        return from_files(sources.data)
    evolved = folder.path / "evol" / "ledger.sqlite"
    own = evolved if evolved.exists() and not folder.ledger.exists() else folder.ledger
    return from_ledger(sources.ledger or own, dpo.max_policy_version)


def _material(pairs: Sequence[Pair], model: Path) -> Material:
    """Both sides in tokens; a trajectory that stands in several pairs is encoded and scored once."""
    tokenizer = AutoTokenizer.from_pretrained(model, local_files_only=True)
    encoder, longest = Encoder(tokenizer), tokenizer.model_max_length
    sequences: list[TrainingSequence] = []
    known: dict[Example, int | None] = {}

    def place(example: Example) -> int | None:
        example = example.model_copy(update={"weight": 1.0})
        if example not in known:
            sequence = encoder.encode(example)
            fits = sequence is not None and len(sequence) <= longest
            known[example] = len(sequences) if fits else None
            if fits and sequence is not None:
                sequences.append(sequence)
        return known[example]

    placed = [(place(pair.chosen), place(pair.rejected)) for pair in pairs]
    kept = [(chosen, rejected) for chosen, rejected in placed if chosen is not None and rejected is not None]
    if not kept:
        raise ConfigurationError(f"{len(pairs)} pairs, none with learnt actions within {longest} tokens")
    log.info("encoded pairs=%d sequences=%d left_out=%d", len(kept), len(sequences), len(pairs) - len(kept))
    return Material(sequences, kept)


def _take_steps(ranks: Ranks, course: Course, material: Material, config: DpoRoleConfig) -> dict[str, float]:
    reference = score(ranks, material.sequences, config)
    done = resume(ranks, course)
    chosen = islice(orders(len(material.pairs), config), done, None)

    def step(number: int) -> dict[str, float]:
        pairs = [material.pairs[index] for index in next(chosen)]
        batch, measured = preference_batch(ranks, material.sequences, reference, pairs, config)
        ranks.step(batch, step=number, temperature=1.0)
        return measured

    return take_steps(ranks, course, done, step)


def orders(num_pairs: int, config: DpoRoleConfig) -> Iterator[list[int]]:
    """Which pairs each step reads: all of them once per epoch, in seeded order; `epochs` times."""
    rng = np.random.default_rng(config.run.seed)
    for _ in range(config.dpo.epochs):
        order = rng.permutation(num_pairs).tolist()
        for begin in range(0, num_pairs, config.dpo.pairs_per_step):
            yield order[begin : begin + config.dpo.pairs_per_step]


def preference_batch(
    ranks: Ranks,
    sequences: Sequence[TrainingSequence],
    reference: Sequence[Logprobs],
    pairs: Sequence[IndexPair],
    config: DpoRoleConfig,
) -> tuple[Batch, dict[str, float]]:
    """The update of one step, by scores of the current weights, and what they say of the pairs."""
    sides = [[pair[side] for pair in pairs] for side in (0, 1)]
    places = [*sides[0], *sides[1]]
    scored = score(ranks, [sequences[place] for place in places], config)
    ratios = np.array(
        [
            log_ratio(logprobs, reference[place], config.dpo)
            for place, logprobs in zip(places, scored, strict=True)
        ]
    )
    chosen, rejected = np.split(ratios, 2)
    found = preferences(chosen, rejected, config.dpo)
    counts = [len(logprobs) for logprobs in scored]
    credits = np.concatenate(
        advantages(found, counts[: len(pairs)], counts[len(pairs) :], config.dpo)
    ).astype(np.float32)
    credited = [
        replace(sequences[place], advantages=np.where(sequences[place].is_action, credit, np.float32(0)))
        for place, credit in zip(places, credits, strict=True)
    ]
    batch = pack(
        credited,
        microbatch_tokens=config.learner.microbatch_tokens,
        num_ranks=config.learner.num_ranks,
        loss=_SUM,
    )
    return batch, {
        "loss": float(found.losses.mean()),
        "margin": float((found.chosen - found.rejected).mean()),
        "accuracy": float((found.margins > 0).mean()),
        "chosen": float(found.chosen.mean()),
        "rejected": float(found.rejected.mean()),
    }


def score(ranks: Ranks, sequences: Sequence[TrainingSequence], config: DpoRoleConfig) -> list[Logprobs]:
    """[A] log pi of the action tokens of each sequence under the current weights, nats."""
    scored: list[Logprobs] = []
    for begin in range(0, len(sequences), SCORED_AT_ONCE):
        batch = pack(
            sequences[begin : begin + SCORED_AT_ONCE],
            microbatch_tokens=config.learner.microbatch_tokens,
            num_ranks=config.learner.num_ranks,
        )
        for found in ranks.score(batch, temperature=1.0, wants=["proximal"]):
            assert found.proximal_logprobs is not None
            scored.append(found.proximal_logprobs)
    return scored


if __name__ == "__main__":
    sys.exit(main())
