"""`openenv:...`: any OpenEnv environment, as a class in this process or as a running server.

    openenv:http://127.0.0.1:8000                       a server; needs no package here
    openenv:echo_env.server.echo_environment:EchoEnvironment
                                                        a class; needs the package `openenv-core` or `openenv`

Arguments after `?` go to the class; ours are `horizon=30`, `success=terminated` (to end the episode is to
succeed), `action=package.module:Class` (the action's class, where the environment does not tell) and
`deadline_s=25` (for the answer of a server).
"""

import difflib
import inspect
from collections.abc import Callable
from typing import Any, cast, get_type_hints

from pydantic import BaseModel

from common.errors import EnvironmentFault
from envhub.adapters.credit import told_success
from envhub.adapters.foreign import DEADLINE_S, DEFAULT_HORIZON, ForeignEpisode, SeededEnvironment
from envhub.adapters.openenv_actions import OpenEnvActions, shown
from envhub.adapters.openenv_links import Answer, ClassLink, Link, ServerLink
from envhub.adapters.seeds import seed_of
from envhub.adapters.target import Target
from envhub.environment import StepResult
from envhub.functions import Functions
from envhub.instructions import instructions
from envhub.sendable import sendable

MAX_RULES = 4000
_PACKAGE = "openenv-core"


class OpenEnvAdapter(SeededEnvironment):
    """One OpenEnv environment.

    ConfigurationError when there is no such class; PreflightError when a package is missing or no server
    answers.
    """

    def __init__(self, target: str) -> None:
        super().__init__(Target("openenv", target))
        self._arguments = dict(self._target.arguments)
        self._horizon = self._target.number("horizon", DEFAULT_HORIZON)
        self._deadline_s = self._target.number("deadline_s", DEADLINE_S)
        for ours in ("horizon", "deadline_s"):
            self._arguments.pop(ours, None)
        self._ends_well = self._arguments.pop("success", "reward") == "terminated"
        is_server = self._target.what.startswith(("http://", "https://"))
        rules, self._open, self._actions = self._server() if is_server else self._class()
        self._rules = sendable(inspect.cleandoc(rules))[:MAX_RULES] or "Reach the goal of the environment."
        self.source = f"OpenEnv, {self._target.what.rpartition(':')[0]}, under its own licence"

    @property
    def horizon(self) -> int:
        """As it was asked for: OpenEnv knows no limit."""
        return self._horizon

    @property
    def functions(self) -> Functions:
        """Its action's fields, or its tools."""
        return self._actions.functions

    def reset(self, task: str, seed: int) -> "OpenEnvEpisode":
        """An environment or a server's session of its own, reset with the task's seed."""
        number = seed_of(self.name, task)
        return OpenEnvEpisode(self._open(), task, number, self._actions, self._ends_well)

    def instructions(self, action_format: str) -> str:
        """What the environment says about itself."""
        return instructions(self._rules, self.functions, action_format)

    def _server(self) -> tuple[str, Callable[[], Link], OpenEnvActions]:
        url = self._target.what.rstrip("/")
        link = ServerLink(url, self._deadline_s)
        try:
            schema, about = link.describe("/schema").get("action"), link.describe("/metadata")
            if not isinstance(schema, dict):
                raise EnvironmentFault(f"{url}: /schema tells no action")
            tools = _tools(link) if "tool_name" in schema.get("properties", {}) else []
        except EnvironmentFault as fault:
            raise self._target.unavailable(f"no OpenEnv server answers there: {fault}") from fault
        finally:
            link.close()
        rules = str(about.get("description") or "")
        return rules, lambda: ServerLink(url, self._deadline_s), OpenEnvActions(schema, tools)

    def _class(self) -> tuple[str, Callable[[], Link], OpenEnvActions]:
        core = self._target.module("openenv.core.env_server", _PACKAGE)
        environment_class = self._named(self._target.what, core.Environment)
        action = str(self._arguments.pop("action", ""))
        action_class = self._named(action, core.Action) if action else _action_class(environment_class, core)
        if action_class is None:
            raise self._target.mistake(
                "its step() does not tell its action's class; add ?action=module:Class"
            )
        try:
            inspect.signature(environment_class).bind(**self._arguments)
        except TypeError as error:
            raise self._target.mistake(f"cannot be made with {self._arguments}: {error}") from None

        def open_link() -> Link:
            return ClassLink(core, environment_class(**self._arguments), action_class)

        schema = action_class.model_json_schema()
        tools: list[dict[str, Any]] = []
        if "tool_name" in schema.get("properties", {}):
            link = ClassLink(core, environment_class(**self._arguments), core.ListToolsAction)
            try:
                tools = _tools(link)
            finally:
                link.close()
        return environment_class.__doc__ or "", open_link, OpenEnvActions(schema, tools)

    def _named(self, place: str, kind: type) -> Any:
        """The class at `package.module:Class`; ConfigurationError with the nearest names if there is none."""
        name, _, attribute = place.partition(":")
        module = self._target.module(name)
        found = getattr(module, attribute, None)
        if inspect.isclass(found) and issubclass(found, kind):
            return found
        there = [n for n, value in vars(module).items() if inspect.isclass(value) and issubclass(value, kind)]
        near = difflib.get_close_matches(attribute, there, n=3, cutoff=0.0)
        raise self._target.mistake(
            f"{name} has no {kind.__name__} {attribute[:80]!r}; it has {', '.join(near) or 'none'}"
        )


