"""`gymnasium:ID`: any Gymnasium environment whose observations are or render as text.

    gymnasium:FrozenLake-v1?is_slippery=false       registered by gymnasium, with an argument
    gymnasium:package.module:ID                     registered when the module is imported
    gymnasium:package.module:Class                  an environment class that nobody registered

Two arguments are ours: `names=left+down+right+up` names the actions in order, and `success=terminated` says
that to end the episode is to succeed.
"""

import difflib
import inspect
import re
from types import ModuleType
from typing import Any

from envhub.adapters.credit import told_success
from envhub.adapters.foreign import DEFAULT_HORIZON, ForeignEpisode, SeededEnvironment
from envhub.adapters.gymnasium_spaces import Actions, actions_of, is_readable, plain, written
from envhub.adapters.seeds import seed_of
from envhub.adapters.target import Target
from envhub.environment import StepResult
from envhub.functions import Functions
from envhub.instructions import instructions
from envhub.sendable import sendable

MAX_RULES = 6000
_LEFT_OUT = ("arguments", "information", "references", "version history", "vectorized", "credits")
_SECTION = re.compile(r"^ *#+ +(?=\S)", re.MULTILINE)


class GymnasiumAdapter(SeededEnvironment):
    """One Gymnasium environment.

    ConfigurationError, with the nearest ids, when there is no such environment or it is not one of text;
    PreflightError when a package is missing.
    """

    def __init__(self, target: str) -> None:
        super().__init__(Target("gymnasium", target))
        self._gymnasium = self._target.module("gymnasium")
        self._arguments = dict(self._target.arguments)
        self._names = str(self._arguments.pop("names", "")).split()
        self._ends_well = self._arguments.pop("success", "reward") == "terminated"
        self._spec, self._class = self._found()
        env = self._make()
        try:
            self._actions, self._shows_rendering = self._read(env)
            self._rules = _rules(env)
        finally:
            env.close()
        self.source = (
            f"{self._target.what.rpartition(':')[0] or 'gymnasium'}, a package under its own licence"
        )

    @property
    def horizon(self) -> int:
        """Its registered limit of steps."""
        return getattr(self._spec, "max_episode_steps", None) or DEFAULT_HORIZON

    @property
    def functions(self) -> Functions:
        """Its action space."""
        return self._actions.functions

    def reset(self, task: str, seed: int) -> "GymnasiumEpisode":
        """A new environment, reset with the task's own seed."""
        number = seed_of(self.name, task)
        threshold = getattr(self._spec, "reward_threshold", None)
        return GymnasiumEpisode(
            self._make(), number, self._actions, self._shows_rendering, threshold, self._ends_well
        )

    def instructions(self, action_format: str) -> str:
        """What the environment's own documentation says about playing it."""
        return instructions(self._rules, self.functions, action_format)

    def _found(self) -> tuple[Any, Any]:
        """Its specification when it is registered, else its class."""
        module, colon, attribute = self._target.what.rpartition(":")
        registry = self._gymnasium.registry
        if colon:
            found = getattr(self._target.module(module), attribute, None)
            if (
                attribute not in registry
                and inspect.isclass(found)
                and issubclass(found, self._gymnasium.Env)
            ):
                return None, found
        try:
            return self._gymnasium.spec(self._target.what), None
        except self._gymnasium.error.Error:
            near = difflib.get_close_matches(attribute, sorted(registry), n=3, cutoff=0.4) or [
                "FrozenLake-v1"
            ]
            raise self._target.mistake(
                f"Gymnasium knows no environment {attribute[:80]!r}; the nearest ids are {', '.join(near)}"
            ) from None

    def _make(self) -> Any:
        """A new environment that renders as text when it can."""
        render = {"render_mode": "ansi"} if "ansi" in self._render_modes() else {}
        try:
            if self._class is not None:
                return self._class(**self._arguments, **render)
            return self._gymnasium.make(
                self._target.what, disable_env_checker=True, **render, **self._arguments
            )
        except self._gymnasium.error.DependencyNotInstalled as error:
            raise self._target.unavailable(str(error)) from error
        except TypeError as error:
            raise self._target.mistake(f"cannot be made with {self._arguments}: {error}") from error

    def _render_modes(self) -> list[str]:
        made = self._class
        if made is None:
            entry = self._spec.entry_point
            made = entry if callable(entry) else self._attribute(entry)
        return list((getattr(made, "metadata", None) or {}).get("render_modes", ()))

    def _attribute(self, entry: str) -> Any:
        """What a registered entry point names; its module may itself say what is missing."""
        module, _, attribute = entry.partition(":")
        try:
            return getattr(self._target.module(module, "gymnasium[all]"), attribute, None)
        except self._gymnasium.error.DependencyNotInstalled as error:
            raise self._target.unavailable(str(error)) from error

    def _read(self, env: Any) -> tuple[Actions, bool]:
        """How actions are read, and whether the rendering is what is observed."""
        spaces: ModuleType = self._gymnasium.spaces
        names = self._names or _meanings(env)
        actions = actions_of(getattr(env, "action_space", None), spaces, names)
        if actions is None:
            raise self._target.mistake(f"its actions are no texts: {env.action_space}")
        space = getattr(env, "observation_space", None)
        renders = getattr(env, "render_mode", None) == "ansi"
        if space is None or isinstance(space, spaces.Text):
            return actions, False
        if not renders and not is_readable(space, spaces):
            raise self._target.mistake(f"its observations are no text and it does not render as one: {space}")
        return actions, renders


