"""Sockets as the configuration wants them: bounded in messages and bytes, and quick to notice a dead peer."""

import asyncio

import zmq
import zmq.asyncio

from common.address import resolve
from common.bus.config import BusConfig, require_keys
from common.bus.keys import KeyRing
from common.errors import ConfigurationError, PreflightError

DOMAIN = b"pronghorn"
LINGER_MS = 1000
"""How long a closing socket may go on sending what was queued."""


def open_socket(context: zmq.asyncio.Context, kind: int, config: BusConfig) -> zmq.asyncio.Socket:
    """An unconnected socket with the bounds of `config`."""
    socket = context.socket(kind)
    socket.setsockopt(zmq.SNDHWM, config.max_queued_messages)
    # A full queue makes ZeroMQ stop reading, and a peer that then breaks off ends this whole process at the
    # next heartbeat (4.3.5: "Assertion failed: !_io_error"). Credits and `Gate` bound what arrives.
    socket.setsockopt(zmq.RCVHWM, 0)
    socket.setsockopt(zmq.MAXMSGSIZE, config.max_message_bytes)
    socket.setsockopt(zmq.LINGER, LINGER_MS)
    socket.setsockopt(zmq.HANDSHAKE_IVL, int(config.handshake_s * 1000) or 1)
    socket.setsockopt(zmq.IPV6, 1)
    # Without heartbeats a peer whose machine vanished is noticed only by TCP, after minutes.
    socket.setsockopt(zmq.HEARTBEAT_IVL, int(config.heartbeat_s * 1000) or 1)
    socket.setsockopt(zmq.HEARTBEAT_TIMEOUT, int(config.actor_timeout_s * 1000) or 1)
    socket.setsockopt(zmq.RECONNECT_IVL, 100)
    socket.setsockopt(zmq.RECONNECT_IVL_MAX, 2000)
    return socket


async def bind(
    socket: zmq.asyncio.Socket, config: BusConfig, port: int, *, host: str = "", name: str = "bus.port"
) -> int:
    """Listen on `port` (0: any) of `host`, by default `config.host`; the port that was bound.

    `name` is the setting that a person would change, as in `bus.ledger_port`. PreflightError when the port
    cannot be had, ConfigurationError when `host` is beyond the loopback interface and there are no keys.
    With keys a `Gate` of the same context says who is let in; without one nobody is.
    """
    host = host or config.host
    _require_keys(config, host, f"{name}: host")
    if config.keys:
        own = KeyRing(config.keys).own
        socket.setsockopt(zmq.CURVE_SERVER, 1)
        socket.setsockopt(zmq.CURVE_PUBLICKEY, own.public)
        socket.setsockopt(zmq.CURVE_SECRETKEY, own.secret)
        socket.setsockopt(zmq.ZAP_DOMAIN, DOMAIN)
        # Without it ZeroMQ lets in whoever encrypts, as long as nobody is there to be asked.
        socket.setsockopt(zmq.ZAP_ENFORCE_DOMAIN, 1)
    address = host if host == "*" else await asyncio.to_thread(resolve, host, f"{name}: host")
    try:
        socket.bind(_endpoint(address, port))
    except zmq.ZMQError as error:
        raise PreflightError(
            f"{name} = {port}: cannot listen on {host}: {error.strerror}; name a free port, or 0 for any"
        ) from None
    endpoint = socket.getsockopt_string(zmq.LAST_ENDPOINT)
    return int(endpoint.rpartition(":")[2])


def connect(
    socket: zmq.asyncio.Socket, config: BusConfig, port: int, *, host: str = "", peer: str = "learner"
) -> None:
    """Connect to `host`, by default `config.host`, now or whenever `peer` listens there.

    With keys nobody but `peer` can answer: the learner, or the relay of the host that has this name.
    """
    host = host or config.host
    _require_keys(config, host, f"{peer}: host")
    if config.keys:
        keys = KeyRing(config.keys)
        socket.setsockopt(zmq.CURVE_PUBLICKEY, keys.own.public)
        socket.setsockopt(zmq.CURVE_SECRETKEY, keys.own.secret)
        socket.setsockopt(zmq.CURVE_SERVERKEY, keys.peer(peer))
    socket.connect(_endpoint(host, port))


def _require_keys(config: BusConfig, host: str, name: str) -> None:
    try:
        require_keys(host, config.keys, name)
    except ValueError as error:
        raise ConfigurationError(str(error)) from None


def _endpoint(host: str, port: int) -> str:
    return f"tcp://[{host}]:{port}" if ":" in host else f"tcp://{host}:{port}"
