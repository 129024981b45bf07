"""What the environments of all other packages have in common, and so their episodes."""

from abc import abstractmethod
from typing import Any, Final

from envhub.adapters.credit import Credit
from envhub.adapters.seeds import seed_task, seed_tasks
from envhub.adapters.target import Target
from envhub.environment import Environment, Episode, StepResult, prompt_words
from envhub.sendable import sendable
from envhub.task import Split, Task

DEFAULT_HORIZON: Final = 50
"""Turns for an environment that declares no limit of its own."""
DEADLINE_S: Final = 25
"""For the answer to a reset or a step of what runs elsewhere: below the hub's own patience with a worker
that is silent (`hub.step_timeout_s`), so that one episode is lost and not all of the worker's."""


class ForeignEnvironment(Environment):
    """Named by its target; without an expert, and nobody knows all words that it can say."""

    has_expert = False

    def __init__(self, target: Target) -> None:
        self._target = target

    @property
    def name(self) -> str:
        """As it was asked for."""
        return self._target.name

    def vocabulary(self) -> tuple[str, ...]:
        """The words of its instructions; what it observes is its own."""
        return tuple(sorted(prompt_words(self)))


class SeededEnvironment(ForeignEnvironment):
    """Its tasks are reset seeds, and the session's seed is not used."""

    def tasks(self, split: Split) -> tuple[Task, ...]:
        """Reset seeds: 1000 to train, 200 to test."""
        return seed_tasks(split)

    def task(self, name: str) -> Task:
        """By name, `seed-000123`."""
        return seed_task(self.name, name)


class ForeignEpisode(Episode):
    """One play: what comes of a text says `_play`; what is malformed or over is the same for all.

    What the foreign environment raises goes on to the caller.
    """

    def __init__(self) -> None:
        self._credit = Credit()
        self._num_turns = 0
        self._observation = ""
        self._over: StepResult | None = None

    @property
    def observation(self) -> str:
        """What was shown last."""
        return self._observation

    def step(self, action: str) -> StepResult:
        """One step of the environment, unless the text is none of its actions; nothing when it is over."""
        if self._over is not None:
            return self._over
        result = self._play(sendable(action).strip())
        if result is None:
            self._observation = self._refusal
            return StepResult(observation=self._observation, score=self._credit.score, is_malformed=True)
        self._num_turns += 1
        self._observation = result.observation
        if result.is_over:
            self._over = result.model_copy(update={"reward": 0.0})
        return result

    def detail(self) -> dict[str, Any]:
        """Turns and the raw return so far."""
        return {"turns": self._num_turns, "score": self._credit.score}

    @abstractmethod
    def _play(self, text: str) -> StepResult | None:
        """What comes of the text; None when it means no action, and then nothing has happened."""
        ...

    @property
    @abstractmethod
    def _refusal(self) -> str:
        """The answer to a text that means no action."""
        ...
