"""The marks of a guess: for one hidden word, and for all words of a lexicon at once.

    g  the letter stands at this place
    y  the letter is in the word, at another place
    b  it is not

By the rules `lmrl` (LMRL-Gym) y says no more than that. By `nyt` (the newspaper's) a letter of the guess is
marked g or y no more often than the hidden word has it: g first, then y from left to right.
"""

from collections import Counter
from functools import cached_property
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

Rules = Literal["lmrl", "nyt"]
TRIES: Final = 6
LETTERS: Final = 5
MARKS: Final = "byg"
NUM_ANSWERS: Final = 3**LETTERS
ALL_GREEN: Final = NUM_ANSWERS - 1

Indices = NDArray[np.intp]
Codes = NDArray[np.uint8]


def feedback(guess: str, hidden: str, rules: Rules) -> str:
    """The marks, such as `bygby`."""
    free = Counter(there for there, letter in zip(hidden, guess, strict=True) if there != letter)
    marks = []
    for there, letter in zip(hidden, guess, strict=True):
        if there == letter:
            marks.append("g")
        elif rules == "lmrl":
            marks.append("y" if letter in hidden else "b")
        else:
            marks.append("y" if free[letter] > 0 else "b")
            free[letter] -= 1
    return "".join(marks)


def encode(marks: str) -> int:
    """Marks as a number below `NUM_ANSWERS`; all green is the largest."""
    return sum(MARKS.index(mark) * 3**place for place, mark in enumerate(marks))


def decode(code: int) -> str:
    """The marks of a number."""
    return "".join(MARKS[code // 3**place % 3] for place in range(LETTERS))


class Lexicon:
    """Words that may be guessed and hidden, in a fixed order, and what each guess answers for each of them.

    The answers are worked out when they are asked for, a row of all hidden words at a time, and kept.
    `allowed` are more words that may be guessed and are never hidden; the expert does without them.
    """

    def __init__(self, words: tuple[str, ...], rules: Rules, allowed: frozenset[str] = frozenset()) -> None:
        self.words = words
        self.rules = rules
        self.allowed = allowed
        self.index = {word: index for index, word in enumerate(words)}
        # [places, words]: a place of all words lies together in memory.
        self._letters = np.array([list(word.encode()) for word in words], dtype=np.uint8).T.copy()

    def answers(self, guess: int) -> Codes:
        """The code of every hidden word's answer to the guess; uint8 [words]."""
        table, is_known = self._rows
        if not is_known[guess]:
            table[guess] = self._row(self.words[guess])
            is_known[guess] = True
        row: Codes = table[guess]
        return row

    def answers_to(self, word: str) -> Codes | None:
        """The same for a word; None for one that is not to be guessed."""
        if word in self.index:
            return self.answers(self.index[word])
        return self._row(word) if word in self.allowed else None

    @cached_property
    def table(self) -> Codes:
        """All answers; uint8 [guesses, hidden words]."""
        for guess in range(len(self.words)):
            self.answers(guess)
        return self._rows[0]

    @cached_property
    def _rows(self) -> tuple[Codes, NDArray[np.bool_]]:
        return np.zeros((len(self.words),) * 2, dtype=np.uint8), np.zeros(len(self.words), dtype=np.bool_)

    def _row(self, guess: str) -> Codes:
        codes = np.zeros(len(self.words), dtype=np.uint8)
        for place, letter in enumerate(guess.encode()):
            there = self._letters == letter
            if self.rules == "lmrl" or guess.count(guess[place]) == 1:
                yellow = there.any(axis=0)
            else:
                green = self._letters == np.frombuffer(guess.encode(), dtype=np.uint8)[:, None]
                earlier = [p for p in range(place) if guess[p] == guess[place]]
                used = (~green[earlier]).sum(axis=0)
                yellow = (there & ~green).sum(axis=0) > used
            codes += np.where(there[place], 2, yellow).astype(np.uint8) * np.uint8(3**place)
        return codes
