"""Keys in their folders, and what encryption keeps out: strangers, former hosts, names of others."""

import asyncio
import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from pydantic import ValidationError

from common.bus.config import BusConfig
from common.bus.keys import KeyRing, read_pair
from common.bus.tcp import TcpLearnerBus
from common.bus.tcp_actor import TcpActorBus
from common.errors import ConfigurationError, PreflightError, ProtocolError
from common.messages import Hello, Ready
from launch.keys import make, revoke, rotate

CONFIG = BusConfig(connect_s=10)


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    make(tmp_path / "keys", ["one", "two"])
    return tmp_path / "keys"


def of(config: BusConfig, folder: Path | str) -> BusConfig:
    return config.model_copy(update={"keys": str(folder)})


@asynccontextmanager
async def learner_with(keys: Path | str) -> AsyncIterator[TcpLearnerBus]:
    bus = TcpLearnerBus(of(CONFIG, keys), "r")
    await bus.start()
    try:
        yield bus
    finally:
        await bus.close()


async def joined(learner: TcpLearnerBus, config: BusConfig, name: str) -> TcpActorBus:
    actor = TcpActorBus(config, name)
    async with asyncio.TaskGroup() as group:
        group.create_task(actor.start())
        assert isinstance((await learner.receive())[1], Hello)
    return actor


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "*", "10.0.0.1", "learner.example"])
def test_a_bus_beyond_loopback_without_keys_is_no_configuration(host: str) -> None:
    with pytest.raises(ValidationError, match=r"bus\.host = .* without bus\.keys"):
        BusConfig(host=host)
    assert BusConfig(host=host, keys="somewhere").host == host


def test_loopback_needs_no_keys() -> None:
    for host in ("127.0.0.1", "::1", "localhost", "127.0.5.6"):
        BusConfig(host=host)


async def test_hosts_with_keys_talk_and_others_are_told_why_not(keys: Path, tmp_path: Path) -> None:
    make(tmp_path / "others", ["one"])
    stranger = tmp_path / "others" / "hosts" / "one"
    async with learner_with(keys / "learner") as learner:
        actor = await joined(learner, of(learner.config, keys / "hosts" / "one"), "a")
        await actor.send(Ready(credits=3))
        assert await learner.receive() == ("a", Ready(credits=3))
        for folder, reason in (
            ("", "asks for keys"),
            (stranger, r"learner\.key in bus\.keys = .* is not its key"),
        ):
            late = TcpActorBus(of(learner.config.model_copy(update={"connect_s": 3}), folder), "b")
            with pytest.raises(PreflightError, match=reason):
                await late.start()
        shutil.copy(keys / "learner" / "learner.key", stranger / "learner.key")
        with pytest.raises(PreflightError, match=r"does not admit the key ....-....-....-.... of bus\.keys"):
            await TcpActorBus(of(learner.config, stranger), "b").start()
        await actor.send(Ready(credits=4))
        assert await learner.receive() == ("a", Ready(credits=4))
        await actor.close()


async def test_an_actor_with_keys_does_not_talk_to_a_learner_without(keys: Path) -> None:
    async with learner_with("") as learner:
        with pytest.raises(PreflightError, match=r"has no keys, or something else listens there"):
            await TcpActorBus(of(learner.config, keys / "hosts" / "one"), "a").start()


async def test_a_host_cannot_take_the_name_of_an_actor_of_another(keys: Path) -> None:
    async with learner_with(keys / "learner") as learner:
        actor = await joined(learner, of(learner.config, keys / "hosts" / "one"), "a")
        hearing = asyncio.create_task(learner.receive())
        with pytest.raises(ProtocolError, match="an actor of the name 'a' is here with another key"):
            await TcpActorBus(of(learner.config, keys / "hosts" / "two"), "a").start()
        await actor.send(Ready(credits=3))
        assert await hearing == ("a", Ready(credits=3))
        again = await joined(learner, of(learner.config, keys / "hosts" / "one"), "a")
        await actor.close()
        await again.close()


