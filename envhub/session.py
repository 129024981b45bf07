"""One episode as the hub keeps it: actions in, results out, and none played twice."""

import json
import logging
from collections.abc import Callable
from typing import Any, TypeVar

from common.action_format import CALL_FORMATS, malformed_reply, parse
from common.calls import read
from common.errors import ConfigurationError, EnvironmentFault, PreflightError
from common.trajectory import Record, TaskReference
from envhub.environment import Environment, Episode, ExpertMove, StepResult
from envhub.refusal import HubRefusal

T = TypeVar("T")

_log = logging.getLogger(__name__)


class Opening(Record):
    """What a new session begins with."""

    instructions: str
    observation: str
    horizon: int


class Session:
    """An episode and the answer given last.

    Whatever the environment raises becomes the refusal `environment_fault`; the session is then useless.
    ConfigurationError for an unknown task or action format.
    """

    def __init__(self, environment: Environment, task: TaskReference, action_format: str) -> None:
        instructions = environment.instructions(action_format)
        environment.task(task.task)
        self._format = action_format
        self._functions = environment.functions if action_format in CALL_FORMATS else None
        self._episode: Episode = guarded(lambda: environment.reset(task.task, task.seed))
        self._num_played = 0
        self._last_sent = ("", False)
        try:
            self.opening = guarded(
                lambda: Opening(
                    instructions=instructions,
                    observation=self._episode.observation,
                    horizon=environment.horizon,
                )
            )
        except HubRefusal:
            self.close()
            raise
        self._last = StepResult(observation=self.opening.observation)

    @property
    def observation(self) -> str:
        """What was shown last."""
        return self._last.observation

    def step(self, index: int, action: str, *, is_text: bool = False) -> StepResult:
        """Play turn `index` (from 0); the same turn again is answered from memory.

        `is_text`: the action is read from the policy's text in the session's format; where it cannot be, the
        turn is malformed and nothing happens.
        Refuses with `wrong_index` any other index, and the last one with another action; with `episode_over`
        a new turn after termination.
        """
        if index == self._num_played - 1 and (action, is_text) == self._last_sent:
            return self._last
        if index != self._num_played:
            raise HubRefusal(
                "wrong_index", f"index = {index}: the next turn of this session is {self._num_played}"
            )
        if self._last.is_over:
            raise HubRefusal("episode_over", f"index = {index}: the episode ended with turn {index - 1}")
        self._last = guarded(lambda: self._read_and_play(action) if is_text else self._play(action))
        self._last_sent = (action, is_text)
        self._num_played += 1
        return self._last

    def actions(self) -> tuple[str, ...]:
        """Hints: some actions that are possible now."""
        return guarded(lambda: self._episode.actions())

    def expert(self) -> ExpertMove:
        """The expert's next move."""
        return guarded(lambda: self._episode.expert())

    def picture(self) -> bytes:
        """The world as a PNG; empty where there is none."""
        return guarded(lambda: self._episode.picture())

    def detail(self) -> dict[str, Any]:
        """Facts about the state, as JSON values; what JSON cannot say is the environment's fault."""
        return guarded(lambda: json.loads(json.dumps(self._episode.detail(), allow_nan=False)))

    def close(self) -> None:
        """Give back what the episode holds."""
        guarded(lambda: self._episode.close())

    def render(self) -> str:
        """The world as text for people."""
        return guarded(lambda: self._episode.render())

    def _read_and_play(self, text: str) -> StepResult:
        action = parse(text, self._format)
        return self._unread(malformed_reply(self._format)) if action is None else self._play(action)

    def _play(self, action: str) -> StepResult:
        """In the call formats an action is a call, and one that means nothing changes nothing."""
        if self._functions is None:
            return self._episode.step(action)
        call = read(action)
        try:
            meant = self._functions.action(call) if call else ""
        except ValueError as mistake:
            return self._unread(str(mistake))
        return self._episode.step(meant) if meant else self._unread(malformed_reply(self._format))

    def _unread(self, why: str) -> StepResult:
        return StepResult(observation=why, score=self._last.score, is_malformed=True)


def guarded(call: Callable[[], T]) -> T:
    """Blame is assigned here: what an environment raises while played is its own fault.

    What a person can put right (ConfigurationError, PreflightError) and what was refused before pass.
    """
    try:
        return call()
    except (HubRefusal, ConfigurationError, PreflightError):
        raise
    except EnvironmentFault as fault:
        raise HubRefusal("environment_fault", str(fault)) from fault
    except Exception as error:
        # Clients are not told what it said; whoever runs the hub is.
        _log.error("environment fault", exc_info=error)
        raise HubRefusal("environment_fault", f"the environment raised {type(error).__name__}") from error
