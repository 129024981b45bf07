"""AgentGym's unmodified clients play whole episodes over HTTP, in every dialect, many at once."""

import asyncio
from typing import Any

import pytest

from envhub import registry
from tests.envhub.agentgym.clients import CLIENTS, Client, ToolClient
from tests.envhub.agentgym.serving import served, world

OWN_DIALECT = ("textcraft", "maze", "wordle", "babyai", "sciworld", "alfworld")
SOLVED: dict[str, tuple[int, ...]] = {
    "babyai": (0, 1, 2, 3, 4, 5, 7, 8, 9, 10, 11, 12, 13, 14, 18, 19),
    "sciworld": (0, 1),
}
"""Indices to play, where the expert does not solve all or an episode takes long."""
FINAL = {"sciworld": 100.0, "babyai": None}
"""The reward that a client reports for a solved task where it is not 1; None: any above 0."""


def play(client: Client, environment: str, index: int) -> float:
    """The expert's way through the task, seen by the client as in this process; its last reward."""
    twin_world = registry.environment(environment)
    client.reset(index)
    twin = twin_world.reset(twin_world.indexed(index).name, 0)
    assert twin.observation in client.observe()
    for _ in range(500):
        action = twin.expert().action
        raw = isinstance(client, ToolClient)
        state, reward, done = client.step(action if raw else f"Thought: on we go\nAction: {action}")
        result = twin.step(action)
        assert state == result.observation
        assert done is result.is_over
        if done:
            assert result.is_success
            return reward
    raise AssertionError("the episode did not end")


async def together(calls: list[Any]) -> list[Any]:
    """Every call in a thread of its own."""
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(asyncio.to_thread(*call)) for call in calls]
    return [task.result() for task in tasks]


@pytest.mark.parametrize("environment", OWN_DIALECT)
async def test_a_client_plays_its_own_environment_to_the_end_eight_at_once(environment: str) -> None:
    world(environment)
    kind, indices = CLIENTS[environment], SOLVED.get(environment, range(16))
    async with served(environment) as hub:

        def whole_life(number: int) -> None:
            client = kind(f"{hub.url}/{environment}" + ("/" if number % 2 else ""))
            for index in indices[number::8]:
                reward = play(client, environment, index)
                assert (
                    reward > 0 if FINAL.get(environment, 1) is None else reward == FINAL.get(environment, 1)
                )
            client.close()

        await together([(whole_life, number) for number in range(8)])
        assert len(hub.door.plays) == 0
        assert not hub.table.owners


@pytest.mark.parametrize("dialect", [name for name in CLIENTS if name != "wordle"])
@pytest.mark.parametrize("environment", ["guess_number", "maze"])
async def test_any_environment_speaks_any_dialect(environment: str, dialect: str) -> None:
    async with served(environment, dialects={environment: dialect}) as hub:

        def whole_life(number: int) -> None:
            client = CLIENTS[dialect](f"{hub.url}/{environment}/")
            assert play(client, environment, number) == 1
            client.close()

        await together([(whole_life, number) for number in range(8)])
        assert len(hub.door.plays) == 0
        assert not hub.table.owners
