import json
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import load_file
from transformers import AutoTokenizer

from common.agenttraj import Demonstration
from common.config import validate
from common.errors import ConfigurationError
from common.prompt import Dialogue
from learner.batch import TrainingSequence
from learner.offline.examples import Encoder, demonstrated
from learner.offline.progress import opened
from learner.offline.sft import Lesson, SftRoleConfig, batches, train
from learner.packing import pack
from learner.word_tokenizer import word_tokenizer
from tests.learner.torch_side import random_sequences, tiny_folder
from tests.reference_offline import reward_weighted_nll

WORDS = [f"w{letter}" for letter in "abcdefghixy"]
TURNS = [("wa wb", "wc wd"), ("we", "wf"), ("wg", "wh wi")]


def row(
    turns: list[tuple[str, str]], *, instructions: str | None = "wx wy", trained: tuple[bool, ...] = ()
) -> dict[str, object]:
    said: list[dict[str, object]] = []
    if instructions is not None:
        said.append({"from": "human", "loss": None, "value": instructions})
        said.append({"from": "gpt", "loss": False, "value": "Ok."})
    for index, (observation, action) in enumerate(turns):
        said.append({"from": "human", "loss": None, "value": observation})
        said.append({"from": "gpt", "loss": trained[index] if trained else True, "value": action})
    return {"item_id": "toy_7", "conversations": said}


def encode(row: dict[str, object], words: list[str]) -> TrainingSequence | None:
    tokenizer = word_tokenizer(words, max_length=64)
    return Encoder(tokenizer).encode(demonstrated(Demonstration.model_validate(row)))


def configuration(tmp_path: Path, rows: list[dict[str, object]], **sft: object) -> SftRoleConfig:
    config = validate(
        SftRoleConfig,
        {
            "run": {"name": "r", "directory": str(tmp_path)},
            "model": {"path": "unused"},
            "learner": {"device": "cpu", "microbatch_tokens": 64},
            "sft": {"learning_rate": 1e-2, "steps": 30, "batch_tokens": 64, **sft},
        },
    )
    folder = config.run.folder
    tiny_folder(folder.model)
    folder.demonstrations.parent.mkdir(parents=True)
    folder.demonstrations.write_text(json.dumps(rows))
    return config


def test_a_demonstration_is_the_episode_that_the_policy_would_have_played() -> None:
    """The very tokens of `Dialogue`, end tokens trained, prompts not; the acknowledgement is left out."""
    tokenizer = word_tokenizer(WORDS, max_length=64)
    dialogue = Dialogue(tokenizer, "wx wy")
    made = encode(row(TURNS), WORDS)
    assert made is not None
    expected = [dialogue.first_prompt("wa wb"), dialogue.action_tokens("wc wd")]
    expected += [dialogue.next_prompt("we", True), dialogue.action_tokens("wf")]
    expected += [dialogue.next_prompt("wg", True), dialogue.action_tokens("wh wi")]
    assert made.tokens.tolist() == np.concatenate(expected).tolist()
    assert tokenizer.decode(made.tokens[made.is_trained]) == "wc wd<|im_end|>wf<|im_end|>wh wi<|im_end|>"


def test_an_action_with_loss_false_is_read_and_not_trained() -> None:
    tokenizer = word_tokenizer(WORDS, max_length=64)
    made = encode(row(TURNS, trained=(False, True, False)), WORDS)
    assert made is not None
    assert tokenizer.decode(made.tokens[made.is_trained]) == "wf<|im_end|>"


def test_a_row_without_instructions_has_none() -> None:
    assert Demonstration.model_validate(row(TURNS, instructions=None)).instructions == ""
    assert Demonstration.model_validate(row(TURNS)).instructions == "wx wy"


def test_a_row_in_which_nothing_is_trained_is_left_out() -> None:
    assert encode(row(TURNS, trained=(False, False, False)), ["wa"]) is None


def test_an_epoch_shows_every_sequence_once_in_an_order_of_the_seed(tmp_path: Path) -> None:
    config = configuration(tmp_path, [row(TURNS)])
    sequences = random_sequences([20] * 10)
    endless = batches(sequences, config)
    first_epoch = [next(endless) for _ in range(3)]  # 4 + 4 + 2 sequences
    assert [batch.num_sequences for batch in first_epoch] == [4, 4, 2]
    seen = np.concatenate([m.tokens for batch in first_epoch for m in batch.microbatches])
    assert sorted(seen.tolist()) == sorted(np.concatenate([s.tokens for s in sequences]).tolist())
    again = batches(sequences, config)
    assert [next(again).ranks[0][0].tokens.tolist() for _ in range(3)] == [
        batch.ranks[0][0].tokens.tolist() for batch in first_epoch
    ]


