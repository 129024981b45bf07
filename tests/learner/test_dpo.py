"""DPO by weighted likelihood is DPO: its gradient is that of the literal loss under autograd."""

import json
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch.nn.functional import logsigmoid
from transformers import AutoModelForCausalLM

from common.config import validate
from common.errors import ConfigurationError
from learner.batch import TrainingSequence
from learner.offline.dpo import DpoRoleConfig, Sources, orders, preference_batch, score, train
from learner.offline.examples import Example, ExampleTurn
from learner.offline.pairs import Pair, write_pairs
from learner.offline.progress import opened
from tests.learner.torch_side import random_sequences, tiny_folder

PAIRS = [(0, 1), (2, 3), (4, 1)]
LENGTHS = [40, 33, 28, 21, 50]


def configuration(tmp_path: Path, **dpo: object) -> DpoRoleConfig:
    """A learning rate over an epsilon of the same size: the first update is the gradient itself."""
    return validate(
        DpoRoleConfig,
        {
            "run": {"name": "r", "directory": str(tmp_path)},
            "model": {"path": "unused"},
            "learner": {"device": "cpu", "microbatch_tokens": 64},
            "dpo": {"learning_rate": 1e6, "epsilon": 1e6, "max_grad_norm": 1e9, "beta": 0.3} | dpo,
        },
    )


def learnable(sequences: list[TrainingSequence]) -> list[TrainingSequence]:
    return [
        TrainingSequence.of(
            s.tokens, s.is_action, s.is_action, s.advantages * 0, s.advantages * 0, s.versions
        )
        for s in sequences
    ]


def literal_gradient(
    model: Path, reference: Path, sequences: list[TrainingSequence], config: DpoRoleConfig
) -> tuple[dict[str, torch.Tensor], float]:
    """The loss as the paper writes it, one sequence at a time, and autograd."""
    policy, frozen = (AutoModelForCausalLM.from_pretrained(folder).double() for folder in (model, reference))

    def logprob(network: torch.nn.Module, sequence: TrainingSequence) -> torch.Tensor:
        tokens = torch.from_numpy(sequence.tokens).long()
        logits = network(tokens[None]).logits[0, :-1].log_softmax(-1)
        taken = logits.gather(-1, tokens[1:, None])[:, 0]
        mine = taken[torch.from_numpy(sequence.is_action[1:])]
        return mine.mean() if config.dpo.normalizes_length else mine.sum()

    losses = []
    for chosen, rejected in PAIRS:
        with torch.no_grad():
            known = [logprob(frozen, sequences[place]) for place in (chosen, rejected)]
        now = [logprob(policy, sequences[place]) for place in (chosen, rejected)]
        margin = (now[0] - known[0]) - (now[1] - known[1])
        beta = config.dpo.beta
        loss = -logsigmoid(beta * margin) if config.dpo.loss == "sigmoid" else (margin - 1 / (2 * beta)) ** 2
        length = 1 if config.dpo.normalizes_length else int(sequences[chosen].is_action.sum())
        losses.append(loss - config.dpo.imitation * now[0] / length)
    total = torch.stack(losses).mean()
    total.backward()
    gradient = {name: p.grad.float() for name, p in policy.named_parameters() if p.grad is not None}
    return gradient, total.item()


@pytest.mark.parametrize(
    "changes",
    [{}, {"loss": "ipo"}, {"normalizes_length": True}, {"imitation": 0.7, "beta": 0.1}],
    ids=["sigmoid", "ipo", "per-token", "imitation"],
)
def test_one_update_is_the_gradient_of_the_literal_loss(tmp_path: Path, changes: dict[str, object]) -> None:
    """float32 against float64; the members of a pair lie in different micro-batches."""
    config = configuration(tmp_path, **changes)
    model = tiny_folder(tmp_path / "model")
    reference = tiny_folder(tmp_path / "reference", seed=1)
    sequences = learnable(random_sequences(LENGTHS))
    known = []
    options = {
        "optimizer": config.dpo,
        "num_steps": 1,
        "learner": config.learner,
        "model": config.model,
        "seed": 0,
    }
    with opened(reference, **options) as ranks:  # type: ignore[arg-type]
        known = score(ranks, sequences, config)  # type: ignore[arg-type]
    with opened(model, **options) as ranks:  # type: ignore[arg-type]
        assert ranks is not None
        before = ranks.state().weights
        batch, measured = preference_batch(ranks, sequences, known, PAIRS, config)
        assert len(batch.ranks[0]) > 1
        ranks.step(batch, step=1, temperature=1.0)
        after = ranks.state().weights
    expected, loss = literal_gradient(model, reference, sequences, config)
    if not config.dpo.imitation:
        np.testing.assert_allclose(measured["loss"], loss, rtol=1e-4)
    largest = max(float(gradient.abs().max()) for gradient in expected.values())
    for name, gradient in expected.items():
        torch.testing.assert_close(
            before[name] - after[name],
            gradient,
            atol=1e-4 * largest,
            rtol=1e-3,
            msg=lambda m, n=name: f"{n}: {m}",
        )


