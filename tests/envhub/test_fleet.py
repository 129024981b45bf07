"""Several hubs behind one list: real hubs in real processes, killed, stopped and started again."""

import asyncio
import random
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from common.aio import background
from common.errors import ConfigurationError, EnvironmentFault
from common.trajectory import TaskReference
from envhub.answers import LoadAnswer
from envhub.config import HubConfig
from envhub.fleet import HubFleet
from envhub.member import Member
from envhub.serving import serving
from envhub.survey import survey
from envhub.transport import HubUnavailable
from tests.envhub.hub_process import hubs

MISSING = "python:tests.envhub.fakes:MissingEnvironment"
VERSIONED = "python:tests.envhub.fakes:VersionedEnvironment"
TASK = TaskReference(environment="guess_number", task="number-001")
LIMITS = {
    "deadline_s": 10.0,
    "calls_per_s": 10_000.0,
    "max_retries": 1,
    "probe_s": 0.3,
    "max_pause_s": 0.5,
    "seed": 7,
}


@asynccontextmanager
async def fleet(*urls: str, **changes: Any) -> AsyncIterator[HubFleet]:
    async with HubFleet(urls, **{**LIMITS, **changes}) as made:
        assert await made.healthy(10)
        yield made


@asynccontextmanager
async def served(**settings: Any) -> AsyncIterator[str]:
    async with serving(HubConfig(**{"environments": ("guess_number",), **settings})) as server:
        yield server.url


async def test_a_hub_that_is_killed_loses_its_own_sessions_and_is_taken_back_when_it_answers() -> None:
    async with hubs(2, "--environments=guess_number") as both, fleet(*(hub.url for hub in both)) as one:
        opened = [await one.create(TASK, "plain") for _ in range(12)]
        by_hub = Counter(session.hub for session in opened)
        assert sorted(by_hub.values()) == [6, 6]
        dead, alive = both
        await dead.kill()
        for session in opened:
            if session.hub == dead.url:
                with pytest.raises(EnvironmentFault):
                    await session.step("guess 1")
            else:
                await session.step("guess 1")
        assert {(await one.create(TASK, "plain")).hub for _ in range(4)} == {alive.url}
        await dead.start()
        back = next(member for member in one.members if member.url == dead.url)
        async with asyncio.timeout(20):
            while not back.is_up:
                await one.something_new()
        # It has no sessions, so it is the less busy one now.
        again = await one.create(TASK, "plain")
        assert again.hub == dead.url
        lost = next(session for session in opened if session.hub == dead.url)
        with pytest.raises(EnvironmentFault, match="unknown_session"):
            await lost.step("guess 1")
        # A hub that stands still is passed over as well, by those who are waiting for it too.
        dead.signal(signal.SIGSTOP)
        began = time.monotonic()
        assert {(await one.create(TASK, "plain")).hub for _ in range(4)} == {alive.url}
        assert time.monotonic() - began < 5
        dead.signal(signal.SIGCONT)


async def test_a_full_hub_sends_sessions_to_the_next_and_all_full_ones_are_a_fault() -> None:
    async with (
        served(max_sessions=1) as small,
        served(max_sessions=3) as large,
        fleet(small, large, deadline_s=1.5) as one,
    ):
        used = Counter([(await one.create(TASK, "plain")).hub for _ in range(4)])
        assert used == {small: 1, large: 3}
        with pytest.raises(EnvironmentFault, match=r"no hub could serve 'guess_number' within 1\.5 s"):
            await one.create(TASK, "plain")


async def test_a_session_goes_to_a_hub_that_has_its_environment() -> None:
    async with served() as numbers, served(environments=("maze",)) as mazes:
        async with fleet(numbers, mazes) as one:
            assert {(await one.create(TASK, "plain")).hub for _ in range(3)} == {numbers}
            assert await one.tasks("maze", "test", limit=2)
            assert (await one.describe("maze")).digest
        async with fleet(numbers, mazes, deadline_s=0.4) as one:
            with pytest.raises(EnvironmentFault, match="does not serve it"):
                await one.vocabulary("textcraft")


async def test_what_an_environment_lacks_on_every_hub_is_told() -> None:
    async with serving(HubConfig(), played=(MISSING,)) as server, fleet(server.url, deadline_s=5) as one:
        with pytest.raises(EnvironmentFault, match=r"unavailable: .* the package imagined is miss"):
            await one.create(TaskReference(environment=MISSING, task="x"), "plain")


