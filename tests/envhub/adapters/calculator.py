"""An OpenEnv environment of tools, as OpenEnv's own base class makes one."""

from typing import Any

from fastmcp import FastMCP
from openenv.core.env_server import CallToolAction, MCPEnvironment, Observation, State


class Calculator(MCPEnvironment):
    """Add numbers until the sum is 42."""

    def __init__(self) -> None:
        tools: Any = FastMCP("calculator")

        @tools.tool
        def add(left: int, right: int) -> int:
            """Add two numbers."""
            return left + right

        @tools.tool
        def shout(text: str) -> str:
            """Say it louder."""
            return text.upper()

        super().__init__(tools)
        self._state = State()

    def reset(self, seed: int | None = None, episode_id: str | None = None, **_: Any) -> Observation:
        self._state = State(episode_id=episode_id)
        return Observation(metadata={"message": "Reach 42."})

    async def step_async(self, action: Any, timeout_s: float | None = None, **named: Any) -> Observation:
        observation = await super().step_async(action, timeout_s=timeout_s, **named)
        is_sum = isinstance(action, CallToolAction) and action.tool_name == "add"
        if is_sum and action.arguments.get("left", 0) + action.arguments.get("right", 0) == 42:
            observation.done, observation.reward = True, 1.0
        return observation

    def _step_impl(self, action: Any, timeout_s: float | None = None, **_: Any) -> Observation:
        return Observation()

    @property
    def state(self) -> State:
        return self._state
