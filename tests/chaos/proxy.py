"""A bad network between actors and learner: connections are cut, messages dropped, repeated, torn, held up.

    actor -- TCP --> StreamProxy --> MessageProxy -- ZeroMQ --> learner        ledger channel
    actor -- TCP --> StreamProxy ------------------- TCP -----> learner        policy, weights

What happens to which message follows from the seed and from the order in which messages come.
"""

import asyncio
import socket
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from random import Random

import zmq
import zmq.asyncio

from common.aio import background

LOOPBACK = "127.0.0.1"
MAX_PEERS = 64
CHUNK = 1 << 16


@dataclass
class Weather:
    """How often what happens to a message, and how often it did."""

    random: Random
    drop: float = 0.0
    duplicate: float = 0.0
    corrupt: float = 0.0
    delay: float = 0.0
    max_delay_s: float = 0.5
    counts: Counter[str] = field(default_factory=Counter)

    def fate(self, frames: Sequence[bytes]) -> list[list[bytes]]:
        """What arrives instead of this message: nothing, itself, itself twice, or something torn."""
        self.counts["messages"] += 1
        if self._strikes("drop", self.drop):
            return []
        if self._strikes("corrupt", self.corrupt):
            return [self._torn(frames)]
        if self._strikes("duplicate", self.duplicate):
            return [list(frames), list(frames)]
        return [list(frames)]

    def delay_s(self) -> float:
        """How long the messages of one direction of one actor are held up now; mostly 0."""
        return self.random.uniform(0.0, self.max_delay_s) if self._strikes("delay", self.delay) else 0.0

    def _strikes(self, kind: str, probability: float) -> bool:
        strikes = self.random.random() < probability
        self.counts[kind] += strikes
        return strikes

    def _torn(self, frames: Sequence[bytes]) -> list[bytes]:
        """One bit turned, in any frame."""
        torn = [bytearray(frame) for frame in frames]
        frame = self.random.choice([frame for frame in torn if frame])
        frame[self.random.randrange(len(frame))] ^= 1 << self.random.randrange(8)
        return [bytes(frame) for frame in torn]


class MessageProxy:
    """Hands whole messages on, each to the fate that the weather has for it; keeps actors' identities."""

    def __init__(self, learner_port: int, weather: Weather) -> None:
        self.port = 0
        self._learner = f"tcp://{LOOPBACK}:{learner_port}"
        self._weather = weather
        self._upwards: dict[bytes, asyncio.Queue[list[bytes]]] = {}

    def open(self) -> None:
        """Listen on a free port."""
        self._context = zmq.asyncio.Context()
        self._front = self._context.socket(zmq.ROUTER)
        self._front.setsockopt(zmq.ROUTER_HANDOVER, 1)
        self.port = self._front.bind_to_random_port(f"tcp://{LOOPBACK}")

    async def serve(self) -> None:
        """Endless: every actor gets a socket of its own to the learner. Closes what `open` opened."""
        context, front = self._context, self._front
        try:
            async with asyncio.TaskGroup() as peers:
                while True:
                    identity, *frames = await front.recv_multipart()
                    if identity not in self._upwards and len(self._upwards) < MAX_PEERS:
                        self._upwards[identity] = asyncio.Queue()
                        peers.create_task(self._peer(context, front, identity))
                    if identity in self._upwards:
                        self._upwards[identity].put_nowait(frames)
        finally:
            context.destroy(linger=0)

    async def _peer(self, context: zmq.asyncio.Context, front: zmq.asyncio.Socket, identity: bytes) -> None:
        back = context.socket(zmq.DEALER)
        back.setsockopt(zmq.ROUTING_ID, identity)
        # What is sent to a learner that is away is lost, as in a network.
        back.setsockopt(zmq.IMMEDIATE, 1)
        back.connect(self._learner)
        async with background(self._down(front, back, identity)):
            while True:
                frames = await self._upwards[identity].get()
                await asyncio.sleep(self._weather.delay_s())
                for message in self._weather.fate(frames):
                    await self._hand_on(back, message)

    async def _down(self, front: zmq.asyncio.Socket, back: zmq.asyncio.Socket, identity: bytes) -> None:
        while True:
            frames = await back.recv_multipart()
            await asyncio.sleep(self._weather.delay_s())
            for message in self._weather.fate(frames):
                await self._hand_on(front, [identity, *message])

    async def _hand_on(self, to: zmq.asyncio.Socket, message: list[bytes]) -> None:
        try:
            await to.send_multipart(message, zmq.NOBLOCK)
        except zmq.Again:
            self._weather.counts["undeliverable"] += 1


class StreamProxy:
    """Hands bytes on; `cut` ends every connection without a word.

    While `flows` is cleared nothing that the target sends is read: to the target, the other side is one that
    speaks and does not listen.
    """

    def __init__(self, weather: Weather, *, buffer_bytes: int = CHUNK) -> None:
        self.port = 0
        self.target_port = 0
        self._buffer_bytes = buffer_bytes
        self.flows = asyncio.Event()
        self.flows.set()
        self._weather = weather
        self._writers: set[asyncio.StreamWriter] = set()

    async def open(self) -> asyncio.Server:
        """Listen on a free port; connections are made to `target_port`."""
        server = await asyncio.start_server(self._connected, LOOPBACK, 0)
        self.port = server.sockets[0].getsockname()[1]
        return server

    def cut(self) -> int:
        """End all connections now; how many there were."""
        writers = list(self._writers)
        for writer in writers:
            writer.transport.abort()
        return len(writers) // 2

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            far_reader, far_writer = await self._connect()
        except OSError:
            writer.transport.abort()
            return
        pair = {writer, far_writer}
        self._writers |= pair
        try:
            async with background(self._pump(far_reader, writer, is_answer=True)):
                await self._pump(reader, far_writer)
        except* OSError:
            pass
        finally:
            self._writers -= pair
            for end in pair:
                end.transport.abort()

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        far = socket.socket()
        far.setblocking(False)
        far.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, self._buffer_bytes)
        await asyncio.get_running_loop().sock_connect(far, (LOOPBACK, self.target_port))
        return await asyncio.open_connection(sock=far, limit=self._buffer_bytes)

    async def _pump(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, is_answer: bool = False
    ) -> None:
        while data := await reader.read(CHUNK):
            if is_answer:
                await self.flows.wait()
            await asyncio.sleep(self._weather.delay_s())
            writer.write(data)
            await writer.drain()
        raise ConnectionResetError("the other side has closed")


class Network:
    """All three channels of a learner behind bad weather."""

    def __init__(self, learner_ports: dict[str, int], weather: Weather) -> None:
        self.weather = weather
        self._learner_ports = learner_ports
        self._messages = MessageProxy(learner_ports["ledger_port"], weather)
        self._streams = {name: StreamProxy(weather) for name in learner_ports}

    @property
    def ports(self) -> dict[str, int]:
        """Where actors connect, by the name of the setting."""
        return {name: stream.port for name, stream in self._streams.items()}

    def cut(self) -> int:
        """End every connection; how many there were."""
        return sum(stream.cut() for stream in self._streams.values())

    @asynccontextmanager
    async def up(self) -> AsyncIterator["Network"]:
        """The network, for as long as the body runs."""
        async with AsyncExitStack() as stack:
            self._messages.open()
            await stack.enter_async_context(background(self._messages.serve()))
            for name, stream in self._streams.items():
                stream.target_port = self._learner_ports[name]
                server = await stream.open()
                stack.callback(server.close)
            self._streams["ledger_port"].target_port = self._messages.port
            stack.callback(self.cut)
            yield self
