"""A pool of workers for each environment: what one does to its workers harms no other."""

import os
import signal

import pytest

from common.errors import ConfigurationError, PreflightError
from envhub.config import HubConfig
from envhub.serving import served, serving
from tests.envhub.browser import TASK, hub

HOARDER = "python:tests.envhub.fakes:HoardingEnvironment"
MISSING = "python:tests.envhub.fakes:MissingEnvironment"


async def test_a_dead_worker_of_one_environment_harms_no_other() -> None:
    async with hub() as (server, browse):
        guess = await browse.open()
        craft = await browse.open(environment="textcraft", task="textcraft_oak_boat")
        os.kill(server.pools["textcraft"].living[0].pid, signal.SIGKILL)
        assert (await browse.step(craft, 0, "inventory"))[0] == 410
        assert (await browse.step(guess, 0, "guess 1"))[0] == 200
        text = await browse.text("/metrics")
        assert 'pronghorn_hub_faults_total{environment="textcraft",code="worker_died"} 1' in text


async def test_a_pool_starts_when_its_environment_is_first_used() -> None:
    async with hub() as (server, browse):
        assert server.pools.living == ()
        await browse.open()
        assert len(server.pools.living) == 1
    async with hub(environments=["guess_number"], num_workers=2) as (server, _):
        assert len(server.pools["guess_number"].living) == 2


async def test_each_environment_has_its_own_number_of_workers_and_cap() -> None:
    pools = {"guess_number": {"num_workers": 2, "max_sessions": 3}}
    async with hub(pools=pools) as (server, browse):
        for _ in range(3):
            await browse.open()
        assert len(server.pools["guess_number"].living) == 2
        assert await browse.refused(503, "POST", "/v1/sessions", TASK) == "hub_full"
        await browse.open(environment="textcraft", task="textcraft_oak_boat")


async def test_a_worker_that_holds_too_much_memory_is_killed_and_replaced() -> None:
    pools = {HOARDER: {"max_worker_bytes": 160 << 20}}
    async with hub(environments=[HOARDER, "guess_number"], pools=pools) as (server, browse):
        guess = await browse.open()
        hoard = await browse.open(environment=HOARDER, task="hoard")
        victim = server.pools[HOARDER].living[0]
        # Children are counted: 120 MiB are held by a process that the worker starts.
        assert (await browse.step(hoard, 0, "in a child"))[0] == 200
        await server.pools.watch_once()
        assert (await browse.step(hoard, 1, "anything"))[1]["error"]["code"] == "worker_too_large"
        await server.pools[HOARDER].all_up()
        assert server.pools[HOARDER].living[0].pid != victim.pid
        assert (await browse.step(guess, 0, "guess 1"))[0] == 200


async def test_one_process_cannot_take_more_memory_than_allowed_even_for_a_moment() -> None:
    pools = {HOARDER: {"max_worker_bytes": 400 << 20}}
    async with hub(environments=[HOARDER], pools=pools) as (_, browse):
        hoard = await browse.open(environment=HOARDER, task="hoard")
        status, answer = await browse.step(hoard, 0, "a gibibyte")
        assert (status, answer["error"]["code"]) == (410, "environment_fault")
        assert "MemoryError" in answer["error"]["message"]


async def test_what_is_asked_for_by_name_must_be_available() -> None:
    with pytest.raises(PreflightError, match="package imagined is missing; pip install imagined"):
        async with serving(HubConfig(environments=(MISSING,))):
            pass
    with pytest.raises(ConfigurationError, match=r"hub.environments: .* did you mean 'textcraft'"):
        async with serving(HubConfig(environments=("texcraft",))):
            pass


async def test_what_is_missing_is_listed_with_its_reason() -> None:
    async with serving(HubConfig(), played=(MISSING,)) as server:
        rows = {row["name"]: row for row in await server.sessions.environments()}
        assert not rows[MISSING]["is_available"]
        assert "pip install imagined" in rows[MISSING]["reason"]
        assert rows["guess_number"]["is_available"]


async def test_an_environment_that_is_not_served_does_not_exist() -> None:
    async with hub(environments=["guess_number"]) as (_, browse):
        body = {**TASK, "environment": "textcraft", "task": "textcraft_oak_boat"}
        assert await browse.refused(404, "POST", "/v1/sessions", body) == "unknown_environment"
        body = {**TASK, "environment": "python:os:system"}
        assert await browse.refused(404, "POST", "/v1/sessions", body) == "unknown_environment"


def test_two_names_that_agentgyms_clients_could_not_tell_apart_are_refused() -> None:
    config = HubConfig(environments=("maze_grid:a.txt", "maze_grid:a-txt"))
    with pytest.raises(
        ConfigurationError, match=r"'maze_grid:a.txt' and 'maze_grid:a-txt' are both /maze_grid_a_txt"
    ):
        served(config)


def test_what_is_served_is_what_was_named_and_what_is_played() -> None:
    config = HubConfig(environments=("maze",), backends={"textcraft": "http://127.0.0.1:36001"})
    assert served(config, ("wordle", "maze")) == ("maze", "textcraft", "wordle")
    assert config.spec("textcraft") == "agentgym:textcraft@http://127.0.0.1:36001"
    assert config.spec("maze") == "maze"
    own = HubConfig(backends={"mine": "http://127.0.0.1:1"}, dialects={"mine": "B"})
    assert own.spec("mine") == "agentgym:mine+B@http://127.0.0.1:1"
