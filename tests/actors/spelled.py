"""A dialogue for tests that spells: one token per character, 1 ends an action."""

import numpy as np

END = 1


def spell(text: str) -> list[int]:
    """The text as tokens."""
    return [ord(character) + 10 for character in text]


class SpelledDialogue:
    """Says what `common.prompt.Dialogue` says, without a tokenizer."""

    end_token_ids = (END,)

    def __init__(self, instructions: str) -> None:
        self._instructions = instructions

    def first_prompt(self, observation: str) -> np.ndarray:
        return np.array(spell(f"{self._instructions}|{observation}>"), np.int32)

    def next_prompt(self, observation: str, is_stopped: bool) -> np.ndarray:
        return np.array(([] if is_stopped else [END]) + spell(f"|{observation}>"), np.int32)

    def text(self, tokens: np.ndarray) -> str:
        return "".join(chr(token - 10) for token in tokens if token != END)


def action(text: str) -> list[int]:
    """A whole sampled action, end token included."""
    return [*spell(text), END]
