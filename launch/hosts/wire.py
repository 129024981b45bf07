"""What coordinator and agent say to each other: MessagePack maps over the pipes of one remote command.

request    {"id": 7, "do": "run", ...}           coordinator to agent; 0: the answer is not waited for
answer     {"id": 7, "ok": ...} or {"id": 7, "error": "one line"}
event      {"event": "file", "name": ..., "offset": ..., "data": ...}   agent to coordinator
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import msgpack

from common.errors import ProtocolError

READY = b"\0pronghorn-agent-1\n"
"""The agent's first bytes; what a login shell printed before is passed over."""
MAX_GREETING_BYTES = 1 << 20
MAX_MESSAGE_BYTES = 32 << 20
CHUNK_BYTES = 1 << 20
"""Of one piece of a file."""
PINGS_PER_SILENCE = 10
"""So many questions in the time after which either end takes a silent one for gone."""


class Wire:
    """One end. Messages are sent whole, in the order of the calls; those to an end that is gone are lost."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, silence_s: float) -> None:
        self.silence_s = silence_s
        """The other end is taken for gone after hearing nothing for so long; may be changed at any time."""
        self._reader = reader
        self._writer = writer

    def post(self, message: dict[str, Any]) -> None:
        """Send without waiting until it is gone."""
        self._writer.write(msgpack.packb(message))

    async def send(self, message: dict[str, Any]) -> None:
        """Send, and wait while the pipe is full; that the other end is gone is learnt by who reads."""
        self.post(message)
        with suppress(OSError):
            await self._writer.drain()

    async def messages(self) -> AsyncIterator[dict[str, Any]]:
        """Every message until the other end closes; TimeoutError after `silence_s` without a byte."""
        unpacker = msgpack.Unpacker(max_buffer_size=MAX_MESSAGE_BYTES)
        while True:
            async with asyncio.timeout(self.silence_s):
                data = await self._reader.read(1 << 18)
            if not data:
                return
            try:
                unpacker.feed(data)
                for message in unpacker:
                    if not isinstance(message, dict):
                        raise ProtocolError(f"expected a map, got {type(message).__name__}")
                    yield message
            except (ValueError, msgpack.UnpackException) as error:
                raise ProtocolError(f"not MessagePack: {error}") from None

    def abort(self) -> None:
        """Close without sending what still waits to be sent; nobody waits for a full pipe any more."""
        self._writer.transport.abort()
