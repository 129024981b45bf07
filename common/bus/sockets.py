"""Sockets as the configuration wants them: bounded in messages and bytes, and quick to notice a dead peer."""

import asyncio
import socket as net

import zmq
import zmq.asyncio

from common.bus.config import BusConfig
from common.errors import PreflightError

LINGER_MS = 1000
"""How long a closing socket may go on sending what was queued."""


def open_socket(context: zmq.asyncio.Context, kind: int, config: BusConfig) -> zmq.asyncio.Socket:
    """An unconnected socket with the bounds of `config`."""
    socket = context.socket(kind)
    socket.setsockopt(zmq.SNDHWM, config.max_queued_messages)
    socket.setsockopt(zmq.RCVHWM, config.max_queued_messages)
    socket.setsockopt(zmq.MAXMSGSIZE, config.max_message_bytes)
    socket.setsockopt(zmq.LINGER, LINGER_MS)
    socket.setsockopt(zmq.IPV6, 1)
    # Without heartbeats a peer whose machine vanished is noticed only by TCP, after minutes.
    socket.setsockopt(zmq.HEARTBEAT_IVL, int(config.heartbeat_s * 1000) or 1)
    socket.setsockopt(zmq.HEARTBEAT_TIMEOUT, int(config.actor_timeout_s * 1000) or 1)
    socket.setsockopt(zmq.RECONNECT_IVL, 100)
    socket.setsockopt(zmq.RECONNECT_IVL_MAX, 2000)
    return socket


async def bind(socket: zmq.asyncio.Socket, config: BusConfig, field: str) -> int:
    """Listen on the port that `config.<field>` names and return it; PreflightError when it cannot be."""
    port = int(getattr(config, field))
    host = await _address(config.host)
    try:
        socket.bind(f"tcp://{host}:{port}")
    except zmq.ZMQError as error:
        raise PreflightError(
            f"bus.{field} = {port}: cannot listen on {config.host}: {error.strerror}; "
            "name a free port, or 0 for any"
        ) from None
    endpoint = socket.getsockopt_string(zmq.LAST_ENDPOINT)
    return int(endpoint.rpartition(":")[2])


def connect(socket: zmq.asyncio.Socket, config: BusConfig, port: int) -> None:
    """Connect, now or whenever the learner listens there."""
    host = f"[{config.host}]" if ":" in config.host else config.host
    socket.connect(f"tcp://{host}:{port}")


async def _address(host: str) -> str:
    """`host` as a numeric address, which is what can be bound; PreflightError when it has none."""
    if host == "*":
        return host
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, None, type=net.SOCK_STREAM)
    except OSError as error:
        raise PreflightError(f"bus.host = {host!r}: no such host: {error.strerror}") from None
    address = str(found[0][4][0])
    return f"[{address}]" if ":" in address else address
