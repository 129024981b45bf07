"""What a chat server may do to us, over real HTTP: refuse, break, hang, lie; and what we never do to it."""

from typing import Any

import pytest

from actors.chat_client import Answer, ChatClient, ContextFull, Usage, retry_after_s
from actors.config import ApiConfig
from common.errors import EngineFault, PreflightError
from common.messages import Sampling
from tests.actors.fake_api import FakeApi, completion, garbage, refusal

KEY = "sk-very-secret"


class Sleeper:
    """A clock that moves by what it is asked to sleep."""

    def __init__(self) -> None:
        self.now = 0.0
        self.slept: list[float] = []

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds

    def clock(self) -> float:
        return self.now


async def ask(
    api: FakeApi, url: str, *, usage: Usage | None = None, sleeper: Sleeper | None = None, **changes: Any
) -> Answer:
    sleeper = sleeper or Sleeper()
    values = {"url": url, "model": "m", "calls_per_s": 1000, "max_retries": 2, **changes}
    config = ApiConfig.model_validate(values)
    async with ChatClient(config, KEY, sleep=sleeper.sleep, clock=sleeper.clock) as client:
        messages = [{"role": "user", "content": "hello"}]
        sampling = Sampling(temperature=0.5)
        return await client.complete(messages, sampling=sampling, max_tokens=7, usage=usage or Usage())


async def test_the_request_is_what_every_server_understands():
    api = FakeApi()
    async with api as url:
        assert await ask(api, url) == Answer("Action: done", is_stopped=True, num_tokens=13)
        await ask(api, url, length_field="max_completion_tokens")
    assert api.requests[0] == {
        "model": "m",
        "messages": [{"role": "user", "content": "hello"}],
        "temperature": 0.5,
        "max_tokens": 7,
    }
    assert api.requests[1]["max_completion_tokens"] == 7
    assert api.keys == [f"Bearer {KEY}"] * 2


@pytest.mark.parametrize(
    "fault",
    [
        lambda: refusal(429),
        lambda: refusal(500),
        lambda: refusal(503),
        lambda: garbage(),
        lambda: garbage(b"<html>bad gateway</html>", 502),
        lambda: garbage(b"[" * 100_000),
        lambda: completion("no choices", usage=None) and garbage(b'{"choices": []}'),
        "cut",
    ],
)
async def test_what_may_pass_is_tried_again(fault: Any):
    api, usage = FakeApi(plan=[fault, fault]), Usage()
    async with api as url:
        assert (await ask(api, url, usage=usage)).text == "Action: done"
    assert (usage.num_requests, usage.num_retries) == (3, 2)


async def test_tries_are_limited_and_the_last_reason_is_told():
    api = FakeApi(plan=[lambda: refusal(500, "out of order")] * 9)
    async with api as url:
        with pytest.raises(EngineFault, match=r"status 500: out of order \(3 tries\)"):
            await ask(api, url)
    assert len(api.requests) == 3


async def test_a_server_that_hangs_is_given_up_at_the_deadline():
    api = FakeApi(plan=["hang"])
    async with api as url:
        with pytest.raises(EngineFault, match=r"no answer within 0\.05 s"):
            await ask(api, url, request_s=0.05, max_retries=0)


async def test_a_server_that_asks_to_wait_is_left_alone_for_so_long():
    api, sleeper = FakeApi(plan=[lambda: refusal(429, Retry_After="17")]), Sleeper()
    async with api as url:
        await ask(api, url, sleeper=sleeper)
    assert sleeper.now == pytest.approx(17)


async def test_the_wait_before_a_retry_grows_and_is_limited():
    api, sleeper = FakeApi(plan=[lambda: refusal(500)] * 6), Sleeper()
    async with api as url:
        await ask(api, url, sleeper=sleeper, max_retries=6, first_wait_s=1, max_wait_s=8)
    for slept, most in zip(sleeper.slept, (1, 2, 4, 8, 8, 8), strict=True):
        assert most / 2 <= slept <= most


@pytest.mark.parametrize("status", [400, 401, 403, 404, 422, 302])
async def test_a_refusal_that_stays_is_final_and_never_shows_the_key(status: int):
    api = FakeApi(plan=[lambda: refusal(status, f"bad key {KEY}")])
    async with api as url:
        with pytest.raises(PreflightError, match=rf"status {status}: bad key \[key\]") as told:
            await ask(api, url)
    assert KEY not in str(told.value)
    assert len(api.requests) == 1


async def test_a_spent_quota_is_final_although_it_is_a_429():
    api = FakeApi(plan=[lambda: refusal(429, "you owe us", "insufficient_quota")])
    async with api as url:
        with pytest.raises(PreflightError, match="you owe us"):
            await ask(api, url)


async def test_a_conversation_that_is_too_long_is_no_fault():
    api = FakeApi(plan=[lambda: refusal(400, "too long", "context_length_exceeded")])
    async with api as url:
        with pytest.raises(ContextFull):
            await ask(api, url)


async def test_a_cut_answer_is_told():
    api = FakeApi(plan=[lambda: completion("half a", finish="length")])
    async with api as url:
        assert await ask(api, url) == Answer("half a", is_stopped=False, num_tokens=13)


async def test_an_answer_without_text_or_with_half_a_character_is_an_answer():
    api = FakeApi(plan=[lambda: completion(None), lambda: completion("\ud83d!")])
    async with api as url:
        assert (await ask(api, url)).text == ""
        assert (await ask(api, url)).text == "?!"


async def test_tokens_are_counted_as_the_server_counts_them_and_what_it_does_not_count_is_told():
    api = FakeApi(
        plan=[
            lambda: completion("a"),
            lambda: completion("b", usage=None),
            lambda: completion("c", usage=(1, "x")),
        ]
    )
    usage = Usage()
    async with api as url:
        for _ in range(3):
            await ask(api, url, usage=usage)
    assert (usage.prompt_tokens, usage.completion_tokens, usage.num_uncounted) == (10, 3, 2)


async def test_nobody_at_the_address_is_a_fault_of_one_line():
    api = FakeApi()
    async with api as url:
        pass
    with pytest.raises(EngineFault, match="ClientConnectorError") as told:
        await ask(api, url)
    assert "\n" not in str(told.value)


def test_a_retry_after_may_be_a_date():
    assert retry_after_s("Wed, 21 Oct 2026 07:28:10 GMT", now=lambda: 1792567680.0) == pytest.approx(10)
    assert [retry_after_s(text) for text in ("", "soon", "-3", "inf", "nan")] == [0.0] * 5
