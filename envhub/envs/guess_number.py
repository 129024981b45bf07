"""`guess_number`: find a hidden number from `Higher.` and `Lower.`; the smallest environment."""

import re
from functools import cache
from random import Random

from envhub.environment import Environment, Episode, ExpertMove, StepResult, prompt_words, unknown_task
from envhub.functions import Function, Functions, Parameter
from envhub.instructions import instructions
from envhub.task import Split, Task

HIGHEST = 64
NUM_TASKS = 100
NUM_TEST = 20

_GUESS = re.compile(r"guess ([0-9]{1,3})")
_OPENING = f"I think of a number between 1 and {HIGHEST}."
_REFUSAL = "Not a guess. Write: guess N"
_TEMPLATES = f"{_OPENING} Correct. Higher. Lower. {_REFUSAL} The middle of and ."
_FUNCTIONS = Functions(
    Function("guess", "guess {number}", "name a number", (Parameter("number", "integer", "your guess"),))
)


class GuessNumber(Environment):
    """A few turns: bisection needs at most 7. Task and seed choose the number."""

    name = "guess_number"
    horizon = 10
    functions = _FUNCTIONS

    def tasks(self, split: Split) -> tuple[Task, ...]:
        """The last `NUM_TEST` of `NUM_TASKS` names are the test split."""
        return tuple(task for task in _tasks().values() if task.split == split)

    def task(self, name: str) -> Task:
        """By name, `number-007`."""
        task = _tasks().get(name)
        if task is None:
            raise unknown_task(self.name, name, "number-007")
        return task

    def reset(self, task: str, seed: int) -> "GuessEpisode":
        """A hidden number drawn from task and seed."""
        name = self.task(task).name
        return GuessEpisode(Random(f"guess_number:{name}:{seed}").randint(1, HIGHEST))

    def instructions(self, action_format: str) -> str:
        """The rules in one line."""
        return instructions("Guess the hidden number.", _FUNCTIONS, action_format)

    def vocabulary(self) -> tuple[str, ...]:
        """Some words, and the numbers that the grammar allows."""
        numbers = {str(number) for number in range(1000)}
        return tuple(sorted(numbers | prompt_words(self, [_TEMPLATES])))


class GuessEpisode(Episode):
    """Reward 1 when the number is named; anything but `guess N` is malformed."""

    def __init__(self, hidden: int) -> None:
        self._hidden = hidden
        self._low, self._high = 1, HIGHEST
        self._is_done = False
        self._observation = _OPENING

    @property
    def observation(self) -> str:
        """What was shown last."""
        return self._observation

    def step(self, action: str) -> StepResult:
        """Answer a guess; after termination nothing changes."""
        match = _GUESS.fullmatch(action.strip().lower())
        reward = 0.0
        if not self._is_done:
            self._observation = self._answer(int(match[1])) if match else _REFUSAL
            reward = float(self._is_done)
        return StepResult(
            observation=self._observation,
            reward=reward,
            is_terminated=self._is_done,
            is_success=self._is_done,
            score=float(self._is_done),
            is_malformed=match is None,
        )

    def actions(self) -> tuple[str, ...]:
        """Every guess that the answers so far leave open."""
        return tuple(f"guess {number}" for number in range(self._low, self._high + 1))

    def expert(self) -> ExpertMove:
        """Bisection."""
        middle = (self._low + self._high) // 2
        return ExpertMove(action=f"guess {middle}", thought=f"The middle of {self._low} and {self._high}.")

    def render(self) -> str:
        """The hidden number and the range left open."""
        return f"Hidden: {self._hidden}. Open: {self._low} to {self._high}.\n{self._observation}"

    def _answer(self, guess: int) -> str:
        self._is_done = guess == self._hidden
        if self._is_done:
            return "Correct."
        if guess < self._hidden:
            self._low = max(self._low, guess + 1)
            return "Higher."
        self._high = min(self._high, guess - 1)
        return "Lower."


@cache
def _tasks() -> dict[str, Task]:
    tasks = {}
    for number in range(NUM_TASKS):
        split: Split = "test" if number >= NUM_TASKS - NUM_TEST else "train"
        tasks[f"number-{number:03d}"] = Task(name=f"number-{number:03d}", split=split)
    return tasks
