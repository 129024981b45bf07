"""One game of Wordle."""

import re
from functools import cache
from random import Random
from typing import Any

import numpy as np

from envhub.environment import Episode, ExpertMove, StepResult
from envhub.envs.wordle.engine import ALL_GREEN, TRIES, Indices, Lexicon, decode
from envhub.envs.wordle.expert import Solver
from envhub.envs.wordle.texts import INVALID, MAX_TURNS, REFUSAL, UNLISTED, opening, spell, thought

MAX_HINTS = 20
_GUESS = re.compile(r"[a-z](?: ?[a-z]){4}")
_LONGEST = 200
"""Characters; a longer text is no guess."""


class WordleEpisode(Episode):
    """Six tries; reward 1 for the word, 0 before and without it. A word that is not listed costs a try by
    the rules `lmrl` and none by `nyt`.

    Any text but five letters is malformed and costs none. After `MAX_TURNS` texts of any sort the game is
    cut. `hidden` is the hidden word, or a generator that
    draws one anew at every guess from the words that fit all answers so far.
    """

    def __init__(self, lexicon: Lexicon, hidden: int | Random) -> None:
        self._lexicon = lexicon
        self._hidden = hidden
        self._fitting: Indices = np.arange(len(lexicon.words))
        self._guesses: list[tuple[str, str]] = []
        self._tries_left = TRIES
        self._turns = 0
        self._is_won = False
        self._observation = opening(lexicon)

    @property
    def observation(self) -> str:
        """What was shown last."""
        return self._observation

    def step(self, action: str) -> StepResult:
        """Answer a guess, `s h i r e` or `shire`; when it is over nothing changes."""
        was_over = self._is_over
        text = " ".join(action[:_LONGEST].split()).lower()
        is_guess = action.isascii() and len(action) <= _LONGEST and _GUESS.fullmatch(text) is not None
        if not was_over:
            self._turns += 1
            self._observation = self._answer(text.replace(" ", "")) if is_guess else REFUSAL
        return StepResult(
            observation=self._observation,
            reward=float(self._is_won and not was_over),
            is_terminated=self._is_decided,
            is_truncated=self._is_over and not self._is_decided,
            is_success=self._is_won,
            score=float(self._is_won),
            is_malformed=not is_guess and not was_over,
        )

    def actions(self) -> tuple[str, ...]:
        """Some words that fit all answers, from all over the list."""
        chosen = self._fitting[:: max(1, len(self._fitting) // MAX_HINTS)][:MAX_HINTS]
        return tuple(spell(self._lexicon.words[index]) for index in chosen)

    def expert(self) -> ExpertMove:
        """The guess that tells most; it wins if the tries left allow it."""
        guess = _solver(self._lexicon).guess(self._fitting, self._tries_left)
        return ExpertMove(
            action=spell(self._lexicon.words[guess]), thought=thought(self._guesses, len(self._fitting))
        )

    def render(self) -> str:
        """The board, the tries left, and the hidden word where there is one yet."""
        hidden = "drawn anew at every guess from the words that fit"
        if isinstance(self._hidden, int):
            hidden = spell(self._lexicon.words[self._hidden])
        board = "".join(f"{spell(guess)}   {spell(marks)}\n" for guess, marks in self._guesses)
        state = f"Tries left: {self._tries_left}. Words that fit: {len(self._fitting)}. Hidden: {hidden}."
        return f"{board}{state}\n\n{self._observation}"

    def detail(self) -> dict[str, Any]:
        """The rules, the guesses with their marks, and the words that fit them all."""
        return {
            "rules": self._lexicon.rules,
            "tries_left": self._tries_left,
            "guesses": [{"word": guess, "marks": marks} for guess, marks in self._guesses],
            "filtered_vocab": [self._lexicon.words[index] for index in self._fitting],
        }

    @property
    def _is_decided(self) -> bool:
        return self._is_won or self._tries_left == 0

    @property
    def _is_over(self) -> bool:
        return self._is_decided or self._turns >= MAX_TURNS

    def _answer(self, word: str) -> str:
        answers = self._lexicon.answers_to(word)
        if answers is None and self._lexicon.rules == "nyt":
            return UNLISTED
        self._tries_left -= 1
        if answers is None:
            return INVALID
        hidden = self._hidden if isinstance(self._hidden, int) else self._hidden.choice(self._fitting)
        code = answers[hidden]
        self._fitting = self._fitting[answers[self._fitting] == code]
        self._is_won = bool(code == ALL_GREEN)
        marks = decode(int(code))
        self._guesses.append((word, marks))
        return spell(marks)


@cache
def _solver(lexicon: Lexicon) -> Solver:
    """One per lexicon: its episodes meet the same positions."""
    return Solver(lexicon)
