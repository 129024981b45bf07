"""The weights channel: a file in chunks, as many under way as the one who fetches has credits.

    actor, relay    ChunkRequest x chunks_in_flight, then one more for each Chunk that arrives
    learner, relay  one Chunk per request, or a Refusal, or NotYet; it remembers nothing between requests

The file is a version's, or the delta that makes it of another one. The receiver sets the pace, so a slow one
costs the server no memory.
"""

import asyncio
import logging
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import zmq
import zmq.asyncio

from common import codec
from common.aio import within
from common.bus.config import BusConfig
from common.bus.guard import GuardedSocket
from common.bus.sockets import connect, open_socket
from common.errors import ProtocolError, SilenceError, WeightError
from common.messages import Chunk, ChunkRequest, NotYet, OnWeights, Refusal, WeightManifest
from common.weights.manifest import digest_of
from common.weights.source import WeightSource

log = logging.getLogger(__name__)

OVERHEAD_BYTES = 1 << 10
"""What a Chunk takes beside its payload, and more."""
ASK_AGAIN_S = 0.05
"""After NotYet: little beside the time that a version takes, and twenty small messages a second."""


def request_of(manifest: WeightManifest, base: WeightManifest | None = None) -> ChunkRequest:
    """Asks for the file of exactly these contents, or for the delta that makes them of `base`."""
    wanted = ChunkRequest(version=manifest.version, digest=digest_of(manifest), offset=0, num_bytes=1)
    if base is None:
        return wanted
    return wanted.model_copy(update={"base": base.version, "base_digest": digest_of(base)})


class ChunkServer:
    """Answers the requests for chunks that arrive at a ROUTER socket.

    Consumes ChunkRequest, produces Chunk, NotYet or Refusal, and waits for nothing else: an answer that its
    receiver has no room for is dropped, and the receiver's deadline notices.
    """

    def __init__(self, weights: WeightSource | None, config: BusConfig, name: str = "the learner") -> None:
        self.refused = 0
        self.served_bytes = 0
        """Of chunks that were sent."""
        self._name = name
        self._weights = weights
        self._max_bytes = config.max_message_bytes - OVERHEAD_BYTES

    async def serve(self, socket: GuardedSocket) -> None:
        """Answer for ever."""
        while True:
            identity, *frames = await socket.recv_multipart()
            answer = await self._answer(frames)
            try:
                await socket.send_multipart([identity, *codec.encode(answer)], zmq.NOBLOCK, copy=False)
            except zmq.ZMQError as error:
                if error.errno not in (zmq.EAGAIN, zmq.EHOSTUNREACH):
                    raise
                log.debug("dropped a chunk reason=%s", error)  # gone, or it asked for more than it reads
            else:
                self.served_bytes += len(answer.payload) if isinstance(answer, Chunk) else 0

    async def _answer(self, frames: list[bytes]) -> Chunk | NotYet | Refusal:
        try:
            request = codec.decode(frames, ChunkRequest)
        except ProtocolError as error:
            self.refused += 1
            return Refusal(reason=str(error))
        found = self._weights.find(request) if self._weights else None
        if isinstance(found, NotYet):
            return found
        if found is None:
            return self._not_held(request)
        if request.num_bytes > self._max_bytes:
            return Refusal(reason=f"{request.num_bytes} bytes exceed bus.max_message_bytes")
        try:
            return await asyncio.to_thread(_read, found, request)
        except OSError:
            return self._not_held(request)

    def _not_held(self, request: ChunkRequest) -> Refusal:
        what = "" if request.base is None else f"a delta of version {request.base} to "
        return Refusal(reason=f"{self._name} does not hold {what}version {request.version}")


def _read(path: Path, request: ChunkRequest) -> Chunk:
    with path.open("rb", buffering=0) as file:
        size = os.fstat(file.fileno()).st_size
        payload = os.pread(file.fileno(), request.num_bytes, request.offset)
    return Chunk(version=request.version, offset=request.offset, file_bytes=size, payload=payload)


@dataclass(frozen=True)
class Peer:
    """Who is asked for weights."""

    name: str = "learner"
    """As in `connect`: the learner, or the host whose relay it is."""
    host: str = ""
    """Empty: the learner's."""
    port: int = 0
    patience_s: float = 0.0
    """Silence, or NotYet without progress, after which it is given up."""

    @classmethod
    def learner(cls, config: BusConfig) -> "Peer":
        """The learner's weights channel."""
        return cls(port=config.weights_port, patience_s=config.connect_s)

    def __str__(self) -> str:
        return "the learner" if self.name == "learner" else f"the relay {self.name}"


