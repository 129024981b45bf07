"""The limits of one serving socket: connections, bytes and messages per connection, frames per message.

ZeroMQ bounds the size of a frame and the number of messages in a queue, and nothing else: a message of
endlessly many frames is kept until its end, a queue of large messages until it is read. So the bytes that
each connection sent are asked of TCP, and one that sends what no actor would is shut down at the descriptor
that ZeroMQ has for it. What it sent before is dropped; an honest actor connects again.
"""

import asyncio
import logging
import os
import socket as net
import struct
import time
from collections.abc import Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from typing import Any

import zmq
import zmq.asyncio
from zmq.utils.monitor import parse_monitor_message

from common.bus.admission import Admission, Quiet
from common.bus.limits import BURST_S, Limits

log = logging.getLogger(__name__)

TURNS = 64
"""After so many messages the event loop's other tasks have their turn."""
FRAME_OVERHEAD_BYTES = 64
"""What a frame takes on the wire beside its content, encrypted or not, and more."""
ALL_UNREAD = 8
"""All connections together may have this many times the unread bytes of one."""
BYTES_RECEIVED_AT = 128
"""Where `tcpi_bytes_received` lies in `struct tcp_info` (Linux 4.1 and later)."""


@dataclass(eq=False)
class Connection:
    """One peer's connection, by the file descriptor that ZeroMQ has for it."""

    descriptor: int
    peer: Any
    """Address and port, as the socket says; None when it ended before it was looked at."""
    messages_left: float
    bytes_left: float
    asked_at: float
    """When TCP was last asked, and the next two were topped up; seconds of the monotonic clock."""
    spoke_at: float
    received: int = 0
    """Bytes, as TCP counts them."""
    read: int = 0
    """Bytes that were handed on, with what they took on the wire; the event loop alone counts them."""
    idle: float = 0.0
    """Bytes that heartbeats may have taken; this and the next two are of the thread that looks."""
    settled: int = 0
    """What was received and not handed on at a moment when nothing was unread."""
    unread: int = 0
    host: str = ""
    """The name that its key is admitted under, once it has said something."""
    has_spoken: bool = False
    is_cut: bool = False

    @property
    def shown(self) -> str:
        """Who this is, in the log."""
        return f"{self.host or 'unknown'}@{self.address}"

    @property
    def address(self) -> str:
        """The other side's, without the port."""
        return str(self.peer[0]) if self.peer else "unknown"


