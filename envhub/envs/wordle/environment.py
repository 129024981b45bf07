"""`wordle`: find a hidden word of five letters in six tries, by either of two rules.

    wordle                 Pronghorn's own words
    wordle_words:FILE      a person's own, one a line, for both rules
    wordle_words:ANSWERS,GUESSES    by the newspaper's rules more words may be guessed than are hidden

The rules are a task's kind. `lmrl`, as AgentGym serves it: 40 words, none of them fixed; every guess is
compared with one drawn anew from the words that fit all answers so far, by a generator seeded with the task's
number. That is as hard as a fixed word drawn at random. `nyt`, the newspaper's: the task fixes one of 2,280.
The newspaper takes many more words than it hides; Pronghorn's list has those alone that may be hidden.
"""

import re
from functools import cache
from hashlib import blake2b
from pathlib import Path
from random import Random

from envhub.environment import Environment, out_of_range, prompt_words, unknown_task
from envhub.envs.wordle.engine import Lexicon, Rules
from envhub.envs.wordle.episode import WordleEpisode
from envhub.envs.wordle.lists import by_hash, imported, shipped
from envhub.envs.wordle.texts import FUNCTIONS, INVALID, REFUSAL, RULES, THOUGHTS, UNLISTED, opening
from envhub.instructions import instructions
from envhub.task import Split, Task

TEST_SHARE = 0.1
"""Of the newspaper's words."""
FIRST_LMRL = {"train": 1000, "test": 900_000}
"""The first listed number: those below 1,000 are AgentGym's, its evaluation's among them, and for testing."""
NUM_LMRL = {"train": 2000, "test": 200}
MAX_LMRL = 10**18
"""Every number below is a task of the rules `lmrl`, listed or not; 1,000 to 899,999 are training tasks."""

_NAME = re.compile(r"(lmrl|nyt)-([0-9]{6,18})")
_NUMBERED = re.compile(r"(?:lmrlgym_)?wordle_([0-9]{1,18})")


class Wordle(Environment):
    """Tasks `lmrl-000123` and `nyt-000123`; they fix the game, and the episode's seed changes nothing."""

    horizon = 8
    """Six tries, and two texts that are no guess."""
    functions = FUNCTIONS
    source = (
        "words derived from SCOWL (its permissive notice is beside them); LMRL-Gym's rules (arXiv:2311.18232)"
    )

    def __init__(self, file: str = "") -> None:
        self._file = file
        rules: tuple[Rules, ...] = ("lmrl", "nyt")
        answers, _, guesses = file.partition(",")
        more = Path(guesses) if guesses else None
        self._lexicons = {r: imported(Path(answers), r, more) if file else shipped(r) for r in rules}
        if file:
            self.source = "words of a file; their licence is their owner's"

    @property
    def name(self) -> str:
        """`wordle`, or the scheme and the file."""
        return f"wordle_words:{self._file}" if self._file else "wordle"

    def tasks(self, split: Split) -> tuple[Task, ...]:
        """Both rules mixed, in a frozen order by hash."""
        return () if split == "unseen" else _tasks(len(self._lexicons["nyt"].words), split)

    def task(self, name: str) -> Task:
        """By name; every number of `lmrl` is a task, and AgentGym's `wordle_123` is `lmrl-000123`."""
        if match := _NUMBERED.fullmatch(name):
            return self.indexed(int(match[1]))
        match = _NAME.fullmatch(name)
        number = int(match[2]) if match else 0
        num_words = len(self._lexicons["nyt"].words)
        if match is None or (match[1] == "nyt" and number >= num_words):
            raise unknown_task(self.name, name, "lmrl-000123")
        return _lmrl(number) if match[1] == "lmrl" else _nyt(number, num_words)

    def indexed(self, index: int) -> Task:
        """AgentGym's `seed`: any number from 0 on is a game by the rules `lmrl`."""
        if not 0 <= index < MAX_LMRL:
            raise out_of_range(self.name, index, MAX_LMRL)
        return _lmrl(index)

    def reset(self, task: str, seed: int) -> WordleEpisode:
        """The game of that task; `seed` is not used."""
        found = self.task(task)
        number = int(found.name.partition("-")[2])
        lexicon = self._lexicons["lmrl" if found.kind == "lmrl" else "nyt"]
        return WordleEpisode(lexicon, Random(number) if found.kind == "lmrl" else _order(lexicon)[number])

    def instructions(self, action_format: str) -> str:
        """What both rules share; the first observation says the rest."""
        return instructions(RULES, FUNCTIONS, action_format)

    def vocabulary(self) -> tuple[str, ...]:
        """The words of the texts, and the letters."""
        openings = [opening(lexicon) for lexicon in self._lexicons.values()]
        letters = " ".join("abcdefghijklmnopqrstuvwxyz")
        return tuple(sorted(prompt_words(self, [*openings, INVALID, UNLISTED, REFUSAL, THOUGHTS, letters])))


@cache
def _order(lexicon: Lexicon) -> tuple[int, ...]:
    return by_hash(lexicon.words)


@cache
def _tasks(num_words: int, split: Split) -> tuple[Task, ...]:
    first = FIRST_LMRL[split]
    found = [_lmrl(number) for number in range(first, first + NUM_LMRL[split])]
    found += [task for n in range(num_words) if (task := _nyt(n, num_words)).split == split]
    return tuple(sorted(found, key=lambda task: blake2b(f"wordle:{task.name}".encode()).hexdigest()))


def _lmrl(number: int) -> Task:
    split: Split = "train" if FIRST_LMRL["train"] <= number < FIRST_LMRL["test"] else "test"
    return Task(name=f"lmrl-{number:06d}", split=split, kind="lmrl")


def _nyt(number: int, num_words: int) -> Task:
    """The last `TEST_SHARE` of the words in their frozen order are the test split."""
    split: Split = "train" if number < num_words - round(TEST_SHARE * num_words) else "test"
    return Task(name=f"nyt-{number:06d}", split=split, kind="nyt")