class ChunkFetch:
    """One file on its way, over a connection of its own, so that no late chunk of an abandoned fetch can get
    into it.
    """

    def __init__(
        self,
        wanted: ChunkRequest,
        config: BusConfig,
        peer: Peer | None = None,
        received: Callable[[int], None] = lambda num_bytes: None,
        max_bytes: int = 1 << 62,
    ) -> None:
        self._received = received
        """Told of every chunk's bytes, and of 0 when the peer itself gets on with it."""
        self._wanted = wanted
        self._version = wanted.version
        self._max_bytes = max_bytes
        """Of the file; who offers a larger one is not believed."""
        self._config = config
        self._peer = peer or Peer.learner(config)
        self._step = min(config.chunk_bytes, config.max_message_bytes - OVERHEAD_BYTES)

    async def run(self, into: Path) -> None:
        """Fill `into`; WeightError when the peer refuses, SilenceError when it falls silent.

        What is in `into` then is the caller's to remove.
        """
        context = zmq.asyncio.Context()
        socket = open_socket(context, zmq.DEALER, self._config)
        socket.setsockopt(zmq.LINGER, 0)
        try:
            connect(socket, self._config, self._peer.port, host=self._peer.host, peer=self._peer.name)
            with into.open("wb", buffering=0) as file:
                await self._fill(socket, file.fileno())
        except OSError as error:
            reason = f"cannot be written to {into}: {error.strerror}"
            raise WeightError(f"version {self._version} {reason}") from None
        finally:
            socket.close()
            context.term()  # nothing lingers, so this does not wait

    async def _fill(self, socket: zmq.asyncio.Socket, file: int) -> None:
        first = await self._first(socket)
        if first.file_bytes > self._max_bytes:
            offered = f"{first.file_bytes} bytes, {self._max_bytes} were announced"
            raise WeightError(f"version {self._version}: {self._peer} offers {offered}")
        await asyncio.to_thread(os.pwrite, file, first.payload, 0)
        remaining = iter(range(self._step, first.file_bytes, self._step))
        pending: set[int] = set()
        await self._fill_credits(socket, pending, remaining)
        while pending:
            chunk = await self._next(socket)
            if not isinstance(chunk, Chunk) or chunk.offset not in pending:
                raise self._unasked()
            expected = min(self._step, first.file_bytes - chunk.offset)
            if chunk.file_bytes != first.file_bytes or len(chunk.payload) != expected:
                raise WeightError(f"version {self._version} changed while it was fetched")
            pending.remove(chunk.offset)
            await self._fill_credits(socket, pending, remaining)
            await asyncio.to_thread(os.pwrite, file, chunk.payload, chunk.offset)

    async def _first(self, socket: zmq.asyncio.Socket) -> Chunk:
        """The first chunk, as soon as the peer has it; SilenceError when it makes no progress."""
        progress, since = -1, time.monotonic()
        while True:
            await self._ask(socket, 0)
            answer = await self._next(socket)
            if isinstance(answer, Chunk):
                if answer.offset:
                    raise self._unasked()
                return answer
            if answer.progress != progress:
                progress, since = answer.progress, time.monotonic()
                self._received(0)
            elif time.monotonic() - since > self._peer.patience_s:
                raise SilenceError(f"version {self._version}: {self._peer} made no progress")
            await asyncio.sleep(ASK_AGAIN_S)

    async def _fill_credits(
        self, socket: zmq.asyncio.Socket, pending: set[int], remaining: Iterator[int]
    ) -> None:
        while len(pending) < self._config.chunks_in_flight:
            offset = next(remaining, None)
            if offset is None:
                return
            await self._ask(socket, offset)
            pending.add(offset)

    async def _ask(self, socket: zmq.asyncio.Socket, offset: int) -> None:
        request = self._wanted.model_copy(update={"offset": offset, "num_bytes": self._step})
        await within(self._peer.patience_s, socket.send_multipart(codec.encode(request)), *self._late())

    async def _next(self, socket: zmq.asyncio.Socket) -> Chunk | NotYet:
        frames = await within(self._peer.patience_s, socket.recv_multipart(), *self._late())
        try:
            answer: Chunk | NotYet | Refusal | ChunkRequest = codec.decode(frames, OnWeights)
        except ProtocolError as error:
            raise WeightError(f"version {self._version}: {error}") from None
        if isinstance(answer, Refusal):
            raise WeightError(answer.reason)
        if isinstance(answer, ChunkRequest) or answer.version != self._version:
            raise self._unasked()
        if isinstance(answer, Chunk):
            self._received(len(answer.payload))
        return answer

    def _unasked(self) -> WeightError:
        return WeightError(f"version {self._version}: {self._peer} sent what was not asked for")

    def _late(self) -> tuple[str, type[WeightError]]:
        return f"version {self._version}: {self._peer}", SilenceError
