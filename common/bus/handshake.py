"""Why a connection to a server does not come about: ZeroMQ tries for ever and says nothing."""

import zmq
import zmq.asyncio
from zmq.utils.monitor import parse_monitor_message

from common.bus.config import BusConfig
from common.bus.keys import KeyRing, fingerprint
from common.errors import PreflightError

HOPELESS_AFTER = 3
"""So many handshakes broken off by the other side, one after the other, mean a wrong key."""


class Handshakes:
    """Watches the handshakes of one connecting socket; made before it connects, closed before it is."""

    def __init__(self, socket: zmq.asyncio.Socket, config: BusConfig, who: str) -> None:
        self._socket = socket
        self._who = who
        self._config = config
        self._broken_off = 0
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
            elif event == zmq.EVENT_HANDSHAKE_FAILED_AUTH:
                raise PreflightError(self._not_admitted())
            elif event == zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL:
                raise PreflightError(f"{self._who} {self._another_protocol()}")
            else:
                self._broken_off += 1
                if self._config.keys and self._broken_off >= HOPELESS_AFTER:
                    raise PreflightError(
                        f"{self._who} breaks off every handshake: learner.key in bus.keys = "
                        f"{self._config.keys!r} is not its key any more, or something else listens there"
                    )

    def close(self) -> None:
        """Watch no more."""
        self._socket.disable_monitor()
        self._monitor.close()

    def _not_admitted(self) -> str:
        if not self._config.keys:
            return (
                f"{self._who} admits nobody without keys: set bus.keys to a folder made by `pronghorn keys`"
            )
        key = fingerprint(KeyRing(self._config.keys).own.public)
        return (
            f"{self._who} does not admit the key {key} of bus.keys = {self._config.keys!r}: "
            "it was revoked, rotated, or is not in the learner's admitted/"
        )

    def _another_protocol(self) -> str:
        if self._config.keys:
            return (
                "has no keys, or something else listens there; bus.keys must be set on both sides, or neither"
            )
        return "asks for keys, or something else listens there; set bus.keys on both sides, or neither"
