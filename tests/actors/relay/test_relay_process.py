"""A relay as a process of its own: killed, started again, and found by the actors of its host."""

import asyncio
import os
import shutil
import signal
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest

from actors.relay.status import status_path
from common.bus.chunks import ChunkFetch, request_of
from common.bus.config import BusConfig
from common.messages import WeightManifest
from common.weights.locate import locate
from common.weights.manifest import IDENTITY_VARIABLE
from common.weights.relayed import Relayed
from common.weights.store import file_name, is_alive, store_directory
from common.weights.verify import verify
from tests.actors.relay.tree import holds, publishing, relaying, until


class FetchingBus:
    """As much of an actor's bus as `locate` needs."""

    def __init__(self, config: BusConfig) -> None:
        self._config = config
        self.fetched = 0

    async def fetch_weights(self, manifest: WeightManifest, into: Path) -> Path:
        self.fetched += 1
        await ChunkFetch(request_of(manifest), self._config).run(into)
        return into


@asynccontextmanager
async def relay_process(
    folder: Path, bus: BusConfig, name: str, identity: str
) -> AsyncIterator[asyncio.subprocess.Process]:
    """`pronghorn relay` on a host of that identity; killed at the end."""
    settings = {
        "run.directory": folder,
        "bus.policy_port": bus.policy_port,
        "bus.weights_port": bus.weights_port,
    }
    empty = folder / "empty.toml"
    empty.touch()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "actors.relay", empty, f"--name={name}"),
        *(f"--{key}={value}" for key, value in settings.items()),
        env=os.environ | {IDENTITY_VARIABLE: identity},
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


@pytest.fixture
def identity(tmp_path: Path) -> Iterator[str]:
    """Of another host; what a killed relay left in its memory is removed."""
    name = f"host of {tmp_path}"
    yield name
    with pytest.MonkeyPatch.context() as patch:
        shutil.rmtree(memory_of(name, tmp_path, patch), ignore_errors=True)


def memory_of(identity: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where a host of that identity keeps the run's weights; from now on this process is there."""
    monkeypatch.setenv(IDENTITY_VARIABLE, identity)
    return store_directory(folder / "run")


async def test_a_killed_relay_is_done_without_and_the_next_one_cleans_up_and_catches_up(
    tmp_path: Path, identity: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with publishing(tmp_path) as learner:
        bus = FetchingBus(learner.bus.config)
        first = await learner.publish(1)
        memory = memory_of(identity, tmp_path, monkeypatch)
        relayed = Relayed(memory, patience_s=60)
        async with relay_process(tmp_path, learner.bus.config, "a", identity) as process:
            await until(lambda: is_alive(memory))
            found = await locate(first, bus, tmp_path / "fetched", relayed)  # type: ignore[arg-type]
            assert found == memory / file_name(1)
            verify(first, found)
            assert bus.fetched == 0
            process.kill()
            await process.wait()
        # This process plays the actor's host now, so the learner's must be named.
        second = learner.write(2).model_copy(update={"host": first.host})
        await learner.announce(second)
        found = await locate(second, bus, tmp_path / "fetched", relayed)  # type: ignore[arg-type]
        assert found == tmp_path / "fetched" / file_name(2)
        assert bus.fetched == 1
        assert (memory / file_name(1)).exists()
        async with relay_process(tmp_path, learner.bus.config, "a", identity) as process:
            await until((memory / file_name(2)).exists)
            assert not (memory / file_name(1)).exists()
            await until(lambda: '"version": 2' in status_path(tmp_path / "run", "a").read_text())
            process.send_signal(signal.SIGTERM)
            assert await process.wait() == 130
        assert not memory.exists()


async def test_a_parent_killed_in_the_middle_of_a_fetch_is_replaced_by_the_learner(
    tmp_path: Path, identity: str
) -> None:
    async with AsyncExitStack() as stack:
        learner = await stack.enter_async_context(publishing(tmp_path))
        parent = await stack.enter_async_context(relay_process(tmp_path, learner.bus.config, "p", identity))
        status = status_path(tmp_path / "run", "p")
        manifest = await learner.publish(1)
        await until(lambda: status.exists() and '"version": 1' in status.read_text())
        port = int(status.read_text().partition('"port": ')[2].partition(",")[0])
        small = learner.bus.config.model_copy(update={"chunk_bytes": 8192, "chunks_in_flight": 1})
        child = await stack.enter_async_context(
            relaying(tmp_path, small, "c", f"p@127.0.0.1:{port}", patience_s=1)
        )
        await until(lambda: child.relay.status.received_bytes > 0)
        parent.kill()
        assert not holds(tmp_path, "c", manifest)
        await until(lambda: holds(tmp_path, "c", manifest))
        await until(lambda: child.relay.status.version == 1)
        assert (child.relay.status.fallbacks, child.relay.status.source) == (1, "the learner")