class GuardedSocket:
    """A ROUTER or XPUB, not bound yet, of which only messages within `limits` are received.

    As long as it is in use `run` runs in the background, and a thread calls `look` again and again: it must
    not wait for an event loop that the flood keeps busy. `close` closes the socket.
    """

    def __init__(
        self, socket: zmq.asyncio.Socket, channel: str, limits: Limits, admission: Admission | None = None
    ) -> None:
        self.refused = 0
        """Messages over a limit, and connections that ended without a message."""
        self.raw = socket
        self._channel = channel
        self._limits = limits
        self._admission = admission
        self._quiet = Quiet()
        self._turn = 0
        self._open: dict[int, Connection] = {}
        self._ended: dict[int, Connection] = {}
        socket.setsockopt(zmq.MAXMSGSIZE, limits.max_message_bytes)
        socket.setsockopt(zmq.SNDHWM, limits.answers_waiting)
        self._monitor = socket.get_monitor_socket(zmq.EVENT_ACCEPTED | zmq.EVENT_DISCONNECTED)

    async def receive(self) -> tuple[list[bytes], str]:
        """The next message's frames, and the name of the host whose key it came with; "" without keys."""
        while True:
            self._turn += 1
            if self._turn % TURNS == 0:
                # While messages are waiting the next line does not wait, and others would never run.
                await asyncio.sleep(0)
            frames = await self.raw.recv_multipart(copy=False)
            host = str(_property(frames[-1], "User-Id") or "") if self._admission else ""
            if self._passes(frames, host):
                return [frame.bytes for frame in frames], host

    def setsockopt(self, option: int, value: int) -> None:
        """As the socket's own."""
        self.raw.setsockopt(option, value)

    async def recv_multipart(self) -> list[bytes]:
        """The next message's frames."""
        return (await self.receive())[0]

    async def send_multipart(
        self, frames: Sequence[bytes | memoryview], flags: int = 0, copy: bool = True
    ) -> None:
        """As the socket's own."""
        await self.raw.send_multipart(frames, flags, copy=copy)

    async def run(self) -> None:
        """Follow who comes and goes, for ever."""
        while True:
            event = parse_monitor_message(await self._monitor.recv_multipart())
            descriptor = int(event["value"])
            if event["event"] == zmq.EVENT_ACCEPTED:
                # One that spoke before this was read is known already.
                if descriptor not in self._open:
                    self._meet(descriptor)
            elif connection := self._open.pop(descriptor, None):
                self._ended[descriptor] = connection

    def close(self) -> None:
        """Close the socket too."""
        self.raw.disable_monitor()
        self._monitor.close()
        self.raw.close()

    # --- messages ---------------------------------------------------------------------------------
    def _passes(self, frames: list[zmq.Frame], host: str) -> bool:
        connection = self._speaker(frames[-1])
        num_bytes = sum(map(len, frames))
        if connection is not None:
            connection.has_spoken = True
            connection.host = host
            connection.read += num_bytes + FRAME_OVERHEAD_BYTES * len(frames)
            if connection.is_cut:
                self.refused += 1
                return False
            if not self._takes_message(connection):
                limits = self._limits
                many = f"{limits.messages_at_once:g} messages, and {limits.messages_per_s:g} per second"
                self._cut(connection, f"more than {many}")
                return False
        if len(frames) - 1 <= self._limits.max_frames and num_bytes <= self._limits.max_message_bytes:
            return True
        self.refused += 1
        log.debug("refused a message channel=%s frames=%d bytes=%d", self._channel, len(frames), num_bytes)
        return False

    def _takes_message(self, connection: Connection) -> bool:
        now = time.monotonic()
        earned = (now - connection.spoke_at) * self._limits.messages_per_s
        connection.messages_left = min(connection.messages_left + earned, self._limits.messages_at_once) - 1
        connection.spoke_at = now
        return connection.messages_left >= 0

    def _speaker(self, frame: zmq.Frame) -> Connection | None:
        """The connection that a message came over; None when it is closed already."""
        descriptor = _property(frame, zmq.SRCFD)
        if descriptor is None:
            return None
        number = int(descriptor)
        return self._open.get(number) or self._ended.get(number) or self._meet(number)

    # --- connections ------------------------------------------------------------------------------
    def _meet(self, descriptor: int) -> Connection:
        """A new one; it may have ended already, and is forgotten then at the next look."""
        with _duplicate(descriptor) or nullcontext() as opened:
            peer = _peer(opened)
        now = time.monotonic()
        limits = self._limits
        connection = Connection(
            descriptor, peer, limits.messages_at_once, limits.bytes_per_s * BURST_S, now, now
        )
        self._open[descriptor] = connection
        if len(self._open) > limits.max_connections:
            self._cut(connection, f"more than {limits.max_connections} connections")
        return connection

    def look(self) -> None:
        """Ask TCP about every connection, and cut those that went too far; called in a thread of its own."""
        for descriptor, connection in list(self._ended.items()):
            self.refused += not connection.has_spoken
            self._ended.pop(descriptor, None)
        now = time.monotonic()
        admitted = self._admission.names() if self._admission else None
        here = [connection for connection in list(self._open.values()) if not connection.is_cut]
        for connection in here:
            self._look_at(connection, now, admitted)
        unread = sorted((c for c in here if not c.is_cut), key=lambda connection: connection.unread)
        if (
            unread
            and sum(connection.unread for connection in unread) > ALL_UNREAD * self._limits.unread_bytes
        ):
            self._cut(unread[-1], "the most unread bytes of too many")

    def _look_at(self, connection: Connection, now: float, admitted: set[str] | None) -> None:
        limits = self._limits
        received = self._received(connection)
        if received is None:
            if self._open.get(connection.descriptor) is connection:
                del self._open[connection.descriptor]
                self._ended[connection.descriptor] = connection
            return
        elapsed = now - connection.asked_at
        left = min(connection.bytes_left + elapsed * limits.bytes_per_s, limits.bytes_per_s * BURST_S)
        connection.bytes_left = left - (received - connection.received)
        connection.asked_at = now
        connection.received = received
        connection.idle += elapsed * limits.idle_bytes_per_s
        held = received - connection.read - int(connection.idle)
        connection.settled = min(connection.settled, held)
        connection.unread = held - connection.settled
        if connection.bytes_left < 0:
            self._cut(connection, f"more than {limits.bytes_per_s:g} bytes per second")
        elif connection.unread > limits.unread_bytes:
            self._cut(connection, f"{connection.unread} unread bytes, or a message without end")
        elif admitted is not None and connection.has_spoken and connection.host not in admitted:
            self._cut(connection, "its key is no longer admitted")

    def _received(self, connection: Connection) -> int | None:
        """Bytes that TCP has received for it; None when it is closed."""
        with _duplicate(connection.descriptor) or nullcontext() as opened:
            if opened is None or connection.peer is None or _peer(opened) != connection.peer:
                return None
            told = opened.getsockopt(net.IPPROTO_TCP, net.TCP_INFO, BYTES_RECEIVED_AT + 8)
        return int(struct.unpack_from("=Q", told, BYTES_RECEIVED_AT)[0])

    def _cut(self, connection: Connection, reason: str) -> None:
        """Shut it down; what it sent and nobody has read yet is refused when it is."""
        self.refused += 1
        connection.is_cut = True
        if self._quiet.is_due(connection.address):
            log.warning(
                "cut a connection channel=%s peer=%s reason=%s", self._channel, connection.shown, reason
            )
        with _duplicate(connection.descriptor) or nullcontext() as opened:
            if opened is not None and connection.peer is not None and _peer(opened) == connection.peer:
                _abort(opened)


def _duplicate(descriptor: int) -> net.socket | None:
    """A second handle on what `descriptor` is now, which cannot become something else; None: no socket."""
    copy = -1
    try:
        copy = os.dup(descriptor)
        return net.socket(fileno=copy)
    except OSError:
        if copy >= 0:
            os.close(copy)
        return None


def _abort(opened: net.socket) -> None:
    """End a connection with a reset, and forget what it sent and ZeroMQ has not taken yet."""
    with suppress(OSError):  # it has ended by itself
        opened.setsockopt(net.SOL_SOCKET, net.SO_LINGER, struct.pack("ii", 1, 0))
        opened.shutdown(net.SHUT_RDWR)
        while opened.recv(1 << 24, net.MSG_TRUNC | net.MSG_DONTWAIT):
            pass


def _peer(opened: net.socket | None) -> Any:
    """The other side of a connected socket; None for anything else."""
    try:
        return opened and opened.getpeername()
    except OSError:
        return None


def _property(frame: zmq.Frame, name: str | int) -> Any:
    """A property of the connection that a frame came over; None when it has none."""
    try:
        return frame.get(name)
    except zmq.ZMQError:
        return None
