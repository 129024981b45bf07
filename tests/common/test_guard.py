"""How a connection's unread bytes are counted; floods over real sockets are in `tests/fuzz`."""

import zmq
import zmq.asyncio

from common.bus.config import BusConfig
from common.bus.guard import Connection, GuardedSocket
from common.bus.limits import policy_limits

HEARTBEAT_S = 60.0
HEARTBEAT_BYTES = 100


class ToldSocket(GuardedSocket):
    """Is told what TCP has received."""

    told = 0

    def _received(self, connection: Connection) -> int:
        return self.told


async def test_the_heartbeats_of_a_silent_peer_never_count_as_unread() -> None:
    limits = policy_limits(BusConfig(heartbeat_s=HEARTBEAT_S))
    with zmq.asyncio.Context() as context:
        guarded = ToldSocket(context.socket(zmq.XPUB), "policy", limits)
        peer = Connection(0, None, limits.messages_at_once, limits.bytes_per_s, asked_at=0.0, spoke_at=0.0)
        for tenth in range(1, 6000):
            now = tenth / 10
            guarded.told = HEARTBEAT_BYTES * int(now / HEARTBEAT_S)
            guarded._look_at(peer, now, None)
            assert peer.unread <= HEARTBEAT_BYTES
        guarded.close()
