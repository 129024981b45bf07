"""Two ways to an OpenEnv environment: a class in this process, or a server's WebSocket.

    link = open_link()
    answer = link.reset(seed, "seed-000001")
    answer = link.step({"message": "hello"})        # None: the environment's own schema refused the action
    link.close()

Both are synchronous; what is asynchronous behind them runs in an event loop of the link's own, which `close`
ends.
"""

import asyncio
import inspect
from collections.abc import Coroutine, Mapping
from contextlib import suppress
from types import ModuleType
from typing import Any, Protocol, TypeVar

import aiohttp
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from common.errors import EnvironmentFault
from envhub.adapters.openenv_actions import Payload
from envhub.adapters.private_loop import PrivateLoop
from envhub.sendable import one_line

CLOSE_DEADLINE_S = 2.0
"""For a server to take its leave."""
T = TypeVar("T")


class Answer(BaseModel):
    """What OpenEnv answers to a reset or a step, wherever it runs."""

    model_config = ConfigDict(extra="ignore", arbitrary_types_allowed=True)

    observation: dict[str, Any] = Field(default_factory=dict)
    reward: float | None = None
    done: bool = False


class _Reply(BaseModel):
    """A server's frame: an answer, or of type `error` what is wrong."""

    type: str = ""
    data: dict[str, Any] = Field(default_factory=dict)


class Link(Protocol):
    """One environment for one episode at a time."""

    def reset(self, seed: int, episode: str) -> Answer:
        """Begin an episode."""
        ...

    def step(self, action: Payload) -> Answer | None:
        """Take an action; None when it does not fit the environment's schema."""
        ...

    def close(self) -> None:
        """Give back the environment, the connection and the event loop."""
        ...


class ClassLink:
    """An instance of an `openenv.core` Environment in this process."""

    def __init__(self, core: ModuleType, environment: Any, action_class: type[BaseModel]) -> None:
        self._environment, self._action_class = environment, action_class
        self._serialize = core.serialize_observation
        self._base = core.Environment
        self._loop = PrivateLoop()

    def reset(self, seed: int, episode: str) -> Answer:
        """Reset with the seed and the episode's id, as far as the environment takes them."""
        return self._answer("reset", seed=seed, episode_id=episode)

    def step(self, action: Payload) -> Answer | None:
        """Validate the action with its own class, then step."""
        try:
            typed = self._action_class.model_validate(action)
        except ValidationError:
            return None
        return self._answer("step", typed)

    def close(self) -> None:
        """Close the environment, then the loop."""
        try:
            self._environment.close()
        finally:
            self._loop.close()

    def _answer(self, verb: str, *arguments: Any, **named: Any) -> Answer:
        """Through the asynchronous method where the environment wrote one of its own."""
        is_own = getattr(type(self._environment), f"{verb}_async") is not getattr(self._base, f"{verb}_async")
        method = getattr(self._environment, f"{verb}_async" if is_own else verb)
        observation = method(*arguments, **_accepted(method, named))
        if inspect.iscoroutine(observation):
            observation = self._loop.run(observation)
        answer = Answer.model_validate(self._serialize(observation))
        # Some versions leave the metadata out of what they send.
        return answer.model_copy(
            update={"observation": {"metadata": observation.metadata, **answer.observation}}
        )


class ServerLink:
    """A session of a running OpenEnv server, over its WebSocket; EnvironmentFault when the server fails,
    or has not answered a call within `deadline_s`.
    """

    def __init__(self, url: str, deadline_s: float) -> None:
        self._url, self._deadline_s = url, deadline_s
        self._loop = PrivateLoop()
        self._http: aiohttp.ClientSession | None = None
        self._socket: aiohttp.ClientWebSocketResponse | None = None

    def describe(self, path: str) -> dict[str, Any]:
        """What the server says at `/schema` or `/metadata`."""
        return self._run(self._get(path))

    def reset(self, seed: int, episode: str) -> Answer:
        """Reset the session's environment."""
        answer = self._run(self._ask("reset", {"seed": seed, "episode_id": episode}))
        if answer is None:
            raise EnvironmentFault(f"{self._url}: the server refuses to reset with a seed")
        return answer

    def step(self, action: Payload) -> Answer | None:
        """Step; an action that the server's schema refuses is None."""
        return self._run(self._ask("step", action))

    def close(self) -> None:
        """End the session, the connection and the loop."""
        try:
            self._loop.run(self._leave())
        finally:
            self._loop.close()

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        try:
            return self._loop.run(self._in_time(work))
        except TimeoutError:
            raise EnvironmentFault(f"{self._url}: no answer within {self._deadline_s:g} s") from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise EnvironmentFault(one_line(f"{self._url}: {type(error).__name__}: {error}")) from error

    async def _in_time(self, work: Coroutine[Any, Any, T]) -> T:
        async with asyncio.timeout(self._deadline_s):
            return await work

    async def _get(self, path: str) -> dict[str, Any]:
        http = self._session()
        async with http.get(self._url + path) as reply:
            reply.raise_for_status()
            found = await reply.json()
            if not isinstance(found, dict):
                raise EnvironmentFault(f"{self._url}: {path} tells no JSON object")
            return found

    async def _ask(self, kind: str, data: Payload) -> Answer | None:
        if self._socket is None:
            self._socket = await self._session().ws_connect(self._url + "/ws", max_msg_size=64 * 2**20)
        await self._socket.send_json({"type": kind, "data": data})
        message = await self._socket.receive()
        if message.type is not aiohttp.WSMsgType.TEXT:
            raise EnvironmentFault(f"{self._url}: the server ended the session: {message.type.name}")
        reply = _Reply.model_validate_json(message.data)
        if reply.type != "error":
            return Answer.model_validate(reply.data)
        code, why = reply.data.get("code"), reply.data.get("message")
        if code == "VALIDATION_ERROR":
            return None
        raise EnvironmentFault(one_line(f"{self._url}: the server answered {code}: {str(why)[:200]}"))

    async def _leave(self) -> None:
        """Of a connection that is gone nothing is to be given back but our end."""
        if self._socket is not None and not self._socket.closed:
            with suppress(aiohttp.ClientError, OSError):
                async with asyncio.timeout(CLOSE_DEADLINE_S):
                    await self._socket.send_json({"type": "close"})
                    await self._socket.close()
        if self._http is not None:
            await self._http.close()

    def _session(self) -> aiohttp.ClientSession:
        self._http = self._http or aiohttp.ClientSession()
        return self._http


def _accepted(method: Any, named: Mapping[str, Any]) -> dict[str, Any]:
    """Those of the named arguments that the method takes."""
    parameters = inspect.signature(method).parameters
    takes_all = any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters.values())
    return {name: value for name, value in named.items() if takes_all or name in parameters}
