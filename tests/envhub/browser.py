"""A real hub, and raw requests to it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp

from envhub.config import HubConfig
from envhub.server import HubServer
from envhub.serving import serving

TASK = {"environment": "guess_number", "task": "number-001", "seed": 0, "action_format": "plain"}


class Browser:
    """Raw requests: status and JSON."""

    def __init__(self, http: aiohttp.ClientSession, url: str) -> None:
        self._http, self._url = http, url

    async def __call__(self, method: str, path: str, body: Any = None, **more: Any) -> tuple[int, Any]:
        async with self._http.request(method, self._url + path, json=body, **more) as response:
            return response.status, await response.json(content_type=None)

    async def text(self, path: str) -> str:
        async with self._http.get(self._url + path) as response:
            return await response.text()

    async def refused(self, status: int, method: str, path: str, body: Any = None, **more: Any) -> str:
        found, answer = await self(method, path, body, **more)
        assert found == status, answer
        assert set(answer["error"]) == {"code", "message"}
        assert "\n" not in answer["error"]["message"]
        return str(answer["error"]["code"])

    async def open(self, **changes: Any) -> str:
        status, answer = await self("POST", "/v1/sessions", {**TASK, **changes})
        assert status == 200, answer
        return str(answer["session"])

    async def step(self, session: str, index: int, action: str) -> tuple[int, Any]:
        return await self("POST", f"/v1/sessions/{session}/step", {"index": index, "action": action})


@asynccontextmanager
async def hub(
    token: str = "", clock: Any = None, **settings: Any
) -> AsyncIterator[tuple[HubServer, Browser]]:
    more = {} if clock is None else {"clock": clock}
    async with serving(HubConfig(**settings), token, **more) as server, aiohttp.ClientSession() as http:
        yield server, Browser(http, server.url)
