"""An AgentGym server as an environment of the hub: `agentgym:textcraft@http://127.0.0.1:36001`.

    agentgym:NAME@URL             the dialect that AgentGym's own server of that name speaks
    agentgym:NAME+DIALECT@URL     another: any name of `envhub.agentgym.dialects`, or A, B, C, D

URL is what AgentGym's clients call `env_server_base`. Nothing is asked before the first episode. Whatever
the server does wrong is an EnvironmentFault of one line: a status that is not 200, `{"error": ...}`, a
missing key, silence.
"""

import re
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Final

from common.errors import ConfigurationError, EnvironmentFault
from envhub.agentgym.remote import NoSuchPath, Remote
from envhub.agentgym.speech import SPEECHES, Speech
from envhub.agentgym.worlds import WORLDS, World, listed, unknown_world
from envhub.environment import Environment, Episode, StepResult, out_of_range, unknown_task
from envhub.functions import Functions
from envhub.instructions import instructions
from envhub.sendable import one_line, sendable
from envhub.task import Split, Task

_SPEC: Final = re.compile(r"([A-Za-z0-9_]{1,60})(?:\+([A-Za-z]{1,20}))?@(\S+)")
_TASK: Final = re.compile(r"([a-z0-9_]+)_([0-9]{1,15})", re.IGNORECASE)
_MAX_ECHO: Final = 200

CLOSE_DEADLINE_S: Final = 2.0
"""With a reset or step before it, still less than the hub waits for a worker."""


class AgentGymBackend(Environment):
    """The tasks are `textcraft_0` and so on: AgentGym's own ids. The seed changes nothing."""

    has_expert = False
    deadline_s = 25.0
    """For a whole reset or step: below the hub's own patience with a worker that is silent."""

    def __init__(self, spec: str) -> None:
        match = _SPEC.fullmatch(spec)
        if match is None:
            raise ConfigurationError(
                "an AgentGym server is given as agentgym:NAME@URL or agentgym:NAME+DIALECT@URL"
            )
        name, dialect, self._url = match[1], match[2] or match[1], match[3]
        if dialect not in SPEECHES:
            raise ConfigurationError(
                f"agentgym:{name}: its dialect is not known; say it, as in agentgym:{name}+A@URL; "
                f"there are {', '.join(sorted(SPEECHES))}"
            )
        self._speech = SPEECHES[dialect]
        self._world = WORLDS.get(name) or unknown_world(name)
        self._name = f"agentgym:{spec}"
        self.source = f"the AgentGym server at {Remote(self._url).place}, under its own terms"

    @property
    def name(self) -> str:
        """As the registry knows it."""
        return self._name

    @property
    def horizon(self) -> int:
        """The turns that AgentGym plays it with."""
        return self._world.horizon

    @property
    def functions(self) -> Functions:
        """The actions that AgentGym's servers of that name know."""
        return self._world.functions

    def tasks(self, split: Split) -> tuple[Task, ...]:
        """AgentGym's ids in a frozen order by hash."""
        return tuple(self._task(index) for index in listed(self._world, split))

    def task(self, name: str) -> Task:
        """By AgentGym's id, listed or not; `lmrlgym_maze_3` too."""
        match = _TASK.fullmatch(name)
        if match is None or match[1].removeprefix("lmrlgym_") != self._world.name:
            raise unknown_task(self._world.name, name, f"{self._world.name}_0")
        return self.indexed(int(match[2]))

    def indexed(self, index: int) -> Task:
        """The id's number."""
        if not self._world.has(index):
            raise out_of_range(self._world.name, index, self._world.num_tasks)
        return self._task(index)

    def reset(self, task: str, seed: int) -> "RemoteEpisode":
        """Create and reset an environment on the server; it is closed again when that fails half way."""
        index = int(self.task(task).name.rpartition("_")[2])
        episode = RemoteEpisode(Remote(self._url), self._speech, self._world, self.deadline_s)
        try:
            episode.begin(index)
        except EnvironmentFault:
            with suppress(EnvironmentFault):
                episode.close()
            raise
        return episode

    def instructions(self, action_format: str) -> str:
        """Rules and actions in Pronghorn's words."""
        return instructions(self._world.rules, self._world.functions, action_format)

    def vocabulary(self) -> tuple[str, ...]:
        """Nobody knows every word that another server can say."""
        return ()

    def _task(self, index: int) -> Task:
        return Task(name=f"{self._world.name}_{index}", split=self._world.split(index))


