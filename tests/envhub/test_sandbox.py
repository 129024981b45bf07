"""What worlds may do to the machine: each takes too much of something, and the hub lives on."""

import asyncio
import os
import signal
from typing import Any
from urllib.parse import urlsplit

import psutil
import pytest

from common.errors import EnvironmentFault, PreflightError
from common.trajectory import TaskReference
from envhub.client import HubClient, RemoteSession
from envhub.sandbox import variables, why_no_own_network
from tests.envhub.browser import Browser, hub
from tests.envhub.hub_process import hubs
from tests.envhub.test_worker_faults import assert_gone

GREEDY = "python:tests.envhub.fakes:GreedyEnvironment"
TASK = {"environment": GREEDY, "task": "hoard"}
LIMITS: dict[str, Any] = {
    "environments": [GREEDY],
    "max_worker_files": 64,
    "max_worker_processes": 8,
    "max_worker_disk_bytes": 4 << 20,
}


async def told(browse: Browser, session: str, index: int, action: str) -> str:
    """What was shown, or the code and message of the refusal."""
    status, answer = await browse.step(session, index, action)
    return str(answer["observation"] if status == 200 else answer["error"])


@pytest.fixture
def watched_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers are looked at when a test says so: not while they still do the harm that it asserts."""
    monkeypatch.setattr("envhub.pools.WATCH_S", 600.0)


@pytest.mark.usefixtures("watched_by_hand")
async def test_a_world_that_takes_too_much_is_killed_with_all_it_started_and_the_hub_lives_on() -> None:
    async with hub(**LIMITS) as (server, browse):
        pool = server.pools[GREEDY]
        # Files: refused by the kernel, the fault of this session alone.
        session = await browse.open(**TASK)
        assert "environment raised OSError" in await told(browse, session, 0, "files 100")
        session = await browse.open(**TASK)
        assert "environment raised OSError" in await told(browse, session, 0, "file 5")
        # Processes that have left their parent and their group.
        session = await browse.open(**TASK)
        assert await told(browse, session, 0, "children 20") == "20"
        worker = psutil.Process(pool.living[0].pid)
        family = worker.children(recursive=True)
        assert len(family) >= 20
        await server.pools.watch_once()
        said = await told(browse, session, 1, "core")
        assert "more than 8 processes (max_worker_processes)" in said
        assert_gone([worker, *family])
        # Disk.
        await pool.all_up()
        session = await browse.open(**TASK)
        folder = await told(browse, session, 0, "folder")
        assert await told(browse, session, 1, "disk 6") == "6"
        await server.pools.watch_once()
        assert "MiB on disk (max_worker_disk_bytes)" in await told(browse, session, 2, "core")
        await pool.all_up()
        assert folder not in {entry.path for entry in os.scandir(os.path.dirname(folder))}
        assert await told(browse, await browse.open(**TASK), 0, "core") == "0"


@pytest.mark.usefixtures("watched_by_hand")
async def test_nothing_that_a_world_does_hides_its_worker_or_ends_the_hub() -> None:
    async with hub(**LIMITS) as (server, browse):
        pool = server.pools[GREEDY]
        # Processes that ended and stay in the table.
        session = await browse.open(**TASK)
        await told(browse, session, 0, "orphans 20")
        await server.pools.watch_once()
        assert "max_worker_processes" in await told(browse, session, 1, "core")
        # A folder too deep to be looked at, and to be removed one call in the other.
        await pool.all_up()
        session = await browse.open(**TASK)
        folder = await told(browse, session, 0, "folder")
        assert await told(browse, session, 1, "deep 3000") == "3000"
        await server.pools.watch_once()
        assert "max_worker_disk_bytes" in await told(browse, session, 2, "core")
        await pool.all_up()
        assert not os.access(folder, os.F_OK)
        assert await told(browse, await browse.open(**TASK), 0, "core") == "0"


@pytest.mark.parametrize(
    "said",
    [
        "c1",  # no MessagePack
        "2a",  # 42 is no answer
        "9301a378797ac0",  # [1, "xyz", None]: no such code
        "93900000",  # [[], 0, 0]: no number
    ],
)
async def test_a_world_that_speaks_for_its_worker_loses_it_and_nothing_else(said: str) -> None:
    async with hub(**{**LIMITS, "environments": [GREEDY, "guess_number"]}) as (server, browse):
        other = await browse.open()
        assert "spoke nonsense" in await told(browse, await browse.open(**TASK), 0, f"speak {said}")
        assert (await browse.step(other, 0, "guess 1"))[0] == 200
        await server.pools[GREEDY].all_up()
        assert await told(browse, await browse.open(**TASK), 0, "core") == "0"


async def test_what_a_world_started_and_lost_ends_with_its_worker() -> None:
    async with hub(**LIMITS) as (server, browse):
        assert await told(browse, await browse.open(**TASK), 0, "children 3") == "3"
        family = psutil.Process(server.pools[GREEDY].living[0].pid).children(recursive=True)
        assert len(family) == 3
    assert_gone(family)


async def test_a_world_can_terminate_what_it_started_and_nobody_its_worker() -> None:
    async with hub(**LIMITS) as (server, browse):
        session = await browse.open(**TASK)
        os.kill(server.pools[GREEDY].living[0].pid, signal.SIGTERM)
        assert await told(browse, session, 0, "terminate") == str(-signal.SIGTERM)


async def test_a_worker_has_no_secrets_no_core_dumps_and_no_new_privileges(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("WANDB_API_KEY", "hidden")
    monkeypatch.setenv("JUDGE_API_KEY", "wanted")
    async with hub(**LIMITS, worker_variables=["JUDGE_API_KEY"]) as (_, browse):
        session = await browse.open(**TASK)
        asked = ("core", "umask", "status NoNewPrivs", "variable WANDB_API_KEY", "variable JUDGE_API_KEY")
        found = [await told(browse, session, index, action) for index, action in enumerate(asked)]
        assert found == ["0", "0o700", "1", "unset", "wanted"]


def test_what_looks_like_a_secret_is_not_inherited() -> None:
    plain = dict.fromkeys(("PATH", "PWD", "JAVA_HOME", "TOKENIZERS_PARALLELISM", "KEYBOARD"), "x")
    secret = {
        "PRONGHORN_HUB_TOKEN": "x",
        "AWS_REGION": "x",
        "DB_PASSWORD": "x",
        "PGPASSWORD": "x",
        "MYSQL_PWD": "x",
        "ACCESSTOKEN": "x",
        "API_KEY_2": "x",
        "SSH_AUTH_SOCK": "x",
        "https_proxy": "http://me:secret@proxy:3128",
    }
    assert variables({**plain, **secret}) == plain
    assert variables(secret, ["DB_PASSWORD"]) == {"DB_PASSWORD": "x"}


async def test_without_a_network_a_world_reaches_itself_and_nobody_else() -> None:
    if why := why_no_own_network():
        # Not even where no worker is to start yet.
        for settings in (
            LIMITS | {"sandbox_network": "none"},
            {"pools": {"maze": {"sandbox_network": "none"}}},
        ):
            with pytest.raises(PreflightError, match="sandbox_network = 'none'"):
                async with hub(**settings):
                    pass
        pytest.skip(why)
    async with hub(**LIMITS, sandbox_network="none") as (server, browse):
        session = await browse.open(**TASK)
        port = urlsplit(server.url).port
        asked = ("loopback", f"connect 127.0.0.1 {port}", "connect 192.0.2.1 80", "parent", "status CapEff")
        found = [await told(browse, session, index, action) for index, action in enumerate(asked)]
        assert found == ["connected", "ConnectionRefusedError", "OSError", "PermissionError", "0" * 16]


async def test_a_world_without_a_network_is_described_without_one_too() -> None:
    if why := why_no_own_network():
        pytest.skip(why)
    pools = {GREEDY: {"sandbox_network": "none"}}
    async with hub(environments=[GREEDY, "guess_number"], pools=pools) as (_, browse):
        _, listed = await browse("GET", "/v1/environments")
        names = [row["name"] for row in listed["environments"]]
        assert names == [GREEDY, "guess_number"]
        assert listed["environments"][0]["source"] != os.readlink("/proc/self/ns/net")


async def test_workers_end_with_a_hub_that_was_killed_even_those_that_hang() -> None:
    task = TaskReference(environment=GREEDY, task="hoard")
    async with (
        hubs(1, f"--environments={GREEDY}", "--hub.num_workers=2") as (one,),
        HubClient(one.url, deadline_s=60, calls_per_s=100, max_retries=0) as client,
    ):
        workers = [p for p in psutil.Process(one.pid).children() if "envhub.confined" in p.cmdline()]
        other, session = [await client.create(task, "plain") for _ in range(2)]
        folder = (await other.step("folder")).observation
        assert (await other.step("children 3")).observation == "3"
        family = [one for worker in workers for one in worker.children(recursive=True)]
        assert len(family) == 3
        async with asyncio.TaskGroup() as group:
            heard = asyncio.Event()
            async with await asyncio.start_server(lambda *_: heard.set(), "127.0.0.1", 0) as server:
                group.create_task(hung(session, server.sockets[0].getsockname()[1]))
                await heard.wait()
                await one.kill()
        assert_gone([*workers, *family])
        assert not os.access(folder, os.F_OK)


async def hung(session: RemoteSession, port: int) -> None:
    with pytest.raises(EnvironmentFault):
        await session.step(f"hang {port}")
