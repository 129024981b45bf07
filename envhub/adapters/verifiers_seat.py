"""The policy's seat in a verifiers rollout: a harness in this process, and the model that it talks to.

verifiers asks a model endpoint for every turn of an agent. Here that endpoint is a loopback server whose
answers are the actions of an `Episode`:

    environment --prompt--> SeatHarness --HTTP--> verifiers' interception --HTTP--> PolicySeat --> heard
    environment <--reply--- SeatHarness <-------- (limits, stops, trace) <--------- answer(text) <-- step

verifiers finds harnesses by module name: `install` makes this module known to it as `SEAT`.
"""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from queue import SimpleQueue
from typing import Any

import aiohttp
import verifiers.v1 as vf
from aiohttp import web
from verifiers.v1.dialects.chat import message_to_wire

__all__ = ["SeatHarness"]

SEAT = "pronghorn_seat"
MODEL = "policy"
Messages = list[dict[str, Any]]


def install() -> None:
    """Make the harness loadable under the id `SEAT`."""
    sys.modules.setdefault(SEAT, sys.modules[__name__])


class SeatHarness(vf.Harness[vf.HarnessConfig]):  # type: ignore[misc]
    """One model call per segment, without tools and without a program of its own."""

    APPENDS_SYSTEM_PROMPT = True
    SUPPORTS_RESUME = True
    EXECUTES_CODE = False
    NEEDS_CONTAINER = False

    async def launch(
        self,
        ctx: Any,
        trace: Any,
        runtime: Any,
        endpoint: str,
        secret: str,
        mcp_urls: dict[str, str],
        data: Any,
        tool_interception_url: str | None = None,
    ) -> Any:
        """Ask for one completion of the conversation; what verifiers refuses is its own decision to stop."""
        system, prompt = self.resolve_prompt(data)
        spoken = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else prompt or []
        messages = [{"role": "system", "content": system}] if system else []
        messages += [message if isinstance(message, dict) else message_to_wire(message) for message in spoken]
        body = {"model": ctx.model, "messages": messages}
        key = {"Authorization": f"Bearer {secret}"}
        unlimited = aiohttp.ClientTimeout(total=None)
        async with (
            aiohttp.ClientSession(timeout=unlimited) as http,
            http.post(f"{endpoint}/chat/completions", json=body, headers=key) as reply,
        ):
            said = await reply.text()
            return vf.ProgramResult(exit_code=int(reply.status != 200), stdout="", stderr=said)


class PolicySeat:
    """An OpenAI-compatible endpoint that puts each conversation into `heard` and waits for its answer.

    One conversation is open at a time, as the rollout of one agent has it.
    """

    def __init__(self) -> None:
        self.heard: SimpleQueue[Messages | None] = SimpleQueue()
        self._reply: asyncio.Future[str] | None = None

    async def answer(self, text: str) -> None:
        """Complete the open conversation."""
        if self._reply is None:
            raise RuntimeError("nobody waits for an answer")
        self._reply.set_result(text)
        self._reply = None

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[str]:
        """The base URL, for as long as the body runs."""
        app = web.Application(client_max_size=64 * 2**20)
        app.router.add_post("/v1/chat/completions", self._complete)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
        await runner.setup()
        try:
            site = web.TCPSite(runner, "127.0.0.1", 0)
            await site.start()
            yield f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
        finally:
            await runner.cleanup()

    async def _complete(self, request: web.Request) -> web.Response:
        body = await request.json()
        self._reply = asyncio.get_running_loop().create_future()
        self.heard.put(body["messages"])
        message = {"role": "assistant", "content": await self._reply}
        return web.json_response(
            {
                "id": "action",
                "object": "chat.completion",
                "created": 0,
                "model": MODEL,
                "choices": [{"index": 0, "finish_reason": "stop", "message": message}],
                "usage": {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0},
            }
        )
