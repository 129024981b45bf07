"""The dialects on the real hub with its worker processes: tokens, ports, and one hub behind another."""

import asyncio
import base64
from typing import Any

from envhub.config import HubConfig
from envhub.serving import serving
from tests.envhub.agentgym.clients import MazeClient, TextCraftClient, call
from tests.envhub.agentgym.serving import ManualClock
from tests.envhub.agentgym.test_episodes import play, together


async def test_clients_play_on_the_hub_and_leave_no_session() -> None:
    config = HubConfig(environments=("maze", "textcraft"), ports={"maze": 0})
    async with serving(config) as hub:

        def maze(number: int) -> None:
            base = hub.own_urls["maze"] if number % 2 else f"{hub.url}/lmrlgym/maze/"
            client = MazeClient(base)
            assert play(client, "maze", number) == 1
            assert client.close() is True

        def textcraft(number: int) -> None:
            client = TextCraftClient(f"{hub.url}/textcraft")
            assert play(client, "textcraft", number) == 1
            assert client.close() is True

        lives: list[Any] = [(kind, number) for kind in (maze, textcraft) for number in range(8)]
        await together(lives)
        assert len(hub.sessions) == 0
        assert len(hub.agentgym.plays) == 0


async def test_a_hub_plays_what_another_hub_serves() -> None:
    async with serving(HubConfig(environments=("maze",))) as behind:
        config = HubConfig(environments=("maze",), backends={"maze": f"{behind.url}/maze"})
        async with serving(config) as hub:

            def life() -> None:
                client = MazeClient(f"{hub.url}/maze")
                assert play(client, "maze", 3) == 1
                assert len(behind.sessions) == 1
                assert client.close() is True

            await asyncio.to_thread(life)
            assert len(behind.sessions) == 0


async def test_a_token_is_the_password_of_the_base_url_and_owns_its_ids() -> None:
    def headers(token: str) -> dict[str, str]:
        return {"Authorization": f"Basic {base64.b64encode(f'any:{token}'.encode()).decode()}"}

    async with serving(HubConfig(environments=("guess_number",)), "one,two") as hub:
        base = f"{hub.url}/guess_number"

        def talk() -> None:
            assert call("POST", f"{base}/create")[0] == 401
            _, created = call("POST", f"{base}/create", raw=None, **headers("one"))
            path = f"{base}/observation?id={created['id']}"
            assert "no such id" in call("GET", path, raw=None, **headers("two"))[1]
            assert "no such id" not in call("GET", path, raw=None, **headers("one"))[1]

        await asyncio.to_thread(talk)


async def test_an_id_that_is_only_looked_at_keeps_its_session() -> None:
    clock = ManualClock()
    config = HubConfig(environments=("guess_number", "textcraft"), session_ttl_s=60)
    async with serving(config, clock=clock) as hub:

        async def post(path: str, body: dict[str, Any] | None = None) -> Any:
            return (await asyncio.to_thread(call, "POST", f"{hub.url}/{path}", body))[1]

        async def get(path: str) -> Any:
            return (await asyncio.to_thread(call, "GET", f"{hub.url}/{path}"))[1]

        identity = (await post("guess_number/create"))["id"]
        first = (await post("guess_number/reset", {"id": identity, "data_idx": 3}))["observation"]
        crafter = (await post("textcraft/create"))["id"]
        for _ in range(4):
            clock.now += 40
            assert await hub.agentgym.sweep(clock.now) + await hub.sessions.sweep() == 0
            assert await get(f"guess_number/observation?id={identity}") == first
            assert await get(f"textcraft/goal?id={crafter}")
        step = await post("guess_number/step", {"id": identity, "action": "guess 1"})
        assert "error" not in step
        clock.now += 61
        await hub.agentgym.sweep(clock.now)
        assert len(hub.sessions) == 0
