"""What an offline trainer learns from: trajectories as text, or as the tokens that were read and sampled.

    demonstrations (AgentTraj)  --demonstrated-->            +--encode--> TrainingSequence
    trajectories (a ledger)     --explored-->      Example --+
                                                             +--read-----> rows of JSON

An explored example keeps the very tokens of the episode: sampled text is never encoded again, and an end
token that was not sampled is not learnt. Its texts are for people, and to notice another tokenizer.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import Field, model_validator

from common import json_rows
from common.agenttraj import Demonstration
from common.errors import ConfigurationError
from common.prompt import ChatTokenizer, Dialogue
from common.trajectory import Record, Trajectory
from learner.batch import IntVector, TrainingSequence


class ExampleTurn(Record):
    """One observation and the action that answered it."""

    observation: str
    action: str
    is_learnt: bool = True
    prompt_tokens: tuple[int, ...] = ()
    """As in `Turn`; empty when only the texts are known."""
    action_tokens: tuple[int, ...] = ()


class Example(Record):
    """One trajectory to learn from."""

    item_id: str = Field(min_length=1)
    """The task."""
    source: Literal["demonstration", "explored"] = "demonstration"
    instructions: str = ""
    """Empty in an explored example: they are in its tokens."""
    turns: tuple[ExampleTurn, ...] = Field(min_length=1)
    episode_return: float | None = None
    """None when nobody recorded it."""
    is_success: bool | None = None
    weight: float = Field(default=1.0, ge=0)
    """What its tokens count in the likelihood."""

    @model_validator(mode="after")
    def _has_tokens_everywhere_or_nowhere(self) -> "Example":
        known = {bool(turn.prompt_tokens) and bool(turn.action_tokens) for turn in self.turns}
        if len(known) > 1:
            raise ValueError("turns: some have tokens and some have not; give them all or none")
        return self

    @property
    def has_tokens(self) -> bool:
        """Whether the tokens of the episode are known."""
        return bool(self.turns[0].prompt_tokens)

    @property
    def actions(self) -> tuple[tuple[int, ...] | str, ...]:
        """What was done, for telling repetitions from other plays."""
        return tuple(turn.action_tokens or turn.action for turn in self.turns)


def demonstrated(row: Demonstration) -> Example:
    """An AgentTraj row as an example."""
    turns = [
        ExampleTurn(observation=shown, action=said, is_learnt=is_learnt)
        for shown, said, is_learnt in row.turns
    ]
    return Example(
        item_id=row.item_id,
        instructions=row.instructions,
        turns=tuple(turns),
        episode_return=row.reward,
        is_success=row.success,
    )


def explored(trajectory: Trajectory, weight: float = 1.0) -> Example | None:
    """A played trajectory as an example; None when nothing was sampled in it."""
    turns: list[ExampleTurn] = []
    unread: tuple[int, ...] = ()
    for turn in trajectory.turns:
        unread += tuple(turn.prompt_tokens.tolist())
        if len(turn.action_tokens):
            sampled = tuple(turn.action_tokens.tolist())
            turns.append(
                ExampleTurn(
                    observation=turn.observation,
                    action=turn.action,
                    prompt_tokens=unread,
                    action_tokens=sampled,
                )
            )
            unread = ()
    if not turns:
        return None
    return Example(
        item_id=trajectory.task.task,
        source="explored",
        turns=tuple(turns),
        episode_return=trajectory.episode_return,
        is_success=trajectory.is_success,
        weight=weight,
    )


class Encoder:
    """Turns examples into the sequences that the policy would have read and sampled."""

    def __init__(self, tokenizer: ChatTokenizer) -> None:
        self._tokenizer = tokenizer
        self._dialogues: dict[str, Dialogue] = {}

    def encode(self, example: Example) -> TrainingSequence | None:
        """The example in tokens, its weight as the advantage of each learnt one; None when nothing is learnt.

        Prompt, mask and end tokens come from the same code as in an episode. The behaviour logprobs stay 0.
        Raises ConfigurationError when recorded tokens are not those of this tokenizer.
        """
        parts = self._recorded(example) if example.has_tokens else self._written(example)
        is_action = np.concatenate(
            [
                np.full(len(part), index % 2 == 1 and example.turns[index // 2].is_learnt)
                for index, part in enumerate(parts)
            ]
        )
        if not is_action.any():
            return None
        zeros = np.zeros(len(is_action), np.float32)
        versions = np.where(is_action, 0, -1).astype(np.int32)
        weights = np.where(is_action, np.float32(example.weight), np.float32(0))
        tokens = np.concatenate(parts).astype(np.int32)
        return TrainingSequence.of(tokens, is_action, is_action, zeros, weights, versions)

    def _written(self, example: Example) -> list[IntVector]:
        """Prompt and action of each turn, encoded; the instructions are the system message."""
        if example.instructions not in self._dialogues:
            self._dialogues[example.instructions] = Dialogue(self._tokenizer, example.instructions)
        dialogue = self._dialogues[example.instructions]
        parts: list[IntVector] = []
        for index, turn in enumerate(example.turns):
            read = (
                dialogue.next_prompt(turn.observation, is_stopped=True)
                if index
                else dialogue.first_prompt(turn.observation)
            )
            parts += [read, dialogue.action_tokens(turn.action)]
        return parts

    def _recorded(self, example: Example) -> list[IntVector]:
        parts: list[IntVector] = []
        for turn in example.turns:
            read = self._tokenizer.decode(list(turn.action_tokens), skip_special_tokens=True)
            if read != turn.action:
                raise ConfigurationError(
                    f"example {example.item_id}: its tokens read {read[:40]!r} to this model's tokenizer and "
                    f"{turn.action[:40]!r} to the one that sampled them; give the model that explored"
                )
            parts += [np.array(turn.prompt_tokens, np.int32), np.array(turn.action_tokens, np.int32)]
        return parts


def encode_all(
    examples: Sequence[Example], encoder: Encoder, max_length: int
) -> tuple[list[TrainingSequence], int]:
    """All examples in tokens, and how many were left out for being longer than the model's `max_length`.

    Raises ConfigurationError when nothing is left to learn from.
    """
    encoded = [encoder.encode(example) for example in examples]
    learnable = [sequence for sequence in encoded if sequence is not None]
    kept = [sequence for sequence in learnable if len(sequence) <= max_length]
    if not kept:
        raise ConfigurationError(
            f"{len(examples)} demonstrations, none with a trained action within {max_length} tokens"
        )
    return kept, len(learnable) - len(kept)


def read_examples(path: Path) -> list[Example]:
    """The rows of a file: examples, or demonstrations in AgentTraj form; a JSON array or JSON lines.

    Raises ConfigurationError with file, line, row and reason when one is broken, and for a file without any.
    """
    examples = json_rows.read(path, _example).rows
    if not examples:
        raise ConfigurationError(f"{path}: holds no trajectory")
    return list(examples)


def write_examples(path: Path, examples: Iterable[Example]) -> int:
    """Write one example per line, whole or not at all; how many."""
    rows = (example.model_dump(mode="json", exclude_defaults=True) for example in examples)
    return json_rows.write(path, rows, "lines")


def _example(row: Any) -> Example:
    if isinstance(row, dict) and "conversations" in row:
        return demonstrated(Demonstration.model_validate(row))
    return Example.model_validate(row)
