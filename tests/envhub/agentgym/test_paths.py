"""Where the dialects are served, and what they offer beside an episode."""

import asyncio
import base64
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from common.errors import ConfigurationError
from envhub import registry
from envhub.agentgym.dialects import DIALECTS, dialect_of
from envhub.agentgym.door import AgentGymDoor, mount
from tests.envhub.agentgym.clients import CLIENTS, Client, call
from tests.envhub.agentgym.serving import InProcessTable, Served, listening, served, world

FIVE = ("createEnv", "observation", "available_actions", "step", "reset")
"""Of AgentGym's published description."""


async def ask(method: str, url: str, body: Any = None) -> Any:
    status, answer = await asyncio.to_thread(call, method, url, body)
    assert status == 200, (url, status, answer)
    return answer


async def opened(hub: Served, environment: str, index: int = 3, dialect: str = "") -> Client:
    client = await asyncio.to_thread(CLIENTS[dialect or environment], f"{hub.url}/{environment}")
    await asyncio.to_thread(client.reset, index)
    return client


NAMES = [
    pytest.param(name, marks=pytest.mark.slow) if name == "alfworld_textworld" else name
    for name in registry.names()
]


@pytest.mark.parametrize("environment", NAMES)
async def test_every_environment_has_the_five_published_endpoints(environment: str) -> None:
    world(environment)
    dialect = dialect_of(environment)
    assert set(FIVE) <= set(dialect.operations)
    async with served(environment) as hub:
        base = f"{hub.url}/{environment}"
        created = await ask("POST", f"{base}/createEnv")
        identity = created["id"]
        reset = await ask("POST", f"{base}/reset", {"id": identity, dialect.task_keys[0]: 0})
        assert "error" not in reset
        assert await ask("GET", f"{base}/observation?id={identity}")
        assert isinstance(await ask("GET", f"{base}/available_actions?id={identity}"), list)
        step = await ask("POST", f"{base}/step", {"id": identity, "action": "nonsense"})
        assert {"observation", "reward", "done"} <= set(step)
        assert "error" not in step
        assert await ask("POST", f"{base}/close", {"id": identity}) is True


@pytest.mark.parametrize(
    "path",
    [
        "/maze/create",
        "/maze//create",
        "//maze/create",
        "/maze/create/",
        "/lmrlgym/maze/create",
        "/lmrlgym//maze//createEnv",
        "//lmrlgym/maze/create",
    ],
)
async def test_further_slashes_in_a_path_change_nothing(path: str) -> None:
    async with served("maze", "guess_number") as hub:
        assert (await ask("POST", hub.url + path))["id"] > 0


async def test_unknown_paths_and_wrong_methods_have_their_statuses() -> None:
    async with served("guess_number") as hub:
        for method, path, wanted in (
            ("GET", "nothing", 404),
            ("GET", "create", 405),
            ("GET", "step?id=1&action=x", 405),
            ("GET", "", 200),
            ("POST", "createEnv", 200),
            ("POST", "/guess_number//create", 200),
        ):
            status, answer = await asyncio.to_thread(call, method, f"{hub.url}/guess_number/{path}")
            assert (status, "error" in answer) == (wanted, wanted != 200), path


@pytest.mark.parametrize("path", ["/create", "//create", "/maze/create", "/lmrlgym/maze/create"])
async def test_a_port_of_its_own_serves_an_environment_at_its_root(path: str) -> None:
    async with served("maze", own_port=True) as hub:
        assert (await ask("POST", hub.url + path))["id"] > 0
        assert await ask("GET", f"{hub.url}/available_actions")


async def test_textcraft_tells_commands_goal_and_detail() -> None:
    async with served("textcraft") as hub:
        client = await opened(hub, "textcraft")
        first = client.observe()
        commands, goal, detail = [
            await asyncio.to_thread(client.get, path) for path in ("commands", "goal", "detail")
        ]
        assert first == f"{commands}\n\nGoal: {goal}"
        assert {"observation", "done", "reward", "deleted"} <= set(detail)
        assert await ask("GET", f"{hub.url}/textcraft/") == "This is environment TextCraft."


async def test_the_maze_tells_its_moves_to_anyone_and_minus_one_when_it_is_lost() -> None:
    async with served("maze") as hub:
        moves = await ask("GET", f"{hub.url}/lmrlgym/maze/available_actions")
        assert moves == ["move left", "move right", "move up", "move down"]
        client = await opened(hub, "maze")
        for _ in range(50):
            assert await asyncio.to_thread(client.step, "no move") != ("Failure", -1, True)
        assert await asyncio.to_thread(client.step, "no move") == ("Failure", -1, True)


