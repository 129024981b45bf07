"""Who may connect where this process serves: ZeroMQ asks here, before a peer can say or learn anything.

The questions have the form of ZAP (rfc.zeromq.org/spec/27); one `Admission` answers all of a context.
"""

import logging
import time
from collections import OrderedDict

import zmq
import zmq.asyncio
from zmq.utils import z85

from common.bus.keys import KeyRing, fingerprint

log = logging.getLogger(__name__)

ENDPOINT = "inproc://zeromq.zap.01"
LOG_INTERVAL_S = 60.0
"""A refused address makes one line in the log per interval."""
MAX_ADDRESSES = 1024
"""Refused addresses remembered at a time."""


class Quiet:
    """Whether a line about `address` is due: once per interval, whatever the address does."""

    def __init__(self) -> None:
        self._said_at: OrderedDict[str, float] = OrderedDict()

    def is_due(self, address: str) -> bool:
        """True when nothing was said of `address` for `LOG_INTERVAL_S`; notes that it is said now."""
        now = time.monotonic()
        if now - self._said_at.get(address, -LOG_INTERVAL_S) < LOG_INTERVAL_S:
            return False
        self._said_at.pop(address, None)
        self._said_at[address] = now
        if len(self._said_at) > MAX_ADDRESSES:
            self._said_at.popitem(last=False)
        return True


class Admission:
    """Lets in the keys that `keys` admits at this moment, under the names that they have there.

    Made before anything of the context is bound: ZeroMQ refuses everybody while nobody answers.
    """

    def __init__(self, context: zmq.asyncio.Context, keys: KeyRing) -> None:
        keys.check_admitted()
        self._keys = keys
        self._quiet = Quiet()
        self._socket = context.socket(zmq.REP)
        self._socket.setsockopt(zmq.LINGER, 0)
        self._socket.bind(ENDPOINT)

    async def run(self) -> None:
        """Answer for ever."""
        while True:
            await self._socket.send_multipart(self._answer(await self._socket.recv_multipart()))

    def names(self) -> set[str]:
        """Of the hosts that may (still) be here."""
        return set(self._keys.admitted().values())

    def close(self) -> None:
        """Answer no more, after everything that serves is closed."""
        self._socket.close()

    def _answer(self, question: list[bytes]) -> list[bytes]:
        version, number, _, address, _, mechanism, *credentials = question
        public = z85.encode(credentials[0]) if mechanism == b"CURVE" and len(credentials) == 1 else b""
        name = self._keys.admitted().get(public)
        if name is not None:
            return [version, number, b"200", b"OK", name.encode(), b""]
        shown = address.decode("ascii", "replace")
        if self._quiet.is_due(shown):
            log.warning("refused a stranger address=%s key=%s", shown, fingerprint(public))
        return [version, number, b"400", b"not admitted", b"", b""]
