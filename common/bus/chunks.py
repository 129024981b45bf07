"""The weights channel: a version's file in chunks, as many under way as the one who fetches has credits.

    actor    ChunkRequest x chunks_in_flight, then one more for each Chunk that arrives
    learner  one Chunk per request, or a Refusal; it remembers nothing between requests

The receiver sets the pace, so a slow one costs the learner no memory.
"""

import asyncio
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import zmq
import zmq.asyncio

from common import codec
from common.aio import within
from common.bus.config import BusConfig
from common.bus.sockets import connect, open_socket
from common.errors import ProtocolError, WeightError
from common.messages import Chunk, ChunkRequest, OnWeights, Refusal
from common.weights.source import WeightSource

log = logging.getLogger(__name__)

OVERHEAD_BYTES = 1 << 10
"""What a Chunk takes beside its payload, and more."""


class ChunkServer:
    """Answers the requests for chunks that arrive at a ROUTER socket.

    Consumes ChunkRequest, produces Chunk or Refusal, and waits for nothing else: an answer that its receiver
    has no room for is dropped, and the receiver's deadline notices.
    """

    def __init__(self, weights: WeightSource | None, config: BusConfig) -> None:
        self.refused = 0
        self._weights = weights
        self._max_bytes = config.max_message_bytes - OVERHEAD_BYTES

    async def serve(self, socket: zmq.asyncio.Socket) -> None:
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

    async def _answer(self, frames: list[bytes]) -> Chunk | Refusal:
        try:
            request = codec.decode(frames, ChunkRequest)
        except ProtocolError as error:
            self.refused += 1
            return Refusal(reason=str(error))
        path = self._weights.path(request.version) if self._weights else None
        if path is None:
            return Refusal(reason=f"the learner does not hold version {request.version}")
        if request.num_bytes > self._max_bytes:
            return Refusal(reason=f"{request.num_bytes} bytes exceed bus.max_message_bytes")
        try:
            return await asyncio.to_thread(_read, path, request)
        except OSError:
            return Refusal(reason=f"the learner does not hold version {request.version}")


def _read(path: Path, request: ChunkRequest) -> Chunk:
    with path.open("rb", buffering=0) as file:
        size = os.fstat(file.fileno()).st_size
        payload = os.pread(file.fileno(), request.num_bytes, request.offset)
    return Chunk(version=request.version, offset=request.offset, file_bytes=size, payload=payload)


@contextmanager
def _whole_or_none(path: Path) -> Iterator[int]:
    """A new file's descriptor; the file is gone again when the body fails."""
    try:
        with path.open("wb", buffering=0) as file:
            yield file.fileno()
    except BaseException:
        path.unlink(missing_ok=True)
        raise


class ChunkFetch:
    """One version on its way into one file, over a connection of its own, so that no late chunk of an
    abandoned fetch can get into it.
    """

    def __init__(self, version: int, config: BusConfig) -> None:
        self._version = version
        self._config = config
        self._step = min(config.chunk_bytes, config.max_message_bytes - OVERHEAD_BYTES)

    async def run(self, into: Path) -> None:
        """Fill `into`; WeightError, and no file, when the learner refuses or is silent for `connect_s`."""
        context = zmq.asyncio.Context()
        socket = open_socket(context, zmq.DEALER, self._config)
        socket.setsockopt(zmq.LINGER, 0)
        try:
            connect(socket, self._config, self._config.weights_port)
            with _whole_or_none(into) as file:
                await self._fill(socket, file)
        except OSError as error:
            reason = f"cannot be written to {into}: {error.strerror}"
            raise WeightError(f"version {self._version} {reason}") from None
        finally:
            socket.close()
            context.term()  # nothing lingers, so this does not wait

    async def _fill(self, socket: zmq.asyncio.Socket, file: int) -> None:
        await self._ask(socket, 0)
        first = await self._next(socket, {0})
        await asyncio.to_thread(os.pwrite, file, first.payload, 0)
        remaining = iter(range(self._step, first.file_bytes, self._step))
        pending: set[int] = set()
        await self._fill_credits(socket, pending, remaining)
        while pending:
            chunk = await self._next(socket, pending)
            expected = min(self._step, first.file_bytes - chunk.offset)
            if chunk.file_bytes != first.file_bytes or len(chunk.payload) != expected:
                raise WeightError(f"version {self._version} changed while it was fetched")
            pending.remove(chunk.offset)
            await self._fill_credits(socket, pending, remaining)
            await asyncio.to_thread(os.pwrite, file, chunk.payload, chunk.offset)

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
        request = ChunkRequest(version=self._version, offset=offset, num_bytes=self._step)
        await within(self._config.connect_s, socket.send_multipart(codec.encode(request)), *self._late())

    async def _next(self, socket: zmq.asyncio.Socket, pending: set[int]) -> Chunk:
        frames = await within(self._config.connect_s, socket.recv_multipart(), *self._late())
        try:
            answer = codec.decode(frames, OnWeights)
        except ProtocolError as error:
            raise WeightError(f"version {self._version}: {error}") from None
        if isinstance(answer, Refusal):
            raise WeightError(answer.reason)
        if not isinstance(answer, Chunk) or answer.version != self._version or answer.offset not in pending:
            raise WeightError(f"version {self._version}: the learner sent what was not asked for")
        return answer

    def _late(self) -> tuple[str, type[WeightError]]:
        return f"version {self._version}: the learner", WeightError