def example(actions: list[str], **known: object) -> Example:
    turns = tuple(ExampleTurn(observation="wa wb", action=action) for action in actions)
    return Example.model_validate({"item_id": "task", "turns": turns, **known})


def pairs_file(tmp_path: Path) -> Path:
    file = tmp_path / "pairs.jsonl"
    good, bad = ("wc wd", "we"), ("wf", "wg wh")
    write_pairs(
        file,
        [
            Pair(
                task=f"t{n}",
                chosen=example([good[n % 2]], episode_return=1.0, is_success=True),
                rejected=example([bad[n % 2], bad[0]], episode_return=0.0, is_success=False),
            )
            for n in range(4)
        ],
    )
    return file


LEARNING = {"learning_rate": 1e-3, "epsilon": 1e-8, "epochs": 10, "pairs_per_step": 2, "max_grad_norm": 1.0}


def test_it_learns_to_prefer_what_was_chosen_and_leaves_a_model_folder(tmp_path: Path) -> None:
    config = configuration(tmp_path, **LEARNING)
    model = tiny_folder(tmp_path / "model")
    means = train(config, Sources(pairs=pairs_file(tmp_path)), model, tmp_path / "out")
    assert means["accuracy"] == 1.0
    assert means["chosen"] > 0 > means["rejected"]
    assert (tmp_path / "out" / "config.json").exists()
    assert (tmp_path / "out" / "tokenizer.json").exists()
    curve = (config.run.folder.path / "curves" / "dpo.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in curve] == [10, 20]


def test_the_first_step_finds_no_preference_because_the_reference_is_where_it_begins(tmp_path: Path) -> None:
    config = configuration(tmp_path, **LEARNING | {"epochs": 1, "pairs_per_step": 4})
    model = tiny_folder(tmp_path / "model")
    means = train(config, Sources(pairs=pairs_file(tmp_path)), model, tmp_path / "out")
    assert means["loss"] == pytest.approx(np.log(2))
    assert means["margin"] == pytest.approx(0, abs=1e-6)


def test_stopped_and_started_again_it_ends_with_the_same_model(tmp_path: Path) -> None:
    model, pairs = tiny_folder(tmp_path / "model"), pairs_file(tmp_path)
    whole = configuration(tmp_path / "whole", **LEARNING)
    train(whole, Sources(pairs=pairs), model, tmp_path / "whole" / "out")
    stopped = configuration(tmp_path / "stopped", **LEARNING)

    class After(threading.Event):
        """Set when it has been asked seven times."""

        asked = 0

        def is_set(self) -> bool:
            self.asked += 1
            return self.asked == 7

    with pytest.raises(KeyboardInterrupt):
        train(stopped, Sources(pairs=pairs), model, tmp_path / "stopped" / "out", After())
    assert not (tmp_path / "stopped" / "out").exists()
    train(stopped, Sources(pairs=pairs), model, tmp_path / "stopped" / "out")
    first, second = (
        load_file(tmp_path / name / "out" / "model.safetensors") for name in ("whole", "stopped")
    )
    for name, weight in first.items():
        torch.testing.assert_close(second[name], weight, rtol=0, atol=0, msg=name)
    assert not (stopped.run.folder.path / "unfinished" / "dpo").exists()


def test_every_epoch_reads_every_pair_once() -> None:
    config = configuration(Path("unused"), epochs=3, pairs_per_step=4)
    steps = list(orders(10, config))
    assert [len(step) for step in steps] == [4, 4, 2] * 3
    for epoch in range(3):
        read = [index for step in steps[3 * epoch : 3 * epoch + 3] for index in step]
        assert sorted(read) == list(range(10))


def test_without_a_reference_model_it_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="no model there, and DPO needs one as its reference"):
        train(
            configuration(tmp_path), Sources(pairs=pairs_file(tmp_path)), tmp_path / "none", tmp_path / "out"
        )


def test_pairs_without_a_gap_are_counted_and_none_left_is_one_line(tmp_path: Path) -> None:
    same = example(["wc"], episode_return=1.0, is_success=True)
    file = tmp_path / "pairs.jsonl"
    write_pairs(file, [Pair(task="t", chosen=same, rejected=same)] * 3)
    with pytest.raises(ConfigurationError, match=r"dpo\.min_gap = 0\.01: 0 pairs; left out: 3 without a gap"):
        train(configuration(tmp_path), Sources(pairs=file), tiny_folder(tmp_path / "model"), tmp_path / "out")
