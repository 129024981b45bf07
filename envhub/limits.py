"""How often a client may call: token buckets in a bounded table."""

import ipaddress
import time
from collections.abc import Callable
from functools import lru_cache
from typing import Final

MAX_CLIENTS: Final = 4096
"""Clients that are remembered; past that whoever was seen longest ago is forgotten, and may call at once."""
BURST_S: Final = 2.0
"""A client that was silent may send so many seconds' worth of calls at once."""
_V6_PREFIX: Final = 64
"""Whoever has one address of version 6 has at least all of these."""


class Buckets:
    """One bucket for each client: `rate` tokens flow in per second, `BURST_S` seconds' worth at most.

        if wait_s := buckets.take("10.0.0.7"):
            ...                                    # not now; in so many seconds there is a token

    A rate of 0 is no limit. At least one token always fits.
    """

    def __init__(self, rate: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._period_s = 1.0 / rate if rate else 0.0
        self._burst_s = max(BURST_S, self._period_s)
        self._clock = clock
        self._empty_until: dict[str, float] = {}
        """Client -> when the tokens it has taken will all have flowed in again; last seen last."""

    def __len__(self) -> int:
        """Clients that are remembered."""
        return len(self._empty_until)

    def take(self, client: str) -> float:
        """0.0, and the token is taken; or the seconds until there is one."""
        if not self._period_s:
            return 0.0
        now = self._clock()
        until = max(self._empty_until.pop(client, now), now) + self._period_s
        late_s = until - now - self._burst_s
        # A tenth of a period for what floating point loses.
        is_in_time = late_s <= 0.1 * self._period_s
        self._empty_until[client] = until if is_in_time else until - self._period_s
        if len(self._empty_until) > MAX_CLIENTS:
            del self._empty_until[next(iter(self._empty_until))]
        return 0.0 if is_in_time else late_s


@lru_cache(maxsize=MAX_CLIENTS)
def client_of(address: str) -> str:
    """Whose calls are counted together: an address of version 4, a network of version 6."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if found.version == 4 or found.is_loopback:
        return str(found)
    return str(ipaddress.ip_network((found, _V6_PREFIX), strict=False))
