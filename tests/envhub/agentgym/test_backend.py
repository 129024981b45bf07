"""AgentGym servers as environments of the hub: the hub's own dialects, and servers that misbehave."""

import asyncio
import hashlib

import pytest

from common.action_format import ACTION_FORMATS
from common.errors import ConfigurationError
from envhub import registry
from envhub.agentgym.backend import AgentGymBackend
from envhub.agentgym.dialects import DIALECTS
from envhub.agentgym.speech import SPEECHES
from envhub.agentgym.worlds import MAX_LISTED, WORLDS
from envhub.task import SPLITS, checked_split
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


@pytest.mark.parametrize("name", WORLDS)
def test_tasks_are_agentgyms_ids_and_every_world_can_be_explained(name: str) -> None:
    remote = AgentGymBackend(f"{name}@http://127.0.0.1:1")
    names = {split: [task.name for task in remote.tasks(checked_split(split))] for split in SPLITS}
    assert names["train"]
    assert names["test"]
    assert not names["unseen"]
    assert not set(names["train"]) & set(names["test"])
    for split, listed in names.items():
        assert len(set(listed)) == len(listed) <= MAX_LISTED
        assert all(remote.task(task).split == split for task in listed)
    assert remote.indexed(0) == remote.task(f"{name}_0") == remote.task(f"lmrlgym_{name}_000")
    for wrong in (f"{name}_", f"{name}_-1", "other_1", "", f"{name}_1_2"):
        with pytest.raises(ConfigurationError, match="has no such task; one is"):
            remote.task(wrong)
    with pytest.raises(ConfigurationError, match="has the tasks 0 to"):
        remote.indexed(-1)
    for action_format in ACTION_FORMATS:
        assert remote.instructions(action_format)
    assert remote.horizon >= 1
    assert not remote.has_expert
    assert set(DIALECTS) == set(SPEECHES)


def test_the_splits_are_those_that_agentgym_says() -> None:
    for name, test, train in (
        ("alfworld", (2420, 2619), (0, 2419)),
        ("sqlgym", (9428, 10961), (0, 9427)),
        ("searchqa", (0, 51712), (51713, 221327)),
    ):
        remote = AgentGymBackend(f"{name}@http://127.0.0.1:1")
        assert [remote.indexed(index).split for index in (*test, *train)] == ["test"] * 2 + ["train"] * 2
        with pytest.raises(ConfigurationError):
            remote.indexed(max(*test, *train) + 1)


def test_the_listed_tasks_are_frozen() -> None:
    listed = [
        task.name
        for name in sorted(WORLDS)
        for split in ("train", "test")
        for task in AgentGymBackend(f"{name}@http://127.0.0.1:1").tasks(checked_split(split))
    ]
    digest = hashlib.sha256("\n".join(listed).encode()).hexdigest()
    assert digest == "65d18fa5e82dcce75d421aa4a624420a948dc50b7c56ac719cdee51e1fd24a98"


@pytest.mark.parametrize("environment", sorted(set(OWN) & set(WORLDS)))
def test_the_expert_of_our_own_world_speaks_the_grammar_of_the_servers(environment: str) -> None:
    twin_world = world(environment)
    functions = WORLDS[environment].functions
    twin = twin_world.reset(twin_world.indexed(OWN[environment]).name, 0)
    while True:
        move = twin.expert().action
        assert functions.action(functions.call(move)) == move
        if twin.step(move).is_over:
            return