class RemoteEpisode(Episode):
    """One environment on the server, over one connection.

    The score is what AgentGym's clients take for the reward. The reward of a turn is what it added to the
    score's share of the full score, so that an episode's sum is the share at its end.
    """

    def __init__(self, remote: Remote, speech: Speech, world: World, deadline_s: float) -> None:
        self._remote, self._speech, self._world = remote, speech, world
        self._deadline_s = deadline_s
        self._identity: int | None = None
        self._hints: tuple[str, ...] = ()
        self._last = StepResult(observation="")

    def begin(self, index: int) -> None:
        """Create and reset; EnvironmentFault when the server does not do both."""
        self._remote.start(self._deadline_s)
        self._identity = self._created(self._remote.post("create", self._speech.create_body))
        body = {**self._own_id, self._speech.task_key: index, **self._speech.reset_more}
        reply = self._checked(self._remote.post("reset", body))
        self._note_hints(reply)
        self._last = StepResult(observation=self._first_observation(reply))

    @property
    def observation(self) -> str:
        """What was shown last."""
        return self._last.observation

    def step(self, action: str) -> StepResult:
        """Send the action; EnvironmentFault when the server does not say what came of it."""
        if self._last.is_over:
            return self._last.model_copy(update={"reward": 0.0})
        self._remote.start(self._deadline_s)
        text = self._world.written(sendable(action))
        reply = self._checked(self._remote.post("step", {**self._own_id, "action": text}))
        if not isinstance(reply, Mapping):
            raise self._fault("the answer to a step is no object")
        self._note_hints(reply)
        score = self._number(reply, self._speech.score_key)
        is_done = bool(self._found(reply, self._speech.done_key, bool))
        # LMRL-Gym's maze says with -1 that the turns ran out; WebArena has a key of its own for that.
        is_cut = reply.get("truncated") is True or (is_done and self._world.name == "maze" and score < 0)
        self._last = StepResult(
            observation=str(self._found(reply, self._speech.text_key, str)),
            reward=self._share(score) - self._share(self._last.score),
            is_terminated=is_done and not is_cut,
            is_truncated=is_cut,
            is_success=is_done and self._world.is_success(score),
            score=score,
        )
        return self._last

    def actions(self) -> tuple[str, ...]:
        """The server's hints where it gives any, as far as they fit the grammar."""
        return self._hints

    def close(self) -> None:
        """Close it on the server, where the server can; then hang up."""
        try:
            if self._identity is not None:
                self._remote.start(CLOSE_DEADLINE_S)
                with suppress(NoSuchPath):
                    self._remote.post("close", self._own_id)
        finally:
            self._identity = None
            self._remote.close()

    @property
    def _own_id(self) -> dict[str, Any]:
        return {self._speech.id_key: self._identity}

    def _first_observation(self, reply: Any) -> str:
        """Where the dialect's clients find it."""
        if isinstance(reply, Mapping) and reply.get("observation") == "TimeoutError":
            raise self._fault("the reset timed out there")
        if self._speech.observes:
            shown = self._checked(self._remote.get("observation", **self._own_id))
            if not isinstance(shown, str):
                raise self._fault("the observation is no text")
            return shown
        parts = [str(self._found(reply, "observation", str))]
        if key := self._speech.description_key:
            parts.insert(0, str(self._found(reply, key, str)))
        if self._speech.words_path:
            words = self._checked(self._remote.get(self._speech.words_path, **self._own_id))
            if not isinstance(words, list):
                raise self._fault(f"{self._speech.words_path} is no list")
            parts.append(f"The words of the list: {', '.join(' '.join(str(word)) for word in words)}.")
        return "\n".join(part for part in parts if part)

    def _checked(self, reply: Any) -> Any:
        """The reply, unless it says that something went wrong; an array may say so in one of its objects."""
        for part in reply if isinstance(reply, list) else (reply,):
            if isinstance(part, Mapping) and part.get("error"):
                raise self._fault(f"it answers an error: {one_line(str(part['error']), _MAX_ECHO)}")
        return reply

    def _created(self, reply: Any) -> int:
        """The id in a reply to `create`: bare, or in an object."""
        if isinstance(self._checked(reply), Mapping):
            reply = next((reply[key] for key in ("id", "env_idx") if key in reply), None)
        if not isinstance(reply, int) or isinstance(reply, bool):
            raise self._fault("the answer to create has no id")
        return reply

    def _found(self, reply: Any, key: str, kind: type) -> Any:
        if not isinstance(reply, Mapping) or not isinstance(reply.get(key), kind):
            raise self._fault(f"the answer has no {key!r} that is a {kind.__name__}")
        return reply[key]

    def _number(self, reply: Mapping[str, Any], key: str) -> float:
        value = reply.get(key)
        if not isinstance(value, int | float) or not -1e9 < value < 1e9:
            raise self._fault(f"the answer has no {key!r} that is a number")
        return float(value)

    def _share(self, score: float) -> float:
        return max(0.0, min(1.0, score / self._world.full_score))

    def _note_hints(self, reply: Any) -> None:
        hints = reply.get(self._speech.actions_key) if isinstance(reply, Mapping) else None
        if isinstance(hints, list):
            self._hints = tuple(hint for hint in hints if isinstance(hint, str) and self._fits(hint))

    def _fits(self, hint: str) -> bool:
        return any(function.read(hint) is not None for function in self._world.functions)

    def _fault(self, why: str) -> EnvironmentFault:
        return EnvironmentFault(f"AgentGym server {self._remote.place}: {why}")
