"""Relays bring every newest version into their hosts' memory, by deltas, one from the other."""

import os
import shutil
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from actors.relay.service import serve
from common.bus.chunks import ChunkFetch, Peer, request_of
from common.bus.tcp import TcpLearnerBus
from common.errors import ConfigurationError, PreflightError, WeightError
from common.messages import ChunkRequest, NotYet
from common.weights.manifest import file_bytes
from common.weights.store import WeightStore
from tests.actors.relay.tree import BUS, file_of, holds, publishing, relaying, role, until


async def test_a_tree_of_three_gets_each_version_once_from_its_parent_by_deltas(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        learner = await stack.enter_async_context(publishing(tmp_path))
        relays, parent = [], ""
        for name in "abc":
            relay = await stack.enter_async_context(
                relaying(tmp_path, learner.bus.config, name, parent, patience_s=10)
            )
            relays.append(relay)
            parent = relay
        for version in (1, 2, 3):
            manifest = await learner.publish(version)
            for name in "abc":
                await until(lambda name=name, manifest=manifest: holds(tmp_path, name, manifest))  # type: ignore[misc]
        await until(lambda: all(relay.relay.status.version == 3 for relay in relays))
        sources = ["the learner", "the relay a", "the relay b"]
        for relay, source in zip(relays, sources, strict=True):
            status = relay.relay.status
            assert (status.fulls, status.deltas, status.fallbacks, status.failed) == (1, 2, 0, 0)
            assert status.source == source
            assert file_bytes(manifest) < status.received_bytes < 1.1 * file_bytes(manifest)


async def test_a_late_joiner_gets_the_newest_whole_at_once(tmp_path: Path) -> None:
    async with publishing(tmp_path) as learner:
        for version in (1, 2, 3):
            manifest = await learner.publish(version)
        async with relaying(tmp_path, learner.bus.config, "late") as relay:
            await until(lambda: holds(tmp_path, "late", manifest))
            await until(lambda: relay.relay.status.version == 3)
            assert (relay.relay.status.fulls, relay.relay.status.deltas) == (1, 0)


async def test_after_a_gap_larger_than_what_the_learner_keeps_a_whole_copy_is_fetched_and_counted(
    tmp_path: Path,
) -> None:
    async with publishing(tmp_path) as learner, relaying(tmp_path, learner.bus.config, "a") as relay:
        first = await learner.publish(1)
        await until(lambda: holds(tmp_path, "a", first))
        learner.write(2)
        learner.write(3)
        last = await learner.publish(4)
        await until(lambda: holds(tmp_path, "a", last))
        await until(lambda: relay.relay.status.version == 4)
        assert (relay.relay.status.fulls, relay.relay.status.deltas_refused) == (2, 1)


def flip_last_bit(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)


class TornDeltas:
    """A source whose files are good and whose deltas have lost a bit."""

    def __init__(self, store: WeightStore) -> None:
        self._store = store
        self._torn: dict[Path, Path] = {}

    def find(self, request: ChunkRequest) -> Path | NotYet | None:
        found = self._store.find(request)
        if request.base is None or not isinstance(found, Path):
            return found
        if found not in self._torn:
            self._torn[found] = self._store.new_part()
            shutil.copyfile(found, self._torn[found])
            flip_last_bit(self._torn[found])
        return self._torn[found]


async def test_for_a_torn_delta_a_whole_copy_is_fetched_and_counted(tmp_path: Path) -> None:
    async with (
        publishing(tmp_path, served=TornDeltas) as learner,
        relaying(tmp_path, learner.bus.config, "a") as relay,
    ):
        for version in (1, 2):
            manifest = await learner.publish(version)
            await until(lambda manifest=manifest: holds(tmp_path, "a", manifest))  # type: ignore[misc]
        await until(lambda: relay.relay.status.version == 2)
        assert (relay.relay.status.fulls, relay.relay.status.deltas_failed) == (2, 1)


async def test_what_fails_its_checksum_is_never_held_and_never_served(tmp_path: Path) -> None:
    async with publishing(tmp_path) as learner, relaying(tmp_path, learner.bus.config, "a") as relay:
        manifest = learner.write(1)
        flip_last_bit(Path(manifest.path))
        await learner.announce(manifest)
        await until(lambda: relay.relay.status.failed > 0)
        peer = Peer("a", "127.0.0.1", relay.port, patience_s=0.2)
        with pytest.raises(WeightError, match="the relay a made no progress"):
            await ChunkFetch(request_of(manifest), learner.bus.config, peer).run(tmp_path / "copy")
        assert [file.name for file in (tmp_path / "memory of a").glob("*/*")] == ["lock"]


class Silent:
    """A source that has version 1 on its way, for ever."""

    asked = False

    def __init__(self, store: WeightStore) -> None:
        self._store = store

    def find(self, request: ChunkRequest) -> Path | NotYet | None:
        if request.version == 1:
            self.asked = True
            return NotYet(version=request.version)
        return self._store.find(request)


async def test_a_version_that_is_overtaken_is_given_up(tmp_path: Path) -> None:
    sources: list[Silent] = []

    def served(store: WeightStore) -> Silent:
        sources.append(Silent(store))
        return sources[-1]

    async with (
        publishing(tmp_path, served=served) as learner,
        relaying(tmp_path, learner.bus.config, "a") as relay,
    ):
        await learner.publish(1)
        await until(lambda: sources[0].asked)
        newest = await learner.publish(2)
        await until(lambda: holds(tmp_path, "a", newest))
        assert relay.relay.status.overtaken == 1
        assert not file_of(tmp_path, "a", 1).exists()


async def test_when_the_parent_is_silent_the_learner_is_asked_and_the_parent_again_later(
    tmp_path: Path,
) -> None:
    async with AsyncExitStack() as stack:
        learner = await stack.enter_async_context(publishing(tmp_path))
        parent = AsyncExitStack()
        a = await parent.enter_async_context(relaying(tmp_path, learner.bus.config, "a"))
        address = f"a@127.0.0.1:{a.port}"
        b = await stack.enter_async_context(
            relaying(tmp_path, learner.bus.config, "b", address, patience_s=0.3)
        )
        first = await learner.publish(1)
        await until(lambda: holds(tmp_path, "b", first) and b.relay.status.source == "the relay a")
        await parent.aclose()
        second = await learner.publish(2)
        await until(lambda: holds(tmp_path, "b", second))
        await until(lambda: b.relay.status.source == "the learner")
        assert b.relay.status.fallbacks == 1
        await stack.enter_async_context(relaying(tmp_path, learner.bus.config, "a", port=a.port))
        version = 2

        async def is_back() -> bool:
            nonlocal version
            version += 1
            manifest = await learner.publish(version)
            await until(lambda: b.relay.status.version == manifest.version)
            return b.relay.status.source == "the relay a"

        while not await is_back():
            assert version < 50


async def test_a_learner_that_makes_a_version_again_is_believed(tmp_path: Path) -> None:
    async with publishing(tmp_path) as learner, relaying(tmp_path, learner.bus.config, "a") as relay:
        for version in (7, 8, 7):
            manifest = await learner.publish(version)
            await until(lambda manifest=manifest: holds(tmp_path, "a", manifest))  # type: ignore[misc]
        assert relay.relay.status.failed == 0


async def test_a_learner_that_is_started_again_is_followed(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        async with publishing(tmp_path) as learner:
            config = learner.bus.config
            await stack.enter_async_context(relaying(tmp_path, config, "a"))
            first = await learner.publish(1)
            await until(lambda: holds(tmp_path, "a", first))
        async with publishing(tmp_path, config=config) as learner:
            assert isinstance(learner.bus, TcpLearnerBus)
            again = await learner.publish(1)
            await until(lambda: holds(tmp_path, "a", again))


async def test_a_second_relay_on_a_host_is_refused(tmp_path: Path) -> None:
    async with publishing(tmp_path) as learner, relaying(tmp_path, learner.bus.config, "a"):
        with pytest.raises(PreflightError, match="is running on this host, or its relay"):
            async with serve(role(tmp_path, learner.bus.config), "b", tmp_path / "memory of a"):
                pass


async def test_a_relay_that_cannot_know_where_to_fetch_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"bus\.policy_port = 0"):
        async with serve(role(tmp_path, BUS), "a", tmp_path):
            pass
    known = BUS.model_copy(update={"policy_port": 1, "weights_port": 2})
    with pytest.raises(ConfigurationError, match=r"relay\.parent = 'a@127\.0\.0\.1:3'"):
        async with serve(role(tmp_path, known, parent="a@127.0.0.1:3"), "a", tmp_path):
            pass
    assert os.listdir(tmp_path) == []
