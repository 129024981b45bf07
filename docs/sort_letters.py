"""`sort_letters`: sort five letters by swapping neighbours; a whole environment in one file."""

import re
from functools import cache
from hashlib import blake2b
from itertools import pairwise, permutations

from envhub.environment import Environment, Episode, ExpertMove, StepResult, prompt_words, unknown_task
from envhub.functions import Function, Functions, Parameter
from envhub.instructions import instructions
from envhub.task import Split, Task

LETTERS = "abcde"
RULES = "Sort the letters. A swap exchanges the letter at a position, counted from 1, and the next one."
REFUSAL = "Not a swap. Write: swap N, with N from 1 to 4."
FUNCTIONS = Functions(
    Function("swap", "swap {position}", "swap two neighbours", (Parameter("position", "integer"),))
)


class SortLetters(Environment):
    """Every order of five letters but the sorted one; the seed changes nothing."""

    name, horizon, functions = "sort_letters", 20, FUNCTIONS

    def tasks(self, split: Split) -> tuple[Task, ...]:
        """Every fifth one is for the test split; none is `unseen`."""
        return tuple(task for task in _tasks().values() if task.split == split)

    def task(self, name: str) -> Task:
        """By name, `sort-dacbe`."""
        if name not in _tasks():
            raise unknown_task(self.name, name, "sort-dacbe", _tasks())
        return _tasks()[name]

    def reset(self, task: str, seed: int) -> "SortingEpisode":
        """Begin with the letters of the name; `seed` is not used."""
        return SortingEpisode(self.task(task).name.removeprefix("sort-"))

    def instructions(self, action_format: str) -> str:
        """The rules, the action, and the form of an answer."""
        return instructions(RULES, FUNCTIONS, action_format)

    def vocabulary(self) -> tuple[str, ...]:
        """Letters, positions and a few words."""
        return tuple(sorted(prompt_words(self, [" ".join(LETTERS), REFUSAL, "1 2 3 4 is before in order"])))


class SortingEpisode(Episode):
    """Reward 1 when the letters are sorted; anything but `swap N` is malformed."""

    observation = ""

    def __init__(self, letters: str) -> None:
        self._letters = list(letters)
        self.observation = " ".join(letters)

    def step(self, action: str) -> StepResult:
        """Swap; when it is over nothing changes."""
        match = re.fullmatch(r"swap ([1-4])", action.strip().lower())
        was_sorted = self._is_sorted
        if not was_sorted:
            self.observation = self._swapped(int(match[1])) if match else REFUSAL
        return StepResult(
            observation=self.observation,
            reward=float(self._is_sorted and not was_sorted),
            is_terminated=self._is_sorted,
            is_success=self._is_sorted,
            score=float(self._is_sorted),
            is_malformed=match is None,
        )

    def actions(self) -> tuple[str, ...]:
        """Every swap."""
        return tuple(f"swap {position}" for position in range(1, len(LETTERS)))

    def expert(self) -> ExpertMove:
        """The first neighbours in the wrong order."""
        for position, (one, other) in enumerate(pairwise(self._letters), start=1):
            if one > other:
                return ExpertMove(action=f"swap {position}", thought=f"{other} is before {one} in order.")
        return ExpertMove(action="swap 1")

    @property
    def _is_sorted(self) -> bool:
        return "".join(self._letters) == LETTERS

    def _swapped(self, position: int) -> str:
        here = slice(position - 1, position + 1)
        self._letters[here] = reversed(self._letters[here])
        return " ".join(self._letters)


@cache
def _tasks() -> dict[str, Task]:
    """In an order by hash, so that every prefix is a fair sample; never by `hash()`, which differs."""
    names = [f"sort-{''.join(letters)}" for letters in permutations(LETTERS) if "".join(letters) != LETTERS]
    names.sort(key=lambda name: blake2b(name.encode()).digest())
    return {name: Task(name=name, split="train" if i % 5 else "test") for i, name in enumerate(names)}
