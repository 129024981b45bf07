"""An OpenAI-compatible server, asked politely: throttled, retried within limits, every token counted.

POST {url}/chat/completions with messages. The key goes into the header of a request and nowhere else: what a
server says of it is blotted out before anybody reads it.
"""

import asyncio
import itertools
import json
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any, Self

import aiohttp

from actors.config import ApiConfig
from common.errors import EngineFault, PreflightError
from common.messages import Sampling
from envhub.transport import throttler

MAX_ANSWER_BYTES = 8 << 20
Messages = list[dict[str, str]]


@dataclass
class Usage:
    """What an episode has cost so far, requests that failed included."""

    num_requests: int = 0
    num_retries: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    num_uncounted: int = 0
    """Answers of which the server did not say how many tokens they took."""


@dataclass(frozen=True)
class Answer:
    """One action, as text."""

    text: str
    is_stopped: bool
    """False when it was cut by its token limit."""
    num_tokens: int
    """Of the whole conversation with this answer; 0 when the server did not say."""


class ContextFull(Exception):  # noqa: N818 - not an error: the episode is cut
    """The conversation no longer fits the model."""


class _Again(Exception):  # noqa: N818 - not an error: the request may be tried again
    """The request did not get through, for a reason that may pass."""

    def __init__(self, reason: str, after_s: float = 0.0) -> None:
        super().__init__(reason)
        self.after_s = after_s


class ChatClient:
    """Requests to one server, over reused connections.

        async with ChatClient(config, key) as client:
            answer = await client.complete(messages, sampling=sampling, max_tokens=64, usage=usage)

    A request is tried `1 + max_retries` times: after a failure in transit, a late or unreadable answer, 408,
    409, 429 and 5xx. A server that asks to wait (`Retry-After`) makes all requests wait. Every other refusal
    is final. Use it as an async context manager.
    """

    def __init__(
        self,
        config: ApiConfig,
        key: str,
        *,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._config = config
        self._key = key
        self._url = config.url.rstrip("/") + "/chat/completions"
        self._throttler = throttler(config.calls_per_s)
        self._sleep = sleep
        self._clock = clock
        self._not_before = 0.0
        """Until then the server has asked to be left alone."""
        self._http: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        headers = {"Authorization": f"Bearer {self._key}"} if self._key else {}
        self._http = aiohttp.ClientSession(
            headers=headers,
            connector=aiohttp.TCPConnector(limit=0),  # a request of an episode at a time
            timeout=aiohttp.ClientTimeout(total=self._config.request_s),
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._http is not None:
            await self._http.close()
            self._http = None

    async def complete(
        self, messages: Messages, *, sampling: Sampling, max_tokens: int, usage: Usage
    ) -> Answer:
        """The next message of the assistant; what it cost is added to `usage`.

        Raises EngineFault when no try succeeded, ContextFull when the conversation is too long for the model,
        PreflightError when the server refuses: the key, the model, the request.
        """
        body = self._body(messages, sampling, max_tokens)
        wait_s = self._config.first_wait_s
        for attempt in itertools.count():
            if (pause_s := self._not_before - self._clock()) > 0:
                await self._sleep(pause_s)
            await self._throttler.acquire()
            usage.num_requests += 1
            try:
                return _read(await self._try(body), usage)
            except _Again as again:
                if attempt >= self._config.max_retries:
                    raise EngineFault(f"{self._url}: {again} ({attempt + 1} tries)") from again
                usage.num_retries += 1
                after_s = min(again.after_s, self._config.max_wait_s)
                self._not_before = max(self._not_before, self._clock() + after_s)
                # All that were refused together must not come back together.
                await self._sleep(max(after_s, min(wait_s, self._config.max_wait_s) * random.uniform(0.5, 1)))
                wait_s *= 2
        raise AssertionError("unreachable: the last attempt returns or raises")

    def _body(self, messages: Messages, sampling: Sampling, max_tokens: int) -> dict[str, Any]:
        body = {
            "model": self._config.model,
            "messages": messages,
            "temperature": sampling.temperature,
            self._config.length_field: max_tokens,
        }
        return body if sampling.top_p == 1 else body | {"top_p": sampling.top_p}

    async def _try(self, body: dict[str, Any]) -> Any:
        if self._http is None:
            raise EngineFault(f"{self._url}: the client is closed")
        try:
            async with self._http.post(self._url, json=body, allow_redirects=False) as response:
                content = await response.content.read(MAX_ANSWER_BYTES)
                while not response.content.at_eof() and len(content) < MAX_ANSWER_BYTES:
                    content += await response.content.read(MAX_ANSWER_BYTES - len(content))
        except aiohttp.InvalidURL as error:
            raise PreflightError(f"{self._url}: not a URL") from error
        except TimeoutError as error:
            raise _Again(f"no answer within {self._config.request_s:g} s") from error
        except (aiohttp.ClientError, OSError) as error:
            raise _Again(self._blotted(f"{type(error).__name__}: {error}")) from error
        try:
            answer = json.loads(content)
        except (ValueError, RecursionError):
            answer = None
        if response.status == 200:
            return answer
        raise self._refusal(response, answer)

    def _refusal(self, response: aiohttp.ClientResponse, answer: Any) -> Exception:
        """What a status other than 200 means."""
        error = answer.get("error") if isinstance(answer, dict) else None
        detail = error if isinstance(error, dict) else {}
        code = str(detail.get("code") or "")
        said = " ".join(str(detail.get("message") or error or response.reason or "").split())[:300]
        reason = self._blotted(f"status {response.status}{f' {code}' if code else ''}: {said}")
        if code == "context_length_exceeded":
            return ContextFull(reason)
        is_passing = response.status in (408, 409, 429) or response.status >= 500
        if is_passing and code != "insufficient_quota":
            return _Again(reason, retry_after_s(response.headers.get("Retry-After", "")))
        return PreflightError(f"{self._url}: {reason}")

    def _blotted(self, text: str) -> str:
        return text.replace(self._key, "[key]") if self._key else text


def retry_after_s(header: str, now: Callable[[], float] = time.time) -> float:
    """Seconds that a `Retry-After` asks for, as a number or as a date; 0 when it says nothing readable."""
    try:
        seconds = float(header)
    except ValueError:
        try:
            seconds = parsedate_to_datetime(header).timestamp() - now()
        except ValueError:
            return 0.0
    return seconds if 0 < seconds < float("inf") else 0.0


def _read(answer: Any, usage: Usage) -> Answer:
    """The message of an answer; _Again when it has none: a proxy or a broken server spoke."""
    num_tokens = _count(answer.get("usage") if isinstance(answer, dict) else None, usage)
    try:
        choice = answer["choices"][0]
        text, reason = choice["message"].get("content") or "", choice.get("finish_reason")
    except (TypeError, KeyError, IndexError, AttributeError):
        raise _Again("the answer is not a chat completion") from None
    if not isinstance(text, str):
        raise _Again("the answer's content is not text")
    # Half a surrogate pair is no text and can be kept nowhere.
    text = text.encode("utf-8", "replace").decode()
    return Answer(text, is_stopped=reason != "length", num_tokens=num_tokens)


def _count(used: Any, usage: Usage) -> int:
    """Add what the server says that it counted; the tokens of the conversation, 0 when it does not say."""
    counts = used if isinstance(used, dict) else {}
    read, written = counts.get("prompt_tokens"), counts.get("completion_tokens")
    if not isinstance(read, int) or not isinstance(written, int) or min(read, written) < 0:
        usage.num_uncounted += 1
        return 0
    usage.prompt_tokens += read
    usage.completion_tokens += written
    return read + written