class OpenEnvEpisode(ForeignEpisode):
    """One session of an OpenEnv environment, which it owns and closes.

    Success is what `metadata` says, else an end whose last reward is positive.
    """

    def __init__(self, link: Link, task: str, seed: int, actions: OpenEnvActions, ends_well: bool) -> None:
        super().__init__()
        self._link, self._seed, self._actions, self._ends_well = link, seed, actions, ends_well
        try:
            self._observation = sendable(shown(link.reset(seed, task).observation))
        except BaseException:
            link.close()
            raise

    def _play(self, text: str) -> StepResult | None:
        """None also when the environment's own schema refuses the action."""
        meant = self._actions.read(text)
        answer = None if meant is None else self._link.step(meant)
        if answer is None:
            return None
        is_success = self._is_success(answer)
        return StepResult(
            observation=sendable(shown(answer.observation)),
            reward=self._credit.earn(answer.reward or 0.0, is_success=is_success),
            is_terminated=answer.done,
            is_success=is_success,
            score=self._credit.score,
        )

    @property
    def _refusal(self) -> str:
        return self._actions.refusal

    def detail(self) -> dict[str, Any]:
        """Seed, turns and the raw return so far."""
        return {"seed": self._seed, **super().detail()}

    def close(self) -> None:
        """Close the session."""
        self._link.close()

    def _is_success(self, answer: Answer) -> bool:
        if (told := told_success(answer.observation.get("metadata") or {})) is not None:
            return told
        return answer.done and (self._ends_well or (answer.reward or 0.0) > 0)


def _tools(link: Link) -> list[dict[str, Any]]:
    answer = link.step({"type": "list_tools"})
    found: list[dict[str, Any]] = answer.observation.get("tools", []) if answer else []
    return found


def _action_class(environment_class: Any, core: Any) -> type[BaseModel] | None:
    """From the annotation of `step`; the tool call where the environment is one of MCP tools."""
    try:
        hint: Any = get_type_hints(environment_class.step).get("action")
    except NameError:  # named for type checkers alone
        hint = None
    if inspect.isclass(hint) and issubclass(hint, core.Action) and hint is not core.Action:
        return cast("type[BaseModel]", hint)
    tools = core.MCPEnvironment
    is_of_tools = tools is not None and issubclass(environment_class, tools)
    return core.CallToolAction if is_of_tools else None
