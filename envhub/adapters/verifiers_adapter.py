"""`verifiers:TASKSET`: an environment of verifiers' version 1, played by the policy in place of a model.

    verifiers:my_taskset                        an installed module that exports a Taskset, and its Env if any
    verifiers:my_taskset?split=easy&horizon=20  with arguments for the taskset's configuration

Ours are `horizon=50`, `env=ID` (an Env of another module), `success_at=1.0` (the score of a success) and
`deadline_s=25` (for the environment to speak or to end).
"""

import difflib
import pkgutil
from typing import Any

from pydantic import ValidationError

from common.errors import PreflightError
from envhub.adapters.foreign import DEADLINE_S, DEFAULT_HORIZON, ForeignEnvironment
from envhub.adapters.rows import Rows
from envhub.adapters.target import Target
from envhub.adapters.verifiers_episode import VerifiersEpisode
from envhub.functions import Function, Functions, Parameter
from envhub.instructions import instructions
from envhub.sendable import sendable
from envhub.task import Split, Task

_RULES = "Answer every message; it is an environment that speaks."
_FUNCTIONS = Functions(
    Function("act", "{action}", "say this", (Parameter("action", "string", "your message, on one line"),))
)


class VerifiersAdapter(ForeignEnvironment):
    """One environment of verifiers with one seat, no tools and no container; tasks are rows of its taskset.

    Its own limits, stops and rewards apply: what a seat's agent would say is the policy's action, and the
    rewards come when verifiers ends the rollout, at the latest with turn `horizon`. ConfigurationError for an
    environment that cannot be played so; PreflightError when a package is missing.
    """

    functions = _FUNCTIONS

    def __init__(self, target: str) -> None:
        super().__init__(Target("verifiers", target))
        self._vf = self._target.module("verifiers.v1", "verifiers>=0.4")
        if not self._target.what:
            raise self._target.mistake("no taskset is named; write verifiers:TASKSET")
        self._horizon = self._target.number("horizon", DEFAULT_HORIZON)
        self._success_at = self._target.number("success_at", 1.0)
        self._deadline_s = self._target.number("deadline_s", DEADLINE_S)
        ours = ("horizon", "success_at", "deadline_s")
        arguments = {key: value for key, value in self._target.arguments.items() if key not in ours}
        self._config = self._resolved(str(arguments.pop("env", "")), arguments)
        taskset = self._vf.load_taskset(self._config.taskset)
        self._check(taskset)
        self._rows: Rows[Any] = Rows(self.name, taskset)
        self._rules: str | None = None
        self.source = f"verifiers, taskset {self._target.what}, under its own licence"

    @property
    def horizon(self) -> int:
        """As it was asked for; verifiers itself stops a rollout there and scores it."""
        return self._horizon

    def tasks(self, split: Split) -> tuple[Task, ...]:
        """Of the first 1200 rows one in six to test, the others to train."""
        return self._rows.tasks(split)

    def task(self, name: str) -> Task:
        """By name, `row-000123`."""
        return self._rows.task(name)

    def reset(self, task: str, seed: int) -> VerifiersEpisode:
        """A rollout of the row; what it draws at random is its own, so the session's seed is not used."""
        row = self._rows.row(task).with_data()
        return VerifiersEpisode(
            self._vf, self._config, row, self._system(), self._success_at, self._deadline_s
        )

    def instructions(self, action_format: str) -> str:
        """The system prompt of the first row; a row with another one shows it with its first observation."""
        return instructions(self._system() or _RULES, _FUNCTIONS, action_format)

    def _system(self) -> str:
        if self._rules is None:
            self._rules = sendable(self._rows.row("row-000000").data.system_prompt or "")
        return self._rules

    def _resolved(self, env: str, arguments: dict[str, Any]) -> Any:
        """verifiers' own configuration of the environment, with the policy in its one seat."""
        seat = self._target.module("envhub.adapters.verifiers_seat", "verifiers>=0.4")
        seat.install()
        chosen = {"id": env, "taskset": {"id": self._target.what, **arguments}}
        try:
            first = self._vf.resolve_env_config(chosen)
            seats = [name for name, value in first if isinstance(value, self._vf.AgentConfig)]
            if len(seats) != 1:
                raise self._target.mistake(
                    f"it has the seats {', '.join(seats)}; the policy can play one alone"
                )
            player = {
                "harness": {"id": seat.SEAT},
                "runtime": {"type": "subprocess"},
                "max_turns": self._horizon,
            }
            return self._vf.resolve_env_config(
                {**chosen, seats[0]: player, "interception": {"type": "server"}}
            )
        except ImportError as error:
            raise self._missing(error) from error
        except ValidationError as error:
            wrong = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors()[:3])
            raise self._target.mistake(wrong) from None
        except (TypeError, AttributeError) as error:
            raise self._target.mistake(str(error)) from error

    def _missing(self, error: ImportError) -> PreflightError:
        """Names the nearest of verifiers' own tasksets, for the case of a wrong name."""
        place = self._target.module("verifiers.v1.tasksets").__path__
        own = [module.name for module in pkgutil.iter_modules(place)]
        near = difflib.get_close_matches(self._target.what, own, n=2, cutoff=0.5)
        hint = f"; verifiers itself has {', '.join(near or own)}"
        return self._target.unavailable(f"{error}: pip install the package that has it{hint}")

    def _check(self, taskset: Any) -> None:
        task = type(taskset).task_type()
        if task.NEEDS_CONTAINER:
            raise self._target.mistake("its tasks need a container")
        if taskset.toolsets(self._config.taskset) or task.toolsets(self._config.taskset.task):
            raise self._target.mistake("its tasks have tool servers; actions here are messages")
