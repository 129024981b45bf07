"""Whatever a peer sends: the learner lives, counts it, keeps little of it, and serves the honest actor."""

import asyncio
import os
import socket
import struct
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import zmq
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from common.bus.config import BusConfig
from common.bus.limits import MAX_SUBSCRIPTIONS
from common.bus.sockets import connect
from common.bus.tcp import TcpLearnerBus
from common.bus.tcp_actor import TcpActorBus
from common.messages import ChunkRequest, Goodbye, Heartbeat, Hello, Ready, Submit
from launch.keys import make
from tests.common.records import make_trajectory
from tests.contracts.nets import join
from tests.fuzz.mutations import frames_like
from tests.fuzz.town import Town, resident_mb, town
from tests.fuzz.zmtp import GREETING, PLAIN_PEERS, connected, frame, ready, send_until_cut

EXAMPLES = int(os.environ.get("PRONGHORN_FUZZ_EXAMPLES", "40"))
"""Per test; give thousands for a long run."""
CONFIG = BusConfig(
    connect_s=10, heartbeat_s=0.5, max_message_bytes=1 << 20, handshake_s=1, max_connections=64
)
MAX_GROWTH_MB = 80
FUZZ = settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)

PORTS = st.sampled_from(sorted(PLAIN_PEERS))
VALID = (
    Hello(actor="stranger"),
    Ready(credits=3),
    Heartbeat(policy_version=0, num_sessions=0, held=((1, 2),)),
    Submit(trajectory=make_trajectory(num_turns=1)),
    Submit(trajectory=make_trajectory(num_turns=1, num_actions=20_000)),
    ChunkRequest(version=1, offset=0, num_bytes=1000),
    Goodbye(),
)
"""Messages to begin from."""


FRAMES = frames_like(VALID)


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bus") / "keys"
    make(folder, ["host"])
    return folder


@pytest.fixture(scope="module", params=["plain", "encrypted"])
def place(
    request: pytest.FixtureRequest, keys: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Town]:
    """A town, and whether keys are needed there."""
    folder = tmp_path_factory.mktemp("town")
    if request.param == "plain":
        with town(CONFIG, folder) as made:
            yield made
        return
    config = CONFIG.model_copy(update={"keys": str(keys / "learner")})
    with town(config, folder, str(keys / "hosts" / "host")) as made:
        yield made


@pytest.fixture
def context() -> Iterator[zmq.Context[zmq.Socket[bytes]]]:
    made: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    yield made
    made.destroy(linger=0)


def is_refused(place: Town, before: int) -> None:
    """All goes on, and more was refused than `before`; what came to nothing is counted a moment later."""
    deadline = time.monotonic() + 10
    place.check()
    while place.refused == before:
        assert time.monotonic() < deadline
        place.check()


def test_frames_of_an_admitted_peer(place: Town, context: zmq.Context[zmq.Socket[bytes]]) -> None:
    attackers = {}
    for port in PLAIN_PEERS:
        attackers[port] = context.socket(zmq.XSUB if port == "policy_port" else zmq.DEALER)
        attackers[port].setsockopt(zmq.SNDTIMEO, 5000)
        connect(attackers[port], place.config, getattr(place.config, port))  # type: ignore[arg-type]
    before, refused = resident_mb(), place.refused

    @FUZZ
    @given(port=PORTS, frames=FRAMES)
    def attack(port: str, frames: list[bytes]) -> None:
        attackers[port].send_multipart(frames)

    attack()
    attackers["ledger_port"].send_multipart([b"junk"])
    is_refused(place, refused)
    assert resident_mb() - before < MAX_GROWTH_MB


