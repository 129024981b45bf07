"""The expert: the guess that tells most, checked to leave no word that the tries cannot reach.

Guesses are ranked by the entropy of their answers over the words that still fit (Shannon, 1948), a word that
may itself be the hidden one before another that tells as much. Of the best `WIDTH` the first is taken after
which every fitting word is found within the tries left, by the same rule; if none of them is, the one that
loses fewest. The very first guess is not checked.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from envhub.envs.wordle.engine import ALL_GREEN, NUM_ANSWERS, TRIES, Indices, Lexicon

WIDTH: Final = 12
MAX_REMEMBERED: Final = 50_000
"""Positions whose guess is kept."""


class Solver:
    """The guesses for one lexicon; remembers what it has worked out."""

    def __init__(self, lexicon: Lexicon) -> None:
        self._lexicon = lexicon
        self._known: dict[tuple[bytes, int], tuple[int, int]] = {}

    def guess(self, fitting: Indices, tries: int) -> int:
        """The word to guess, as an index, when the hidden word is one of `fitting` (at least one, sorted)."""
        return self._solve(fitting, max(tries, 1))[0]

    def _solve(self, fitting: Indices, tries: int) -> tuple[int, int]:
        """The guess, and how many of the fitting words cannot be found after it."""
        if len(fitting) <= 2 or tries == 1:
            return int(fitting[0]), max(0, len(fitting) - tries)
        key = (fitting.tobytes(), tries)
        if key not in self._known:
            if len(self._known) >= MAX_REMEMBERED:
                self._known.clear()
            self._known[key] = self._search(fitting, tries)
        return self._known[key]

    def _search(self, fitting: Indices, tries: int) -> tuple[int, int]:
        counts = self._counts(fitting)
        if tries == 2:
            # One guess remains afterwards: of every answer's words one is found.
            kinds = (counts > 0).sum(axis=1) + 0.5 * _is_in(fitting, len(counts))
            best = int(kinds.argmax())
            return best, len(fitting) - int(kinds[best])
        ranked = _ranked(counts, fitting)
        if tries == TRIES and len(fitting) == len(self._lexicon.words):
            return int(ranked[0]), 0
        best, fewest = int(ranked[0]), len(fitting)
        for guess in ranked:
            lost = self._lost(int(guess), fitting, tries, fewest)
            if lost < fewest:
                best, fewest = int(guess), lost
            if fewest == 0:
                break
        return best, fewest

    def _lost(self, guess: int, fitting: Indices, tries: int, enough: int) -> int:
        """Words that cannot be found after the guess; stops counting at `enough`."""
        answers = self._lexicon.answers(guess)[fitting]
        lost = 0
        for code in np.unique(answers):
            rest = fitting[answers == code]
            if code == ALL_GREEN or len(rest) < tries:
                continue
            lost += self._solve(rest, tries - 1)[1]
            if lost >= enough:
                break
        return lost

    def _counts(self, fitting: Indices) -> NDArray[np.int32]:
        """How many fitting words give each answer to each guess; [guesses, answers]."""
        table = self._lexicon.table
        counts = np.zeros((len(table), NUM_ANSWERS), dtype=np.int32)
        for guess, row in enumerate(table[:, fitting]):
            counts[guess] = np.bincount(row, minlength=NUM_ANSWERS)
        return counts


def _ranked(counts: NDArray[np.int32], fitting: Indices) -> Indices:
    """The best `WIDTH` guesses, best first; ties by the lexicon's order."""
    logs = np.zeros(len(fitting) + 1)
    logs[1:] = np.arange(1, len(fitting) + 1) * np.log2(np.arange(1, len(fitting) + 1))
    # Of all answers together: the bits that remain; the hidden word itself is worth half a word's bit.
    remaining = logs[counts].sum(axis=1) - 0.5 * _is_in(fitting, len(counts))
    return np.argsort(remaining.round(6), kind="stable")[:WIDTH]


def _is_in(fitting: Indices, size: int) -> NDArray[np.bool_]:
    found = np.zeros(size, dtype=np.bool_)
    found[fitting] = True
    return found
