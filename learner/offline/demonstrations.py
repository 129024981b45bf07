"""Demonstrations in AgentTraj form, as the sequences that the policy would have read and sampled.

    [{"item_id": "textcraft_3", "conversations": [
        {"from": "human", "loss": null, "value": the instructions},
        {"from": "gpt", "loss": false, "value": "Ok."},
        {"from": "human", "loss": null, "value": an observation},
        {"from": "gpt", "loss": true, "value": an action}, ...]}]

The acknowledgement of the instructions is left out: in an episode they are the system message.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from common.errors import ConfigurationError
from common.prompt import Dialogue
from learner.batch import TrainingSequence


class Message(BaseModel):
    """One message of a row."""

    model_config = ConfigDict(frozen=True)

    speaker: Literal["human", "gpt"] = Field(alias="from")
    loss: bool | None = None
    value: str


class Demonstration(BaseModel):
    """One row: instructions, then observations and actions in turn."""

    model_config = ConfigDict(frozen=True)

    item_id: str
    conversations: tuple[Message, ...]

    @property
    def instructions(self) -> str:
        """The first message, when a message that is not trained acknowledges it; otherwise empty."""
        return self.conversations[0].value if self._is_introduced else ""

    def turns(self) -> Iterator[tuple[str, str, bool]]:
        """(observation, action, whether the action is trained), in order.

        Raises ConfigurationError, naming the row, when human and gpt do not alternate.
        """
        messages = self.conversations[2 * self._is_introduced :]
        speakers = [message.speaker for message in messages]
        if not messages or speakers != ["human", "gpt"] * (len(messages) // 2):
            raise ConfigurationError(
                f"demonstration {self.item_id}: human and gpt must alternate, human first"
            )
        for observation, action in zip(messages[::2], messages[1::2], strict=True):
            yield observation.value, action.value, action.loss is True

    @property
    def _is_introduced(self) -> bool:
        first = self.conversations[:2]
        return len(self.conversations) > 2 and first[0].speaker == "human" and first[1].loss is False


def read_demonstrations(file: Path) -> list[Demonstration]:
    """Every row of a file; ConfigurationError with one line when it is missing or not AgentTraj."""
    try:
        return TypeAdapter(list[Demonstration]).validate_json(file.read_bytes())
    except OSError as error:
        raise ConfigurationError(f"demonstrations {file}: {error.strerror}") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise ConfigurationError(f"demonstrations {file}: row {where or '-'}: {first['msg']}") from None


def encode(demonstration: Demonstration, dialogue: Dialogue) -> TrainingSequence | None:
    """The row in tokens, as an episode would have produced them; None when no action is trained.

    Prompt, mask and end tokens come from the same code as in an episode. Advantage 1 on trained tokens;
    the demonstrator's logprobs are unknown and stay 0.
    """
    parts, trained = [], []
    for index, (observation, action, is_trained) in enumerate(demonstration.turns()):
        prompt = dialogue.first_prompt(observation) if index == 0 else dialogue.next_prompt(observation, True)
        action_tokens = dialogue.action_tokens(action)
        parts += [prompt, action_tokens]
        trained += [np.zeros(len(prompt), np.bool_), np.full(len(action_tokens), is_trained)]
    is_action = np.concatenate(trained)
    if not is_action.any():
        return None
    zeros = np.zeros(len(is_action), np.float32)
    versions = np.where(is_action, 0, -1).astype(np.int32)
    tokens = np.concatenate(parts).astype(np.int32)
    return TrainingSequence(tokens, is_action, is_action, zeros, is_action.astype(np.float32), versions)


def sequences(
    demonstrations: list[Demonstration], dialogue_for: Callable[[str], Dialogue], max_length: int
) -> tuple[list[TrainingSequence], int]:
    """All rows in tokens, and how many were left out for being longer than the model's `max_length`.

    Raises ConfigurationError when nothing is left to learn from.
    """
    dialogues: dict[str, Dialogue] = {}
    encoded: list[Any] = []
    for row in demonstrations:
        if row.instructions not in dialogues:
            dialogues[row.instructions] = dialogue_for(row.instructions)
        encoded.append(encode(row, dialogues[row.instructions]))
    trainable = [sequence for sequence in encoded if sequence is not None]
    kept = [sequence for sequence in trainable if len(sequence) <= max_length]
    if not kept:
        raise ConfigurationError(
            f"{len(demonstrations)} demonstrations, none with a trained action within {max_length} tokens"
        )
    return kept, len(trainable) - len(kept)