def test_the_warm_start_learns_its_demonstrations_and_is_a_model_folder(tmp_path: Path) -> None:
    config = configuration(tmp_path, [row(TURNS), row(TURNS[::-1])])
    assert train(config) < 1.0  # log 57 = 4.04 nats without learning
    folder = config.run.folder
    assert folder.policy_zero == folder.warm_start
    assert AutoTokenizer.from_pretrained(folder.warm_start).chat_template


def test_rows_longer_than_the_model_are_left_out_and_nothing_left_is_an_error(tmp_path: Path) -> None:
    config = configuration(tmp_path, [row([("wa " * 300, "wb")])])
    with pytest.raises(ConfigurationError, match="1 demonstrations, none with a trained action within 256"):
        train(config)
    assert not config.run.folder.warm_start.exists()


def test_the_loss_is_the_likelihood_weighted_by_the_return(tmp_path: Path) -> None:
    """Against the paper's objective, on the weights before the step."""
    returns = [0.25, 1.0, 0.5]
    sequences = [
        replace(s, is_trained=s.is_action, advantages=np.where(s.is_action, np.float32(value), np.float32(0)))
        for s, value in zip(random_sequences([40, 21, 33]), returns, strict=True)
    ]
    config = configuration(tmp_path, [row(TURNS)])
    batch = pack(sequences, microbatch_tokens=64)
    with opened(
        config.run.folder.model,
        optimizer=config.sft,
        num_steps=1,
        learner=config.learner,
        model=config.model,
        seed=0,
    ) as ranks:
        assert ranks is not None
        scored = ranks.score(batch, temperature=1.0, wants=["proximal"])
        statistics = ranks.step(batch, step=1, temperature=1.0)
    logprobs = [s.proximal_logprobs for s in scored if s.proximal_logprobs is not None]
    assert statistics.loss == pytest.approx(reward_weighted_nll(logprobs, returns), rel=1e-5)


def test_a_validation_share_is_not_learnt_and_measured_at_the_end(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    config = configuration(tmp_path, [row(TURNS), row(TURNS[::-1])] * 4, validation_share=0.25, steps=3)
    with caplog.at_level("INFO"):
        train(config)
    assert "trajectories=2" in caplog.text
    assert "validation_loss=" in caplog.text


def test_a_validation_share_of_nothing_is_one_line(tmp_path: Path) -> None:
    config = configuration(tmp_path, [row(TURNS)], validation_share=0.5)
    with pytest.raises(
        ConfigurationError, match=r"sft\.validation_share = 0\.5: of 1 trajectories that is none"
    ):
        train(config)


class After(threading.Event):
    """Set when it has been asked `number` times."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self._left = number

    def is_set(self) -> bool:
        self._left -= 1
        return self._left == 0


def test_stopped_and_started_again_it_ends_with_the_same_model(tmp_path: Path) -> None:
    rows = [row(TURNS), row(TURNS[::-1]), row(TURNS[:2])]
    whole, stopped = (configuration(tmp_path / name, rows, steps=12) for name in ("whole", "stopped"))
    train(whole)
    with pytest.raises(KeyboardInterrupt):
        train(stopped, is_stopped=After(5))
    assert not stopped.run.folder.warm_start.exists()
    train(stopped)
    models = [load_file(c.run.folder.warm_start / "model.safetensors") for c in (whole, stopped)]
    for name, weight in models[0].items():
        np.testing.assert_array_equal(models[1][name].numpy(), weight.numpy(), err_msg=name)


def test_a_missing_model_is_one_line(tmp_path: Path) -> None:
    config = configuration(tmp_path, [row(TURNS)])
    folder = config.run.folder
    with pytest.raises(ConfigurationError, match=r"no config\.json there; give a Hugging Face model folder"):
        train(config, Lesson(tmp_path / "none", folder.demonstrations, folder.warm_start))


def test_a_broken_row_is_refused_with_its_line_and_nothing_is_written(tmp_path: Path) -> None:
    config = configuration(tmp_path, [row(TURNS), {"item_id": "toy_8", "conversations": []}])
    with pytest.raises(ConfigurationError, match=r"expert\.json: line 1: row 1: conversations"):
        train(config)
    assert not config.run.folder.warm_start.exists()
