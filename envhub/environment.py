"""What every environment promises: frozen tasks, and episodes that are the same on every machine."""

import re
from typing import Protocol

from common.errors import ConfigurationError
from common.trajectory import Record
from envhub.task import Split, Task

_WORD = re.compile(r"\n|[A-Za-z]+|[0-9]+|[^\sA-Za-z0-9]")


class StepResult(Record):
    """What the environment answers to one action."""

    observation: str
    reward: float = 0.0
    is_terminated: bool = False
    is_success: bool = False
    """By the environment's own predicate."""
    score: float = 0.0
    """So far, on the environment's own scale."""
    is_malformed: bool = False
    """The text was not an action of the grammar; nothing happened in the world."""


class ExpertMove(Record):
    """What the expert would do now, and why, in a few words."""

    action: str
    thought: str = ""


class Episode(Protocol):
    """One play of one task; mutable, used by one caller at a time.

    episode = environment.reset(task, seed)
    while not result.is_terminated:
        result = episode.step(action)       # any text at all; never raises for what a policy wrote
    """

    @property
    def observation(self) -> str:
        """What was shown last."""
        ...

    def step(self, action: str) -> StepResult:
        """Take one action; after termination nothing changes and reward is 0."""
        ...

    def actions(self) -> tuple[str, ...]:
        """Some actions that are possible now, as hints; not necessarily all."""
        ...

    def expert(self) -> ExpertMove:
        """The expert's next move from this state; played to the end it always succeeds."""
        ...

    def render(self) -> str:
        """The state of the world as text for people, including what the policy may not see."""
        ...


class Environment(Protocol):
    """A set of tasks and how they are played; immutable, shared by all its episodes.

    environment = registry.environment("textcraft")
    for task in environment.tasks("train"):
        episode = environment.reset(task.name, seed=0)
    """

    @property
    def name(self) -> str:
        """The registry's name for it."""
        ...

    @property
    def horizon(self) -> int:
        """Turns that are enough for its longest task, with room for mistakes."""
        ...

    def tasks(self, split: Split) -> tuple[Task, ...]:
        """The frozen tasks of a split, every prefix a fair sample; the splits share none."""
        ...

    def task(self, name: str) -> Task:
        """The task of that name; ConfigurationError when there is none."""
        ...

    def reset(self, task: str, seed: int) -> Episode:
        """Begin an episode; same task and seed, same episode. ConfigurationError for an unknown task."""
        ...

    def instructions(self, action_format: str) -> str:
        """The system prompt for an action format; may be empty."""
        ...

    def vocabulary(self) -> tuple[str, ...]:
        """Sorted: every word of its instructions, observations and expert moves, as `words` cuts them."""
        ...


def words(text: str) -> list[str]:
    """Cut text into words, numbers, single punctuation marks and line breaks; drop other white space."""
    return _WORD.findall(text)


def unknown_task(environment: str, task: str, example: str) -> ConfigurationError:
    """The error for a task name that the environment does not have."""
    return ConfigurationError(
        f"task = {task[:80]!r}: environment {environment} has no such task; one is {example!r}"
    )
