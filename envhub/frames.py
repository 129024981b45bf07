"""How the hub and its workers talk: MessagePack values, one after the other, over a socket pair.

    hub -> worker    [number, operation, [argument, ...]]
    worker -> hub    [number, "", result]  or  [number, refusal code, message]

Answers come in the order of the requests. Before its first answer a worker sends `GREETING`: it has imported
what it needs and listens. Several values may travel in one piece, and one in several.
"""

import asyncio
import socket
from typing import Any, Final

import msgpack

GREETING: Final = ["ready"]
MAX_FRAME_BYTES = 64 << 20
PIECE_BYTES: Final = 1 << 16


def encode(message: Any) -> bytes:
    """One value as bytes, half a surrogate pair as `?`.

    ValueError, TypeError or OverflowError when it is more than `MAX_FRAME_BYTES`, or no plain value.
    """
    body: bytes = msgpack.packb(message, unicode_errors="replace")
    if len(body) > MAX_FRAME_BYTES:
        raise ValueError(f"a frame of {len(body)} bytes: allowed are {MAX_FRAME_BYTES}")
    return body


NONSENSE: Final = (ValueError, TypeError, msgpack.UnpackException)
"""What reading raises when the other end sent what is no frame, or larger than one may be."""


class Inbox:
    """The values that come from the other end, whole; one of `NONSENSE` where they are none."""

    def __init__(self) -> None:
        # What is not a frame yet, and the piece that may end it.
        self._unpacker = msgpack.Unpacker(max_buffer_size=MAX_FRAME_BYTES + PIECE_BYTES, strict_map_key=False)

    def receive(self, pipe: socket.socket) -> list[Any]:
        """Wait for the next values, one or more; none when the other end is gone."""
        while piece := pipe.recv(PIECE_BYTES):
            if values := self._taken(piece):
                return values
        return []

    async def read(self, reader: asyncio.StreamReader) -> list[Any]:
        """The same without blocking the loop."""
        try:
            while piece := await reader.read(PIECE_BYTES):
                if values := self._taken(piece):
                    return values
        except ConnectionError:
            return []
        return []

    def _taken(self, piece: bytes) -> list[Any]:
        self._unpacker.feed(piece)
        return list(self._unpacker)