class GymnasiumEpisode(ForeignEpisode):
    """One run of a Gymnasium environment, which it owns and closes.

    Success is what `info` says, else a return that reaches the registered threshold, else an end whose last
    reward is positive.
    """

    def __init__(
        self,
        env: Any,
        seed: int,
        actions: Actions,
        shows_rendering: bool,
        threshold: float | None,
        ends_well: bool,
    ) -> None:
        super().__init__()
        self._env, self._seed, self._actions = env, seed, actions
        self._shows_rendering = shows_rendering
        self._threshold, self._ends_well = threshold, ends_well
        try:
            observed, self._info = env.reset(seed=seed)
            self._observation = self._shown(observed)
        except BaseException:
            env.close()
            raise

    def _play(self, text: str) -> StepResult | None:
        meant = self._actions.read(text)
        if meant is None:
            return None
        observed, raw, terminated, truncated, self._info = self._env.step(meant)
        is_success = self._is_success(float(raw), bool(terminated))
        return StepResult(
            observation=self._shown(observed),
            reward=self._credit.earn(float(raw), is_success=is_success),
            is_terminated=bool(terminated),
            is_truncated=bool(truncated) and not terminated,
            is_success=is_success,
            score=self._credit.score,
        )

    @property
    def _refusal(self) -> str:
        return self._actions.refusal

    def actions(self) -> tuple[str, ...]:
        """Every action that the environment's `action_mask` allows, where actions can be listed."""
        return () if self._over else self._actions.hints(self._info.get("action_mask"))

    def detail(self) -> dict[str, Any]:
        """Seed, turns and the raw return so far."""
        return {"seed": self._seed, **super().detail()}

    def close(self) -> None:
        """Close the environment."""
        self._env.close()

    def _shown(self, observed: Any) -> str:
        if not self._shows_rendering:
            return sendable(written(observed))
        rendered = self._env.render()
        return sendable(plain(rendered if isinstance(rendered, str) else "".join(rendered)))

    def _is_success(self, raw: float, terminated: bool) -> bool:
        if (told := told_success(self._info)) is not None:
            return told
        if not terminated or self._ends_well:
            return terminated
        score = self._credit.score + raw
        return raw > 0 or (self._threshold is not None and score >= self._threshold)


def _meanings(env: Any) -> list[str]:
    """What the environment itself calls its actions, in order."""
    inner = env.unwrapped
    if hasattr(inner, "get_action_meanings"):
        return [str(name).lower() for name in inner.get_action_meanings()]
    return (
        [member.name for member in inner.actions] if inspect.isclass(getattr(inner, "actions", None)) else []
    )


def _rules(env: Any) -> str:
    """The documentation of the environment's class without what concerns its callers."""
    parts = _SECTION.split(inspect.cleandoc(type(env.unwrapped).__doc__ or ""))
    kept = [part.strip() for part in parts if not part.lower().startswith(_LEFT_OUT)]
    return sendable("\n\n".join(filter(None, kept)))[:MAX_RULES] or "Reach the goal of the environment."
