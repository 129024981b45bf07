"""What an actor finds where its host's relay keeps its versions."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from common.errors import WeightError
from common.messages import WeightManifest
from common.weights.relayed import Relayed
from common.weights.store import WeightStore, file_name, store_directory
from tests.contracts.weights import arrays


@pytest.fixture
def learner(tmp_path: Path) -> Iterator[WeightStore]:
    with WeightStore(tmp_path / "the learner's", root=tmp_path) as store:
        yield store


@pytest.fixture
def relay(tmp_path: Path) -> Iterator[WeightStore]:
    with WeightStore(tmp_path / "run", root=tmp_path) as store:
        yield store


async def test_it_waits_for_what_the_relay_brings(learner: WeightStore, relay: WeightStore) -> None:
    manifest = learner.write(3, arrays(3))
    async with asyncio.timeout(20), asyncio.TaskGroup() as group:
        finding = group.create_task(Relayed(relay.directory, 20).find(manifest))
        await asyncio.sleep(0)
        relay.write(3, arrays(4))  # another life of the learner made these
        relay.write(3, arrays(3))
    assert finding.result() == relay.directory / file_name(3)


async def test_a_relay_that_has_gone_on_to_a_newer_version_is_not_waited_for(
    learner: WeightStore, relay: WeightStore
) -> None:
    manifest = learner.write(3, arrays(3))
    async with asyncio.timeout(20), asyncio.TaskGroup() as group:
        finding = group.create_task(refusal(Relayed(relay.directory, 20), manifest))
        await asyncio.sleep(0)
        relay.write(4, arrays(4))
    assert finding.result() == "version 3: the relay went on to 4"


async def refusal(relayed: Relayed, manifest: WeightManifest) -> str:
    with pytest.raises(WeightError) as caught:
        await relayed.find(manifest)
    return str(caught.value)


async def test_nobody_waits_where_no_relay_lives(learner: WeightStore, tmp_path: Path) -> None:
    manifest = learner.write(3, arrays(3))
    assert await Relayed(store_directory(tmp_path / "run", tmp_path), 1e9).find(manifest) is None


async def test_patience_with_a_relay_that_brings_nothing_ends(
    learner: WeightStore, relay: WeightStore
) -> None:
    assert await Relayed(relay.directory, 0.05).find(learner.write(3, arrays(3))) is None