def test_bytes_that_are_no_handshake(place: Town) -> None:
    before, refused = resident_mb(), place.refused
    greetings = st.sampled_from([b"", GREETING[:11], GREETING, GREETING + ready(b"DEALER")])

    @FUZZ
    @given(port=PORTS, start=greetings, junk=st.binary(max_size=2000), is_torn=st.booleans())
    def attack(port: str, start: bytes, junk: bytes, is_torn: bool) -> None:
        with socket.create_connection(("127.0.0.1", getattr(place.config, port))) as opened:
            if is_torn:  # ends with a reset
                opened.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            try:
                opened.sendall(start + junk)
            except OSError:
                assert start + junk  # refused while it was still talking

    attack()
    is_refused(place, refused)
    assert resident_mb() - before < MAX_GROWTH_MB


def test_handshakes_that_never_end_are_ended(place: Town) -> None:
    half = [socket.create_connection(("127.0.0.1", place.config.ledger_port), timeout=15) for _ in range(20)]
    for number, opened in enumerate(half):
        opened.sendall(GREETING[: number * 3])
    place.check()
    for opened in half:
        with opened:
            while opened.recv(1000):
                pass


def test_more_connections_than_allowed_are_turned_away(place: Town) -> None:
    refused = place.refused
    port = place.config.policy_port
    crowd = [socket.create_connection(("127.0.0.1", port), timeout=15) for _ in range(80)]
    try:
        place.check()
        turned_away = 0
        for opened in crowd[-10:]:
            while opened.recv(1000):  # its greeting comes, and then the end
                pass
            turned_away += 1
        assert turned_away == 10
        assert place.refused - refused >= 10
    finally:
        for opened in crowd:
            opened.close()


FLOODS = {
    "a message of endlessly many frames": ("ledger_port", frame(b"x", more=True) * 5000),
    "a request of endlessly many frames": ("weights_port", frame(b"", more=True) * 5000),
    "endlessly many messages": ("ledger_port", frame(b"x") * 5000),
    "endlessly many requests": ("weights_port", frame(b"x") * 5000),
    "endlessly many subscriptions": ("policy_port", frame(b"\x01snapshot/" + b"y" * 100) * 500),
    "a frame larger than allowed": ("ledger_port", frame(bytes(2 << 20))),
    "a subscription larger than allowed": ("policy_port", frame(b"\x01" + bytes(1 << 20))),
}


@pytest.mark.parametrize(("port", "flood"), FLOODS.values(), ids=FLOODS)
def test_a_flood_is_cut_off(tmp_path: Path, port: str, flood: bytes) -> None:
    """Before 1 GB went in, and without the memory that it would have taken."""
    with town(CONFIG, tmp_path) as place:
        before, refused = resident_mb(), place.refused
        attacker = connected(getattr(place.config, port), PLAIN_PEERS[port])
        sent = send_until_cut(attacker, flood, max_bytes=1 << 30)
        assert sent < 1 << 30
        is_refused(place, refused)
        assert resident_mb() - before < 4 * MAX_GROWTH_MB


def test_a_peer_that_goes_on_subscribing_is_cut_off_however_slow_it_is(tmp_path: Path) -> None:
    with town(CONFIG, tmp_path) as place:
        refused = place.refused
        with connected(place.config.policy_port, b"SUB") as attacker:
            for number in range(MAX_SUBSCRIPTIONS):
                attacker.sendall(frame(b"\x01topic-%d" % number))
                place.check()
            assert place.refused == refused
            attacker.sendall(frame(b"\x01one-more"))
            is_refused(place, refused)


async def test_a_peer_that_breaks_off_with_much_unread_does_not_end_the_learner() -> None:
    """ZeroMQ 4.3.5 ends the process when a queue is full, its peer is gone and a heartbeat is due."""
    learner = TcpLearnerBus(CONFIG.model_copy(update={"heartbeat_s": 0.05, "max_queued_messages": 10}), "r")
    await learner.start()
    for _ in range(3):
        attacker = await asyncio.to_thread(connected, learner.ledger_port, b"DEALER")
        attacker.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        await asyncio.to_thread(attacker.sendall, frame(b"x") * 3000)
        attacker.close()
    actor = TcpActorBus(learner.config, "honest")
    await asyncio.wait_for(join(learner, actor), 20)
    await actor.close()
    await learner.close()
