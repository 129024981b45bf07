"""From a manifest to a verified file, on the learner's host and on others, over both kinds of bus."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from common.bus.bus import ActorBus
from common.bus.config import BusConfig
from common.bus.memory import MemoryActorBus, MemoryLearnerBus, MemoryWire
from common.bus.tcp import TcpLearnerBus
from common.bus.tcp_actor import TcpActorBus
from common.errors import WeightError
from common.messages import WeightManifest
from common.weights.locate import locate
from common.weights.manifest import host_identity
from common.weights.store import WeightStore
from common.weights.verify import verify
from tests.contracts.nets import join
from tests.contracts.weights import arrays


@pytest.fixture
def store(tmp_path: Path) -> Iterator[WeightStore]:
    with WeightStore(tmp_path / "run", root=tmp_path) as store:
        yield store


@asynccontextmanager
async def memory_actor(store: WeightStore) -> AsyncIterator[ActorBus]:
    config = BusConfig(connect_s=5)
    wire = MemoryWire(config)
    learner = MemoryLearnerBus(config, "r", store, wire=wire)
    await learner.start()
    actor = MemoryActorBus(config, "a", wire=wire)
    await join(learner, actor)
    yield actor
    await actor.close()
    await learner.close()


@asynccontextmanager
async def tcp_actor(store: WeightStore) -> AsyncIterator[ActorBus]:
    learner = TcpLearnerBus(BusConfig(connect_s=5, chunk_bytes=1024, chunks_in_flight=2), "r", store)
    await learner.start()
    actor = TcpActorBus(learner.config, "a")
    await join(learner, actor)
    yield actor
    await actor.close()
    await learner.close()


@pytest.fixture(params=[memory_actor, tcp_actor], ids=["memory", "tcp"])
async def actor(request: pytest.FixtureRequest, store: WeightStore) -> AsyncIterator[ActorBus]:
    async with request.param(store) as actor:
        yield actor


def elsewhere(manifest: WeightManifest) -> WeightManifest:
    """The same manifest as another host sees it."""
    return manifest.model_copy(update={"host": "elsewhere"})


async def test_on_the_learners_host_its_own_file_is_used(
    actor: ActorBus, store: WeightStore, tmp_path: Path
) -> None:
    manifest = store.write(1, arrays())
    assert manifest.host == host_identity()
    assert await locate(manifest, actor, tmp_path / "fetched") == Path(manifest.path)
    assert not (tmp_path / "fetched").exists()


async def test_on_another_host_a_verified_copy_is_used_and_the_newest_two_are_kept(
    actor: ActorBus, store: WeightStore, tmp_path: Path
) -> None:
    for version in (5, 6, 7, 2):
        manifest = store.write(version, arrays(version))
        path = await locate(elsewhere(manifest), actor, tmp_path / "fetched")
        assert read(path) == read(Path(manifest.path))
    kept = sorted(file.name for file in (tmp_path / "fetched").iterdir())
    assert kept == ["version-000000002.safetensors", "version-000000007.safetensors"]


async def test_a_copy_that_another_actor_fetched_is_used_when_its_bytes_are_right(
    actor: ActorBus, store: WeightStore, tmp_path: Path
) -> None:
    manifest = elsewhere(store.write(1, arrays()))
    path = await locate(manifest, actor, tmp_path / "fetched")
    inode = path.stat().st_ino
    assert (await locate(manifest, actor, tmp_path / "fetched")).stat().st_ino == inode
    again = elsewhere(store.write(1, arrays(9)))
    path = await locate(again, actor, tmp_path / "fetched")
    verify(again, path)


async def test_torn_weights_are_refused_and_nothing_bears_their_name(
    actor: ActorBus, store: WeightStore, tmp_path: Path
) -> None:
    manifest = store.write(1, arrays())
    flip_last_bit(Path(manifest.path))
    for seen in (manifest, elsewhere(manifest)):
        with pytest.raises(WeightError, match=r"'model\.norm\.weight' fails its checksum"):
            await locate(seen, actor, tmp_path / "fetched")
    assert list((tmp_path / "fetched").iterdir()) == []


async def test_weights_of_a_version_that_is_gone_are_refused(
    actor: ActorBus, store: WeightStore, tmp_path: Path
) -> None:
    gone = store.write(0, arrays())
    for version in (1, 2):
        store.write(version, arrays())
    for seen in (gone, elsewhere(gone)):
        with pytest.raises(WeightError, match="does not hold version 0"):
            await locate(seen, actor, tmp_path / "fetched")


def read(path: Path) -> bytes:
    return path.read_bytes()


def flip_last_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
