"""Examples: the tokens of an episode stay what they were; texts become what an episode would have read."""

import json
from pathlib import Path

import numpy as np
import pytest

from common import agenttraj
from common.errors import ConfigurationError
from common.prompt import Dialogue
from common.trajectory import Trajectory, VersionSpan
from learner.batch import sequence_of
from learner.offline.examples import (
    Encoder,
    demonstrated,
    encode_all,
    explored,
    read_examples,
    write_examples,
)
from learner.word_tokenizer import word_tokenizer
from tests.making import trajectory, turn

WORDS = [f"w{letter}" for letter in "abcdefghixy"]
TOKENIZER = word_tokenizer(WORDS, max_length=64)


def played(*, cuts_last: bool = True) -> Trajectory:
    """Two turns, the second cut by its token limit: its end token was never sampled."""
    dialogue = Dialogue(TOKENIZER, "wx wy")
    turns, prompt = [], dialogue.first_prompt("wa wb")
    for text, is_stopped in (("wc wd", True), ("we wf", not cuts_last)):
        action = dialogue.action_tokens(text)
        action = action if is_stopped else action[:-1]
        turns.append(
            turn(
                prompt_tokens=prompt,
                action_tokens=action,
                behaviour_logprobs=np.full(len(action), -1, np.float32),
                versions=(VersionSpan(version=0, num_tokens=len(action)),),
                is_stopped=is_stopped,
                action=text,
                observation="wa wb",
            )
        )
        prompt = dialogue.next_prompt("wg", is_stopped)
    return trajectory(turns=tuple(turns), reward=1.0)


def test_an_explored_example_is_learnt_in_the_very_tokens_that_were_sampled() -> None:
    episode = played()
    example = explored(episode, weight=0.25)
    assert example is not None
    made, expected = Encoder(TOKENIZER).encode(example), sequence_of(episode)
    assert made is not None
    assert expected is not None
    for name in ("tokens", "is_action", "is_trained"):
        np.testing.assert_array_equal(getattr(made, name), getattr(expected, name), err_msg=name)
    np.testing.assert_array_equal(made.advantages, np.where(made.is_action, 0.25, 0))


def test_an_end_token_that_was_not_sampled_is_not_learnt() -> None:
    cut, whole = explored(played()), explored(played(cuts_last=False))
    assert cut is not None
    assert whole is not None
    encoder = Encoder(TOKENIZER)
    learnt = [TOKENIZER.decode(s.tokens[s.is_trained]) for e in (cut, whole) if (s := encoder.encode(e))]
    assert learnt == ["wc wd<|im_end|>we wf", "wc wd<|im_end|>we wf<|im_end|>"]


def test_what_another_tokenizer_sampled_is_refused() -> None:
    example = explored(played())
    assert example is not None
    other = word_tokenizer(["wz", *WORDS[::-1]], max_length=64)
    with pytest.raises(
        ConfigurationError, match=r"example task-0: its tokens read .* give the model that explored"
    ):
        Encoder(other).encode(example)


def test_a_turn_in_which_nothing_was_sampled_is_read_with_the_next_one() -> None:
    silent = turn(num_action=0, prompt_tokens=np.array([7, 8], np.int32))
    example = explored(trajectory(turns=(silent, turn())))
    assert example is not None
    assert [t.prompt_tokens for t in example.turns] == [(7, 8, 1, 2, 3)]
    assert explored(trajectory(turns=(silent,))) is None


def test_examples_come_back_from_their_file_as_they_were(tmp_path: Path) -> None:
    row = agenttraj.demonstration("task-1", "wx", [("wa", "wb")])
    example = explored(played(), weight=0.5)
    assert example is not None
    examples = [demonstrated(row), example]
    assert write_examples(tmp_path / "set.jsonl", examples) == 2
    assert read_examples(tmp_path / "set.jsonl") == examples


def test_a_file_of_agenttraj_rows_is_a_file_of_examples_with_their_rewards(tmp_path: Path) -> None:
    row = agenttraj.row_of(agenttraj.demonstration("task-1", "wx", [("wa", "wb")]))
    file = tmp_path / "rows.json"
    file.write_text(json.dumps([row, row | {"reward": 0.5, "success": False}]))
    expert, sampled = read_examples(file)
    assert (expert.episode_return, expert.is_success) == (None, None)
    assert (sampled.episode_return, sampled.is_success) == (0.5, False)


BROKEN = [
    ('{"item_id": "a", "turns": []}', "line 2: row 1: turns"),
    ('{"item_id": "a", "conversations": [{"from": "human", "value": "x"}]}', "line 2: row 1: conversations"),
    (
        '{"item_id": "a", "turns": [{"observation": "x", "action": "y"}], "weight": -1}',
        "line 2: row 1: weight",
    ),
    (
        '{"item_id": "a", "turns": [{"observation": "x", "action": "y"}, '
        '{"observation": "x", "action": "y", "prompt_tokens": [1], "action_tokens": [2]}]}',
        "some have tokens and some have not",
    ),
    ("{nonsense", "line 2: row 1: not JSON"),
]


@pytest.mark.parametrize(("line", "reason"), BROKEN)
def test_a_broken_row_is_named_by_its_line(tmp_path: Path, line: str, reason: str) -> None:
    file = tmp_path / "set.jsonl"
    good = '{"item_id": "a", "turns": [{"observation": "x", "action": "y"}]}'
    file.write_text(f"{good}\n{line}\n")
    with pytest.raises(ConfigurationError) as refused:
        read_examples(file)
    assert reason in str(refused.value)
    assert "\n" not in str(refused.value)


def test_an_empty_file_holds_no_trajectory(tmp_path: Path) -> None:
    (tmp_path / "none.json").write_text("[]")
    with pytest.raises(ConfigurationError, match=r"none\.json: holds no trajectory"):
        read_examples(tmp_path / "none.json")


def test_what_is_too_long_for_the_model_is_left_out_and_counted() -> None:
    short = demonstrated(agenttraj.demonstration("a", "", [("wa", "wb")]))
    long = demonstrated(agenttraj.demonstration("b", "", [("wa " * 80, "wb")]))
    kept, num_long = encode_all([short, long], Encoder(TOKENIZER), 64)
    assert (len(kept), num_long) == (1, 1)
