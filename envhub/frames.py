"""How the hub and its workers talk: length-prefixed MessagePack over a socket pair, answers in order.

    hub -> worker    [number, operation, [argument, ...]]
    worker -> hub    [number, "", result]  or  [number, refusal code, message]

Before its first answer a worker sends `GREETING`: it has imported what it needs and listens.
"""

import asyncio
import socket
import struct
from typing import Any, Final

import msgpack

GREETING: Final = ["ready"]
MAX_FRAME_BYTES = 64 << 20
_LENGTH = struct.Struct(">I")


def encode(message: Any) -> bytes:
    """One frame; ValueError when it is larger than `MAX_FRAME_BYTES`."""
    body: bytes = msgpack.packb(message)
    if len(body) > MAX_FRAME_BYTES:
        raise ValueError(f"a frame of {len(body)} bytes: allowed are {MAX_FRAME_BYTES}")
    return _LENGTH.pack(len(body)) + body


def receive(pipe: socket.socket) -> Any:
    """The next message, waiting for it; None when the other end is gone."""
    header = _receive_exactly(pipe, _LENGTH.size)
    body = _receive_exactly(pipe, _LENGTH.unpack(header)[0]) if header else b""
    return msgpack.unpackb(body) if body else None


async def read(reader: asyncio.StreamReader) -> Any:
    """The next message; None when the other end is gone, even in the middle of a message."""
    try:
        header = await reader.readexactly(_LENGTH.size)
        return msgpack.unpackb(await reader.readexactly(_LENGTH.unpack(header)[0]))
    except (asyncio.IncompleteReadError, ConnectionError):
        return None


def _receive_exactly(pipe: socket.socket, size: int) -> bytes:
    """`size` bytes, or none at all when the other end is gone."""
    chunks: list[bytes] = []
    while size > 0:
        chunk = pipe.recv(min(size, 1 << 20))
        if not chunk:
            return b""
        chunks.append(chunk)
        size -= len(chunk)
    return b"".join(chunks)
