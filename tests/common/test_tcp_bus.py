"""What only holds for TCP: ports, strangers, silence."""

import asyncio
import socket
from pathlib import Path

import pytest
import zmq
import zmq.asyncio

from common import codec
from common.bus.config import BusConfig
from common.bus.tcp import TcpLearnerBus
from common.bus.tcp_actor import TcpActorBus
from common.errors import PreflightError, WeightError
from common.messages import (
    Chunk,
    ChunkRequest,
    OnWeights,
    PolicyAnnouncement,
    Ready,
    Refusal,
    Sampling,
    Welcome,
)
from launch.keys import make
from tests.contracts.nets import CONFIG, Files, join, manifest_of

MANIFEST = manifest_of(1, 10)


@pytest.mark.parametrize("field", ["ledger_port", "policy_port", "weights_port"])
async def test_a_taken_port_is_named_and_the_others_are_freed(field: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        bus = TcpLearnerBus(CONFIG.model_copy(update={field: port}), "r")
        with pytest.raises(
            PreflightError, match=rf"bus\.{field} = {port}: cannot listen on 127\.0\.0\.1: .*in use"
        ):
            await bus.start()
        await bus.close()
    free = TcpLearnerBus(bus.config, "r")
    await free.start()
    await free.close()


async def test_an_unknown_host_is_named(tmp_path: Path) -> None:
    make(tmp_path / "keys", [])
    keys = str(tmp_path / "keys" / "learner")
    bus = TcpLearnerBus(BusConfig(host="no-such-host.invalid", keys=keys), "r")
    with pytest.raises(PreflightError, match=r"port: host = .no-such-host\.invalid.: no such host"):
        await bus.start()


async def test_three_free_ports_are_found_and_reported() -> None:
    bus = TcpLearnerBus(BusConfig(host="localhost"), "r")
    await bus.start()
    ports = {bus.ledger_port, bus.policy_port, bus.weights_port}
    assert len(ports) == 3
    assert 0 not in ports
    assert ports == {bus.config.ledger_port, bus.config.policy_port, bus.config.weights_port}
    await bus.close()
    await bus.close()


async def test_closing_what_was_never_started_does_nothing() -> None:
    await TcpLearnerBus(CONFIG, "r").close()
    await TcpActorBus(CONFIG, "a").close()


async def test_a_stranger_that_speaks_http_harms_nobody() -> None:
    learner = TcpLearnerBus(CONFIG, "r")
    await learner.start()
    actor = TcpActorBus(learner.config, "a")
    await join(learner, actor)
    for port in (learner.ledger_port, learner.policy_port, learner.weights_port):
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" * 100)
        await writer.drain()
        writer.close()
    await actor.send(Ready(credits=1))
    assert await learner.receive() == ("a", Ready(credits=1))
    await actor.close()
    await learner.close()


async def test_weights_from_a_learner_that_is_gone_are_a_weight_error(tmp_path) -> None:  # type: ignore[no-untyped-def]
    learner = TcpLearnerBus(CONFIG, "r")
    await learner.start()
    actor = TcpActorBus(learner.config.model_copy(update={"connect_s": 0.1}), "a")
    await join(learner, actor)
    await learner.close()
    with pytest.raises(WeightError, match=r"version 1: the learner did not answer within 0\.1 s"):
        await actor.fetch_weights(MANIFEST, tmp_path / "copy")
    await actor.close()


async def test_weights_that_cannot_be_written_are_a_weight_error(tmp_path) -> None:  # type: ignore[no-untyped-def]
    learner = TcpLearnerBus(CONFIG, "r")
    await learner.start()
    actor = TcpActorBus(learner.config, "a")
    await join(learner, actor)
    with pytest.raises(WeightError, match=r"cannot be written to .*No such file"):
        await actor.fetch_weights(MANIFEST, tmp_path / "none" / "copy")
    await actor.close()
    await learner.close()


async def test_the_weights_port_answers_junk_with_a_refusal_and_goes_on(tmp_path) -> None:  # type: ignore[no-untyped-def]
    (tmp_path / "held").write_bytes(b"0123456789")
    files = Files()
    files.files[1] = tmp_path / "held"
    learner = TcpLearnerBus(CONFIG, "r", files)
    await learner.start()
    with zmq.asyncio.Context() as context, context.socket(zmq.DEALER) as stranger:
        stranger.connect(f"tcp://127.0.0.1:{learner.weights_port}")

        async def ask(frames: list[codec.Buffer]) -> Chunk | Refusal:
            await stranger.send_multipart(frames)
            return codec.decode(await stranger.recv_multipart(), OnWeights)  # type: ignore[no-any-return]

        assert isinstance(await ask([b"junk", b"junk"]), Refusal)
        assert learner.refused == 1
        too_much = ChunkRequest(version=1, offset=0, num_bytes=1 << 40)
        assert await ask(codec.encode(too_much)) == Refusal(
            reason=f"{1 << 40} bytes exceed bus.max_message_bytes"
        )
        answer = await ask(codec.encode(ChunkRequest(version=1, offset=8, num_bytes=100)))
        assert answer == Chunk(version=1, offset=8, file_bytes=10, payload=b"89")
        for offset in (1 << 62, (1 << 63) - 1, 1 << 63, (1 << 64) - 1):
            far = ChunkRequest(version=1, offset=0, num_bytes=100).model_copy(update={"offset": offset})
            answer = await ask(codec.encode(far))
            assert isinstance(answer, Refusal) or answer.payload == b""
        assert isinstance(await ask(codec.encode(ChunkRequest(version=1, offset=0, num_bytes=1))), Chunk)
    await learner.close()


async def test_a_file_larger_than_announced_is_not_fetched(tmp_path) -> None:  # type: ignore[no-untyped-def]
    (tmp_path / "held").write_bytes(bytes(11))
    files = Files()
    files.files[1] = tmp_path / "held"
    learner = TcpLearnerBus(CONFIG, "r", files)
    await learner.start()
    actor = TcpActorBus(learner.config, "a")
    await join(learner, actor)
    with pytest.raises(WeightError, match="version 1: the learner offers 11 bytes, 10 were announced"):
        await actor.fetch_weights(MANIFEST, tmp_path / "copy")
    await actor.close()
    await learner.close()


async def test_the_subscription_of_a_reconnecting_actor_brings_the_newest_policy_of_the_next_learner() -> (
    None
):
    learner = TcpLearnerBus(CONFIG, "r")
    await learner.start()
    actor = TcpActorBus(learner.config, "a")
    await join(learner, actor)
    await learner.announce(PolicyAnnouncement(version=5, horizon=1, sampling=Sampling()))
    assert (await actor.next_policy()).version == 5
    await learner.close()
    restarted = TcpLearnerBus(learner.config, "r")
    await restarted.start()
    await restarted.announce(PolicyAnnouncement(version=4, horizon=1, sampling=Sampling()))
    async with asyncio.timeout(10):
        assert (await actor.next_policy()).version == 4
    await actor.close()
    await restarted.close()


async def test_a_hello_that_is_lost_or_torn_on_the_way_is_said_again() -> None:
    async with asyncio.timeout(20), asyncio.TaskGroup() as tasks:
        with zmq.asyncio.Context() as context:
            deaf = context.socket(zmq.ROUTER)
            port = deaf.bind_to_random_port("tcp://127.0.0.1")
            bus = TcpActorBus(BusConfig(ledger_port=port, policy_port=port, heartbeat_s=0.05), "a")
            started = tasks.create_task(bus.start())
            await deaf.recv_multipart()  # not answered
            identity, *_ = await deaf.recv_multipart()
            await deaf.send_multipart([identity, *codec.encode(Refusal(reason=codec.TORN))])
            await deaf.recv_multipart()
            welcome = Welcome(run="r", heartbeat_s=1.0)
            await deaf.send_multipart([identity, *codec.encode(welcome)])
            assert await started == welcome
            await bus.close()
            deaf.close(linger=0)
