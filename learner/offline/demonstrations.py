"""Demonstrations in AgentTraj form, as the sequences that the policy would have read and sampled.

The acknowledgement of the instructions is left out: in an episode they are the system message.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from common.agenttraj import Demonstration
from common.errors import ConfigurationError
from common.prompt import Dialogue
from learner.batch import TrainingSequence


def encode(demonstration: Demonstration, dialogue: Dialogue) -> TrainingSequence | None:
    """The row in tokens, as an episode would have produced them; None when no action is trained.

    Prompt, mask and end tokens come from the same code as in an episode. Advantage 1 on trained tokens;
    the demonstrator's logprobs are unknown and stay 0.
    """
    parts, trained = [], []
    for index, (observation, action, is_trained) in enumerate(demonstration.turns):
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
    return TrainingSequence.of(tokens, is_action, is_action, zeros, is_action.astype(np.float32), versions)


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
