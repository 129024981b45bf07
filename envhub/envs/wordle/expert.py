"""The expert: the guess that tells most, checked to leave no word that the tries cannot reach.

Guesses are ranked by the entropy of their answers over the words that still fit (Shannon, 1948), a word that
may itself be the hidden one before another that tells as much. While more than `MAX_CHECKED` words fit the
best ranked is taken. From then on, of the best `WIDTH`, the first after which every fitting word is found
within the tries left by the same rule; if there is none, the one that loses fewest.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from envhub.envs.wordle.engine import ALL_GREEN, NUM_ANSWERS, Indices, Lexicon

WIDTH: Final = 12
INNER_WIDTH: Final = 3
"""The same for guesses after the one that is being chosen."""
MAX_CHECKED: Final = 40
"""Words; a check of many more takes seconds, and loses no fewer words of the shipped lists."""
MAX_REMEMBERED: Final = 50_000
"""Positions whose guess is kept."""


class Solver:
    """The guesses for one lexicon; remembers what it has worked out."""

    def __init__(self, lexicon: Lexicon) -> None:
        self._lexicon = lexicon
        self._known: dict[tuple[bytes, int, int], tuple[int, int]] = {}

    def guess(self, fitting: Indices, tries: int) -> int:
        """The word to guess, as an index, when the hidden word is one of `fitting` (at least one, sorted)."""
        return self._solve(fitting, max(tries, 1), WIDTH)[0]

    def _solve(self, fitting: Indices, tries: int, width: int) -> tuple[int, int]:
        """The guess, and how many fitting words cannot be found after it; 0 where that is not checked."""
        if len(fitting) <= 2 or tries == 1:
            return int(fitting[0]), max(0, len(fitting) - tries)
        key = (fitting.tobytes(), tries, width)
        if key not in self._known:
            if len(self._known) >= MAX_REMEMBERED:
                self._known.clear()
            self._known[key] = self._search(fitting, tries, width)
        return self._known[key]

    def _search(self, fitting: Indices, tries: int, width: int) -> tuple[int, int]:
        counts = self._counts(fitting)
        if tries == 2:
            # One guess remains afterwards: of every answer's words one is found.
            kinds = (counts > 0).sum(axis=1) + 0.5 * _is_in(fitting, len(counts))
            best = int(kinds.argmax())
            return best, len(fitting) - int(kinds[best])
        ranked = _ranked(counts, fitting)[:width]
        if len(fitting) > MAX_CHECKED:
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
            lost += self._solve(rest, tries - 1, INNER_WIDTH)[1]
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
    """All guesses, best first; ties by the lexicon's order."""
    logs = np.zeros(len(fitting) + 1)
    logs[1:] = np.arange(1, len(fitting) + 1) * np.log2(np.arange(1, len(fitting) + 1))
    # Of all answers together: the bits that remain; the hidden word itself is worth half a word's bit.
    remaining = logs[counts].sum(axis=1) - 0.5 * _is_in(fitting, len(counts))
    return np.argsort(remaining.round(6), kind="stable")


def _is_in(fitting: Indices, size: int) -> NDArray[np.bool_]:
    found = np.zeros(size, dtype=np.bool_)
    found[fitting] = True
    return found
