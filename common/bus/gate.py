"""All that one process serves over TCP: who may connect, within which limits, and what was refused."""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

import zmq
import zmq.asyncio

from common.aio import background
from common.bus.admission import Admission
from common.bus.config import BusConfig
from common.bus.guard import GuardedSocket
from common.bus.keys import KeyRing
from common.bus.limits import Limits
from common.bus.sockets import bind, open_socket

LOOK_S = 0.1
"""How often the guard looks at every connection."""


class Gate:
    """The serving sockets of one context.

        gate = Gate(context, config)
        weights = gate.socket(zmq.ROUTER, "weights", weights_limits(config))
        port = await gate.bind(weights, config.weights_port, name="bus.weights_port")
        async with background(gate.run()):
            frames, host = await weights.receive()
        gate.close()

    With keys nobody is let in before `run`, and nobody of whom `admitted/` does not have the key.
    ConfigurationError when the keys cannot be used.
    """

    def __init__(self, context: zmq.asyncio.Context, config: BusConfig) -> None:
        self._context = context
        self._config = config
        self._admission = Admission(context, KeyRing(config.keys)) if config.keys else None
        self._sockets: list[GuardedSocket] = []

    @property
    def refused(self) -> int:
        """Connections that came to nothing or went too far, and messages over a limit."""
        return sum(socket.refused for socket in self._sockets)

    def socket(self, kind: int, channel: str, limits: Limits) -> GuardedSocket:
        """A socket that is to be bound; set what it needs with its `setsockopt` before."""
        guarded = GuardedSocket(
            open_socket(self._context, kind, self._config), channel, limits, self._admission
        )
        self._sockets.append(guarded)
        return guarded

    async def bind(self, socket: GuardedSocket, port: int, *, host: str = "", name: str = "bus.port") -> int:
        """As `sockets.bind`."""
        return await bind(socket.raw, self._config, port, host=host, name=name)

    async def run(self) -> None:
        """Admit, follow and limit, for ever."""
        loops = [socket.run() for socket in self._sockets]
        if self._admission:
            loops.append(self._admission.run())
        with ThreadPoolExecutor(1, "bus-guard") as thread:
            stopped = threading.Event()
            try:
                async with background(*loops):
                    await asyncio.get_running_loop().run_in_executor(thread, self._look, stopped)
            finally:
                stopped.set()

    def _look(self, stopped: threading.Event) -> None:
        while not stopped.wait(LOOK_S):
            for socket in self._sockets:
                socket.look()

    def close(self) -> None:
        """Close every socket; the context is the caller's."""
        for socket in self._sockets:
            socket.close()
        if self._admission:
            self._admission.close()