async def test_hosts_are_added_to_and_taken_from_a_live_learner(keys: Path, tmp_path: Path) -> None:
    async with learner_with(keys / "learner") as learner:
        make(keys, ["three"])
        theirs = tmp_path / "copy"
        shutil.copytree(keys / "hosts" / "three", theirs)
        actor = await joined(learner, of(learner.config, theirs), "a")
        hearing = asyncio.create_task(learner.receive())

        async def live() -> None:
            actor_of_two = await joined_later(learner.config)
            try:
                revoke(keys, "two")
                await actor_of_two.receive()
            finally:
                await actor_of_two.close()

        async def joined_later(config: BusConfig) -> TcpActorBus:
            late = TcpActorBus(of(config, tmp_path / "two"), "late")
            await late.start()
            return late

        shutil.copytree(keys / "hosts" / "two", tmp_path / "two")
        with pytest.raises(PreflightError, match="it was revoked, rotated"):
            async with asyncio.timeout(20):
                await live()
        assert isinstance((await hearing)[1], Hello)
        await actor.send(Ready(credits=1))
        assert await learner.receive() == ("a", Ready(credits=1))
        await actor.close()


def test_a_secret_that_others_may_read_is_not_used(keys: Path) -> None:
    secret = keys / "learner" / "own.key_secret"
    secret.chmod(0o640)
    with pytest.raises(ConfigurationError, match=r"own\.key_secret: mode 0640 lets others in; chmod go-rwx"):
        KeyRing(str(keys / "learner"))


def test_a_folder_where_others_may_admit_is_not_used(keys: Path) -> None:
    (keys / "learner" / "admitted").chmod(0o777)
    ring = KeyRing(str(keys / "learner"))
    with pytest.raises(ConfigurationError, match=r"admitted: mode 0777 lets others in"):
        ring.check_admitted()
    assert ring.admitted() == {}


def test_what_is_missing_or_broken_is_named(keys: Path) -> None:
    home = keys / "hosts" / "one"
    with pytest.raises(ConfigurationError, match="no such folder; `pronghorn keys` makes one"):
        KeyRing(str(keys / "nowhere"))
    (home / "learner.key").unlink()
    with pytest.raises(ConfigurationError, match=r"learner\.key: No such file"):
        KeyRing(str(home)).peer("learner")
    with pytest.raises(ConfigurationError, match=r"host '\.\./one': allowed are letters"):
        KeyRing(str(home)).peer("../one")
    (home / "admitted" / "two.key").write_text('public-key = "short"')
    with pytest.raises(ConfigurationError, match=r"two\.key: has no public-key of 40 characters"):
        KeyRing(str(home)).check_admitted()
    os.truncate(home / "own.key_secret", 10)
    with pytest.raises(ConfigurationError, match=r"own\.key_secret: has no public-key"):
        KeyRing(str(home))


def test_one_key_under_two_names_is_refused(keys: Path) -> None:
    admitted = keys / "learner" / "admitted"
    shutil.copy(admitted / "one.key", admitted / "copy.key")
    with pytest.raises(ConfigurationError, match=r"one\.key: copy\.key holds the same key"):
        KeyRing(str(keys / "learner")).check_admitted()


def test_a_secret_never_shows_when_printed(keys: Path) -> None:
    pair = read_pair(keys / "learner" / "own.key_secret")
    assert pair.secret.decode() not in repr(pair)


def test_rotated_keys_are_admitted_instead_of_the_old(keys: Path) -> None:
    old = read_pair(keys / "hosts" / "one" / "own.key_secret")
    ring = KeyRing(str(keys / "learner"))
    assert ring.admitted()[old.public] == "one"
    rotate(keys, "one")
    new = read_pair(keys / "hosts" / "one" / "own.key_secret")
    assert old.public not in ring.admitted()
    assert ring.admitted()[new.public] == "one"