async def test_wordle_tells_its_words_before_the_first_reset_and_keeps_no_game_for_it() -> None:
    world("wordle")
    async with served("wordle") as hub:
        created = await ask("POST", f"{hub.url}/wordle/create")
        before = await ask("GET", f"{hub.url}/wordle/filtered_vocab?id={created['id']}")
        assert len(before) == 40
        assert all(len(word) == 5 for word in before)
        assert not hub.table.owners
        client = await opened(hub, "wordle")
        await asyncio.to_thread(client.step, " ".join(before[0]))
        assert len(await asyncio.to_thread(client.get, "filtered_vocab")) < 40


async def test_babyai_draws_itself_and_its_observation_is_an_object() -> None:
    world("babyai")
    async with served("babyai") as hub:
        client = await opened(hub, "babyai")
        shown = await asyncio.to_thread(client.get, "observation")
        assert {"observation", "reward", "score", "done", "deleted"} == set(shown)
        drawn = await asyncio.to_thread(client.post, "render", {"id": client.id})
        kind, _, data = drawn.partition(",")
        assert kind == "data:image/png;base64"
        assert base64.b64decode(data).startswith(b"\x89PNG")
        assert set(await ask("POST", f"{hub.url}/babyai/render", {"id": 1})) == {"error"}


@pytest.mark.parametrize("environment", ["sciworld", "guess_number"])
async def test_sciworld_tells_hints_goals_and_state(environment: str) -> None:
    world(environment)
    async with served(environment, dialects={environment: "sciworld"}) as hub:
        client = await opened(hub, environment, 0, "sciworld")
        hint = await asyncio.to_thread(client.get, "action_hint")
        assert set(hint) == {"possible_actions", "possible_objects"}
        assert hint["possible_actions"]
        assert set(await asyncio.to_thread(client.get, "goals")) == {"goals"}
        assert isinstance(await asyncio.to_thread(client.get, "task_description"), str)
        await asyncio.to_thread(client.get, "object_tree")
        body = {"id": client.id, "action": hint["possible_actions"][0]}
        step = await asyncio.to_thread(client.post, "step_visual", body)
        assert {"observation", "reward", "score", "done", "info", "inventory", "moves"} <= set(step)
        state = await asyncio.to_thread(client.get, "state")
        assert state["current_moves"] == 1
        assert len(state["possible_actions"]) <= 10


async def test_any_environment_can_be_a_shop_or_a_site() -> None:
    async with served("maze", "guess_number", dialects={"maze": "B", "guess_number": "D"}) as hub:
        shop, site = await opened(hub, "maze", 3, "webshop"), await opened(hub, "guess_number", 3, "webarena")
        actions = await asyncio.to_thread(shop.get, "available_actions")
        assert set(actions) == {"has_search_bar", "clickables"}
        assert "move up" in actions["clickables"]
        assert set(await asyncio.to_thread(shop.get, "state")) == {"url", "html", "instruction_text"}
        assert await asyncio.to_thread(shop.get, "instruction_text")
        assert await ask("GET", f"{hub.url}/maze/") == "ok"
        assert "observation" in await asyncio.to_thread(site.get, "observation_metadata")
        assert await asyncio.to_thread(site.close) == {"closed": "closed"}
        assert await asyncio.to_thread(site.close) != {"closed": "closed"}


async def test_pages_of_other_origins_read_replies_only_when_the_configuration_lets_them() -> None:
    origin, allowed = {"Origin": "http://page.example"}, "Access-Control-Allow-Origin"
    for origins, wanted in (
        ((), None),
        (("http://page.example",), "http://page.example"),
        (("*",), "http://page.example"),
    ):
        async with served("maze", cors_origins=origins) as hub, aiohttp.ClientSession(headers=origin) as http:
            async with http.post(f"{hub.url}/maze/create") as response:
                assert response.headers.get(allowed) == wanted
            async with http.options(f"{hub.url}/maze/create") as response:
                assert response.status == 200
                assert response.headers.get(allowed) == wanted


async def test_an_environment_of_another_package_has_a_path_too() -> None:
    name = "python:envhub.envs.guess_number:GuessNumber"
    door = AgentGymDoor(InProcessTable(), [name], ttl_s=60, max_ids=10)
    application = web.Application()
    door.add_routes(application)
    async with listening(application) as url:
        client = await asyncio.to_thread(Client, f"{url}/{mount(name)}")
        await asyncio.to_thread(client.reset, 3)
        assert await asyncio.to_thread(client.step, "guess 1")


def test_an_environment_speaks_the_dialect_of_its_name_its_family_or_a() -> None:
    assert dialect_of("textcraft_generated") is DIALECTS["textcraft"]
    assert dialect_of("guess_number") is DIALECTS["A"]
    assert dialect_of("movie") is DIALECTS["tools"]
    assert dialect_of("maze", "webshop") is DIALECTS["B"]
    with pytest.raises(ConfigurationError, match="dialect = 'E': unknown; allowed are A, B, C, D"):
        dialect_of("maze", "E")
