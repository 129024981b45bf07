"""AgentGym servers as environments of the hub: the hub's own dialects, and servers that misbehave."""

import asyncio

import pytest

from envhub import registry
from envhub.agentgym.backend import AgentGymBackend
from envhub.agentgym.speech import SPEECHES
from tests.envhub.agentgym.serving import served, world

OWN = {"textcraft": 3, "maze": 7, "wordle": 5, "babyai": 4, "sciworld": 0, "alfworld": 0}
"""Environment -> an index whose task its expert solves."""


def play(remote: AgentGymBackend, environment: str, index: int) -> None:
    """The expert's way through the task, there as in this process."""
    twin_world = registry.environment(environment)
    twin = twin_world.reset(twin_world.indexed(index).name, 0)
    episode = remote.reset(remote.indexed(index).name, 0)
    assert twin.observation in episode.observation
    total = 0.0
    while True:
        move = twin.expert().action
        wanted, found = twin.step(move), episode.step(move)
        assert (found.observation, found.is_over) == (wanted.observation, wanted.is_over)
        total += found.reward
        if found.is_over:
            break
    assert (found.is_terminated, found.is_truncated, found.is_success) == (True, False, True)
    assert 0 < total <= 1 + 1e-9
    assert episode.step(move).reward == 0
    assert episode.observation == found.observation
    episode.close()


@pytest.mark.parametrize("environment", OWN)
async def test_the_hub_plays_what_another_hub_serves(environment: str) -> None:
    world(environment)
    async with served(environment) as hub:
        remote = AgentGymBackend(f"{environment}@{hub.url}/{environment}")
        await asyncio.to_thread(play, remote, environment, OWN[environment])
        assert len(hub.door.plays) == 0
        assert not hub.table.owners


@pytest.mark.parametrize("dialect", sorted(SPEECHES))
async def test_every_dialect_is_understood(dialect: str) -> None:
    async with served("guess_number", dialects={"guess_number": dialect}) as hub:
        remote = AgentGymBackend(f"guess_number+{dialect}@{hub.url}/guess_number/")
        await asyncio.to_thread(play, remote, "guess_number", 5)
        assert len(hub.door.plays) == 0
