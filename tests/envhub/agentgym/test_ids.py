"""Ids of the dialects: whose they are, when they end, and what happens when the hub has no room."""

import asyncio
import json
from typing import Any

import pytest
from aiohttp import web

from envhub.agentgym.plays import MAX_ID
from envhub.refusal import HubRefusal
from tests.envhub.agentgym.clients import Client, call
from tests.envhub.agentgym.serving import ManualClock, Served, served


async def opened(hub: Served, index: int | None = 3) -> Client:
    client = await asyncio.to_thread(Client, f"{hub.url}/guess_number")
    if index is not None:
        await asyncio.to_thread(client.reset, index)
    return client


async def step(client: Client, action: str = "guess 1") -> Any:
    return await asyncio.to_thread(client.act, action)


async def test_ids_are_whole_numbers_that_nobody_guesses_and_every_reader_keeps() -> None:
    async with served("guess_number") as hub:
        ids = [(await opened(hub, None)).id for _ in range(50)]
    assert len(set(ids)) == 50
    assert all(isinstance(identity, int) and 0 < identity <= MAX_ID for identity in ids)
    assert max(ids) > 2**45


async def test_an_id_belongs_to_its_creator_and_to_its_environment() -> None:
    def whose(request: web.Request) -> str:
        return request.headers.get("X-Whose", "")

    async with served("guess_number", "maze", owner=whose) as hub:

        def ask(name: str, path: str, body: Any = None, environment: str = "guess_number") -> Any:
            method = "POST" if body is not None else "GET"
            raw = None if body is None else json.dumps(body).encode()
            status, answer = call(method, f"{hub.url}/{environment}/{path}", raw=raw, **{"X-Whose": name})
            assert status == 200
            return answer

        def talk() -> None:
            identity = ask("ann", "create", {})["id"]
            assert "error" not in ask("ann", "reset", {"id": identity, "data_idx": 1})
            foreign = ask("bob", "step", {"id": identity, "action": "guess 1"})
            missing = ask("bob", "step", {"id": 1, "action": "guess 1"})
            assert foreign == missing
            assert "no such id" in ask("bob", f"observation?id={identity}")
            assert ask("bob", "close", {"id": identity}) is False
            assert "error" in ask("ann", "step", {"id": identity, "action": "go"}, "maze")
            assert ask("ann", "close", {"id": identity}) is True
            assert ask("ann", "close", {"id": identity}) is False

        await asyncio.to_thread(talk)


async def test_only_callers_who_are_told_apart_learn_their_open_ids() -> None:
    def whose(request: web.Request) -> str:
        return request.headers.get("X-Whose", "")

    async with served("maze", dialects={"maze": "B"}, owner=whose) as hub:

        def ask(name: str, method: str, path: str) -> Any:
            return call(method, f"{hub.url}/maze/{path}", raw=None, **{"X-Whose": name})[1]

        def talk() -> None:
            identity = ask("ann", "POST", "create")
            assert ask("", "POST", "create")
            assert ask("ann", "GET", "list_envs") == [identity]
            assert ask("bob", "GET", "list_envs") == []
            assert ask("", "GET", "list_envs") == []

        await asyncio.to_thread(talk)


async def test_an_expired_id_is_like_one_that_never_was() -> None:
    clock = ManualClock()
    async with served("guess_number", clock=clock, ttl_s=60.0) as hub:
        client, other = await opened(hub), await opened(hub, None)
        clock.now += 59
        await step(client)
        clock.now += 2
        assert await hub.door.sweep(clock.now) == 1
        assert "error" not in await step(client)
        clock.now += 61
        assert await hub.door.sweep(clock.now) == 1
        assert "no such id" in (await step(client))["error"]
        assert "no such id" in (await step(other))["error"]
        assert not hub.table.owners
        assert len(hub.door.plays) == 0


async def test_a_create_without_room_is_told_to_try_again_and_takes_no_room() -> None:
    codes: list[str] = []
    expected = (("textcraft", 200), ("textcraft", 503), ("guess_number", 200), ("guess_number", 503))
    limits: dict[str, Any] = {"max_ids": 2, "max_sessions": 1}
    async with served("guess_number", "textcraft", refused=codes.append, **limits) as hub:
        for environment, wanted in expected:
            status, answer = await asyncio.to_thread(call, "POST", f"{hub.url}/{environment}/create")
            assert status == wanted
            assert "id" in answer
        assert len(hub.door.plays) == 2
        assert codes == ["hub_full", "hub_full"]


async def test_a_reset_without_room_is_answered_and_may_be_tried_again() -> None:
    async with served("guess_number", max_sessions=1) as hub:
        first, second = await opened(hub), await opened(hub, None)
        answer = await asyncio.to_thread(second.begin, 3)
        assert {"id", "observation", "reward", "score", "done", "error"} == set(answer)
        await asyncio.to_thread(first.close)
        assert "error" not in await asyncio.to_thread(second.begin, 3)


@pytest.mark.parametrize("code", ["environment_fault", "worker_hung", "worker_died", "unknown_session"])
async def test_an_episode_that_the_hub_lost_says_so_and_the_next_reset_begins_another(code: Any) -> None:
    async with served("guess_number") as hub:
        client = await opened(hub)
        hub.table.refuses_next = HubRefusal(code, "it broke")
        assert (await step(client))["observation"] == "it broke"
        assert "lost" in (await step(client))["observation"]
        await asyncio.to_thread(client.reset, 3)
        assert "error" not in await step(client)


async def test_calls_with_one_id_are_played_one_after_the_other() -> None:
    async with served("textcraft") as hub:
        client = await asyncio.to_thread(Client, f"{hub.url}/textcraft")
        await asyncio.to_thread(client.reset, 0)
        async with asyncio.TaskGroup() as group:
            steps = [group.create_task(step(client, "inventory")) for _ in range(16)]
            closing = group.create_task(asyncio.to_thread(client.close))
            resets = [group.create_task(asyncio.to_thread(client.begin, 1)) for _ in range(4)]
        assert closing.result() is True
        for task in (*steps, *resets):
            assert {"observation", "reward", "done"} <= set(task.result())
            assert "index" not in task.result().get("error", "")
        assert len(hub.door.plays) == 0
        assert not hub.table.owners