async def test_a_hub_with_other_tasks_is_ignored_with_a_clear_line(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = TaskReference(environment=VERSIONED, task="hoard")
    monkeypatch.setenv("WORLD_VERSION", "1")
    async with served(environments=(VERSIONED,)) as first, served(environments=(VERSIONED,)) as alike:
        monkeypatch.setenv("WORLD_VERSION", "2")
        async with served(environments=(VERSIONED,)) as other, fleet(other, first, alike) as one:
            # The first in the list says what the others must be.
            assert {(await one.create(task, "plain")).hub for _ in range(4)} == {other}
            assert f"hub ignored url={first} environment={VERSIONED}" in caplog.text
            assert f"not those that {other} had first" in caplog.text
        async with fleet(first, other, alike) as one:
            assert {(await one.create(task, "plain")).hub for _ in range(4)} == {first, alike}


async def test_a_survey_tells_who_plays_what_and_who_does_not_answer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("WORLD_VERSION", "1")
    async with served(environments=(VERSIONED,)) as first:
        monkeypatch.setenv("WORLD_VERSION", "2")
        async with served(environments=(VERSIONED,)) as other, served() as without:
            urls = (first, other, without, "http://127.0.0.1:1")
            found = await survey(HubConfig(urls=urls), [VERSIONED])
            digests = [found[url] for url in (first, other)]
            assert all(isinstance(digest, dict) and digest[VERSIONED] for digest in digests)
            assert digests[0] != digests[1]
            assert "unknown_environment" in found[without]
            assert "ClientConnectorError" in found["http://127.0.0.1:1"]
    with pytest.raises(ConfigurationError, match="No such file"):
        await survey(HubConfig(urls=(first,), token_file="/no/such/file"), [VERSIONED])


async def test_a_wrong_token_and_no_hub_at_all_are_told() -> None:
    async with HubFleet(("http://127.0.0.1:1",), **{**LIMITS, "deadline_s": 0.5}) as one:
        assert not await one.healthy(0.2)
        with pytest.raises(EnvironmentFault, match=r"http://127\.0\.0\.1:1: hub .* ClientConnectorError"):
            await one.create(TASK, "plain")
    config = HubConfig(environments=("guess_number",))
    async with (
        serving(config, "sesame") as server,
        HubFleet((server.url,), **{**LIMITS, "deadline_s": 0.5}, token="wrong") as one,
    ):
        with pytest.raises(EnvironmentFault, match="unauthorized"):
            await one.create(TASK, "plain")


async def test_calls_to_an_environment_are_limited_over_all_hubs_together() -> None:
    async with served() as first, served() as second, fleet(first, second, calls_per_s=20.0) as one:
        began = time.monotonic()
        async with asyncio.TaskGroup() as group:
            for _ in range(10):
                group.create_task(one.create(TASK, "plain"))
        assert time.monotonic() - began > 0.35


class AnsweringClient:
    """Says what it is told to say, and counts how often it was asked."""

    def __init__(self) -> None:
        self.is_up, self.asked = False, 0

    async def load(self, _: float) -> LoadAnswer:
        self.asked += 1
        if not self.is_up:
            raise EnvironmentFault("no answer")
        return LoadAnswer(
            status="ok", hub="1", sessions=5, max_sessions=10, workers=1, environments=("guess_number",)
        )


async def test_a_hub_that_is_down_is_asked_by_one_probe_alone() -> None:
    client: Any = AnsweringClient()
    changed = asyncio.Event()
    member = Member("http://x", random.Random(1), 0.05, 0.05, changed.set)
    member.client = client
    async with background(member.watch()), asyncio.timeout(10):
        await changed.wait()
        asked = client.asked
        for _ in range(100):
            member.suspect("a call failed")
        assert client.asked == asked
        client.is_up = True
        while not member.is_up:
            changed.clear()
            await changed.wait()
        assert member.load == 0.5
        member.opened()
        assert member.load == 0.6


async def test_a_call_that_fails_while_its_hub_is_given_up_is_one_fault() -> None:
    client: Any = AnsweringClient()
    client.is_up = True
    changed, is_reset = asyncio.Event(), asyncio.Event()
    member = Member("http://x", random.Random(1), 60, 60, changed.set)
    member.client = client

    async def call() -> None:
        async with member.while_up():
            await is_reset.wait()
            raise HubUnavailable("connection reset")

    async def failed() -> None:
        with pytest.raises(HubUnavailable):
            await call()

    async with background(member.watch()), asyncio.timeout(10):
        await changed.wait()
        async with asyncio.TaskGroup() as group:
            group.create_task(failed())
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            # Another call failed: both are told in the same turn of the loop.
            member.suspect("a call failed")
            is_reset.set()
