"""Why a connection to a server does not come about: ZeroMQ tries for ever and says nothing."""

import math
import time

import zmq
import zmq.asyncio
from zmq.utils.monitor import parse_monitor_message

from common.bus.config import BusConfig
from common.bus.keys import KeyRing, fingerprint
from common.errors import PreflightError

HOPELESS_AFTER = 3
"""So many handshakes broken off by the other side, one after the other, mean a wrong key,"""
HOPELESS_AFTER_S = 1.0
"""if they took this long. Where a handshake succeeded before, `bus.connect_s`: behind a proxy a learner that
is being restarted looks the same."""


class Handshakes:
    """Watches the handshakes of one connecting socket; made before it connects, closed before it is."""

    def __init__(self, socket: zmq.asyncio.Socket, config: BusConfig, who: str) -> None:
        self._socket = socket
        self._who = who
        self._config = config
        self._key = fingerprint(KeyRing(config.keys).own.public) if config.keys else ""
        self._broken_off = 0
        self._since = 0.0
        # Without keys a tunnel to a learner that is not there yet looks the same.
        self._patience_s = HOPELESS_AFTER_S if config.keys else config.connect_s / 2
        self._monitor = socket.get_monitor_socket(
            zmq.EVENT_HANDSHAKE_SUCCEEDED
            | zmq.EVENT_HANDSHAKE_FAILED_AUTH
            | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
            | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
        )

    async def watch(self) -> None:
        """Watch for ever; PreflightError, with what to do, when trying again cannot help."""
        while True:
            event = parse_monitor_message(await self._monitor.recv_multipart())["event"]
            if event == zmq.EVENT_HANDSHAKE_SUCCEEDED:
                self._broken_off = 0
                self._patience_s = self._config.connect_s if self._config.keys else math.inf
            elif event == zmq.EVENT_HANDSHAKE_FAILED_AUTH:
                raise PreflightError(self._not_admitted())
            elif event == zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL:
                raise PreflightError(f"{self._who} {self._another_protocol()}")
            elif self._is_hopeless():
                raise PreflightError(f"{self._who} {self._wrong_key()}")

    def _is_hopeless(self) -> bool:
        now = time.monotonic()
        self._broken_off += 1
        if self._broken_off == 1:
            self._since = now
        return self._broken_off >= HOPELESS_AFTER and now - self._since >= self._patience_s

    def close(self) -> None:
        """Watch no more."""
        self._socket.disable_monitor()
        self._monitor.close()

    def _not_admitted(self) -> str:
        if not self._config.keys:
            return (
                f"{self._who} admits nobody without keys: set bus.keys to a folder made by `pronghorn keys`"
            )
        return (
            f"{self._who} does not admit the key {self._key} of bus.keys = {self._config.keys!r}: "
            "it was revoked, rotated, or is not in the learner's admitted/"
        )

    def _wrong_key(self) -> str:
        if not self._config.keys:
            return f"breaks off every handshake: it {self._another_protocol()}"
        return (
            f"breaks off every handshake: learner.key in bus.keys = {self._config.keys!r} is not its key any "
            "more, it has no keys, or something else listens there"
        )

    def _another_protocol(self) -> str:
        if self._config.keys:
            return (
                "has no keys, or something else listens there; bus.keys must be set on both sides, or neither"
            )
        return "asks for keys, or something else listens there; set bus.keys on both sides, or neither"
