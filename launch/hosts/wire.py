"""What coordinator and agent say to each other: MessagePack maps over the pipes of one remote command.

request    {"id": 7, "do": "start", ...}          coordinator to agent
answer     {"id": 7, "ok": ...} or {"id": 7, "error": "one line"}
event      {"event": "ended" | "file" | "pong", ...}   agent to coordinator
"""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import msgpack

from common.errors import ProtocolError

READY = b"\0pronghorn-agent-1\n"
"""The agent's first bytes; what a login shell printed before is passed over."""
MAX_GREETING_BYTES = 1 << 20
MAX_MESSAGE_BYTES = 32 << 20
CHUNK_BYTES = 1 << 20
"""Of one piece of a file."""
PING_S = 5.0
SILENCE_S = 60.0
"""Either end takes the other for gone after hearing nothing for so long."""


class Wire:
    """One end. Messages are sent whole, in the order of the calls."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    def post(self, message: dict[str, Any]) -> None:
        """Send without waiting until it is gone."""
        self._writer.write(msgpack.packb(message))

    async def send(self, message: dict[str, Any]) -> None:
        """Send, and wait while the pipe is full; OSError when it is closed."""
        self.post(message)
        await self._writer.drain()

    async def messages(self, silence_s: float = SILENCE_S) -> AsyncIterator[dict[str, Any]]:
        """Every message until the other end closes; TimeoutError after `silence_s` without a byte."""
        unpacker = msgpack.Unpacker(max_buffer_size=MAX_MESSAGE_BYTES)
        while True:
            async with asyncio.timeout(silence_s):
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

    def close(self) -> None:
        """Let the other end read the end."""
        self._writer.close()
