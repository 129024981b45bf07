"""One connection pool to one hub: deadlines, limits, retries; every failure is one line."""

import asyncio
import itertools
from collections.abc import Callable, Collection, Mapping
from typing import Any, Self

import aiohttp
from asyncio_throttle import Throttler

from common.errors import ConfigurationError, EnvironmentFault
from envhub.wire import CONTENT_TYPES, JSON, MSGPACK, Wire, decode, encode

FIRST_BACKOFF_S = 0.05
MAX_BACKOFF_S = 1.0
_BURSTS_PER_S = 10


_TRY_LATER = (429, 502, 503, 504)


class HubUnavailable(EnvironmentFault):
    """The hub could not be reached, or said that it has no room now: another one may do it."""

    def __init__(self, message: str, after_s: float = 0.0) -> None:
        super().__init__(message)
        self.after_s = after_s
        """The hub's own `Retry-After`; 0 where it said none."""


class _Again(Exception):  # noqa: N818 - not an error: the call may be tried again
    """The call did not get through, for a reason that may pass."""

    def __init__(self, reason: str, after_s: float = 0.0, *, is_answered: bool = False) -> None:
        super().__init__(reason)
        self.after_s = after_s
        self.is_answered = is_answered


def throttler(calls_per_s: float) -> Throttler:
    """A limit that holds in every tenth of a second, so that a second's calls do not come in one burst.

    Under the limit a call is not delayed; over it, it waits for the window to move, looked at every 10 ms or
    more often: asyncio-throttle's own interval.
    """
    burst = max(1, int(calls_per_s / _BURSTS_PER_S))
    period_s = burst / calls_per_s
    return Throttler(rate_limit=burst, period=period_s, retry_interval=min(0.01, period_s / 4))


class Throttlers:
    """A limit for each environment, made when it is first used; several transports may share them."""

    def __init__(self, calls_per_s: float) -> None:
        self._calls_per_s = calls_per_s
        self._throttlers: dict[str, Throttler] = {}

    async def acquire(self, name: str) -> None:
        """Wait until the environment may be called."""
        if name not in self._throttlers:
            self._throttlers[name] = throttler(self._calls_per_s)
        await self._throttlers[name].acquire()


def nobody(_: str) -> None:
    """Done with why a hub was not reached, where nobody keeps account of it."""


class Transport:
    """Calls to one hub over reused connections.

    A call is tried `1 + max_retries` times, within `deadline_s` in all (throttling and backoff included),
    when the connection failed or the hub answered 429, 502, 503 or 504, and then is HubUnavailable; any other
    refusal is final. Bodies go out in the form of `wire`, and answers are asked for in it. Use it as an async
    context manager; EnvironmentFault outside. `unreachable` is told of every try that the hub did not answer.
    """

    def __init__(
        self,
        url: str,
        *,
        deadline_s: float,
        throttlers: Throttlers,
        max_retries: int,
        token: str,
        wire: Wire,
        unreachable: Callable[[str], None] = nobody,
    ) -> None:
        self.url = url.rstrip("/")
        self._deadline_s = deadline_s
        self._throttlers = throttlers
        self._unreachable = unreachable
        self._max_retries = max_retries
        self._content_type = CONTENT_TYPES[wire]
        self._headers = {"Accept": self._content_type}
        if token:
            self._headers["Authorization"] = f"Bearer {token}"
        self._http: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._http = aiohttp.ClientSession(
            headers=self._headers,
            connector=aiohttp.TCPConnector(limit=0),  # a call of a session at a time: they are the limit
            timeout=aiohttp.ClientTimeout(total=None),
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._http is not None:
            await self._http.close()
            self._http = None

    async def call(
        self,
        method: str,
        path: str,
        *,
        body: Any = None,
        query: Mapping[str, str] | None = None,
        throttle: Collection[str] = (),
        deadline_s: float | None = None,
        max_retries: float | None = None,
    ) -> Any:
        """The answer; EnvironmentFault when the hub refused, failed or did not answer in time.

        `throttle` names the environments whose limits the call counts against. `deadline_s` and
        `max_retries` (inf: until the deadline) replace the client's own.
        """
        request: dict[str, Any] = {"params": query}
        if body is not None:
            request["data"] = encode(body, self._content_type)
            request["headers"] = {"Content-Type": self._content_type}
        limit_s = self._deadline_s if deadline_s is None else deadline_s
        retries = self._max_retries if max_retries is None else max_retries
        what = f"hub {self.url}: {method} {path}"
        try:
            async with asyncio.timeout(limit_s):
                return await self._persist(what, method, path, throttle, retries, request)
        except TimeoutError:
            self._unreachable(f"no answer within {limit_s:g} s")
            raise HubUnavailable(f"{what}: no answer within {limit_s:g} s") from None

    async def _persist(
        self,
        what: str,
        method: str,
        path: str,
        throttle: Collection[str],
        retries: float,
        request: dict[str, Any],
    ) -> Any:
        backoff_s = FIRST_BACKOFF_S
        for attempt in itertools.count():
            for name in throttle:
                await self._throttlers.acquire(name)
            try:
                return await self._try(what, method, path, request)
            except _Again as again:
                if not again.is_answered:
                    self._unreachable(str(again))
                if attempt >= retries:
                    raise HubUnavailable(f"{what}: {again} ({attempt + 1} tries)", again.after_s) from again
                await asyncio.sleep(max(backoff_s, again.after_s))
                backoff_s = min(2 * backoff_s, MAX_BACKOFF_S)
        raise AssertionError("unreachable: the last attempt returns or raises")

    async def _try(self, what: str, method: str, path: str, request: dict[str, Any]) -> Any:
        if self._http is None:
            raise EnvironmentFault(f"{what}: the client is closed")
        try:
            async with self._http.request(method, self.url + path, **request) as response:
                answer = await _answer(response)
                if response.status == 200:
                    return answer
                refusal = reason(answer) or f"status {response.status}"
                if response.status in _TRY_LATER:
                    raise _Again(refusal, _retry_after_s(response), is_answered=True)
                raise EnvironmentFault(f"{what}: {refusal}")
        except aiohttp.InvalidURL as error:
            raise EnvironmentFault(f"{what}: not a URL") from error
        except (aiohttp.ClientError, OSError) as error:
            raise _Again(f"{type(error).__name__}: {error}") from error


async def _answer(response: aiohttp.ClientResponse) -> Any:
    """What the hub said, or whoever stands before it; None for a failure without words that can be read."""
    content_type = MSGPACK if response.content_type == MSGPACK else JSON
    try:
        return decode(await response.read(), content_type)
    except ConfigurationError:
        if response.status == 200:
            raise _Again(f"the answer is not {content_type}") from None
        return None


def reason(answer: Any) -> str:
    """Code and message of a refusal; empty for an answer that has none."""
    error = answer.get("error") if isinstance(answer, dict) else None
    if isinstance(error, dict) and isinstance(error.get("message"), str):
        return f"{error.get('code')}: {error['message']}"
    return ""


def _retry_after_s(response: aiohttp.ClientResponse) -> float:
    text = response.headers.get("Retry-After", "")
    return min(float(text), MAX_BACKOFF_S) if text.isdigit() else 0.0
