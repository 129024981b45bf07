"""The policy channel as one subscriber hears it: the newest announcement, and that from before it came."""

import logging
import secrets

import zmq
import zmq.asyncio

from common import codec
from common.bus.config import BusConfig
from common.bus.newest import Newest
from common.bus.sockets import connect, open_socket
from common.bus.tcp import ANNOUNCEMENT, SNAPSHOT
from common.errors import ProtocolError
from common.messages import PolicyAnnouncement

log = logging.getLogger(__name__)


class PolicyFeed:
    """Subscribed from `connect` on, also to a learner that comes later or is started again.

    feed = PolicyFeed(context, config)
    feed.connect()
    async with background(feed.follow()):
        announcement = await feed.next()
    feed.close()
    """

    def __init__(self, context: zmq.asyncio.Context, config: BusConfig) -> None:
        self.refused = 0
        """Malformed announcements, which were dropped."""
        self.socket = open_socket(context, zmq.SUB, config)
        self._config = config
        self._newest: Newest[PolicyAnnouncement] = Newest()

    def connect(self) -> None:
        """Subscribe, then connect: no announcement falls between the snapshot and the stream."""
        self.socket.subscribe(ANNOUNCEMENT)
        self.socket.subscribe(SNAPSHOT + secrets.token_hex(16).encode())
        connect(self.socket, self._config, self._config.policy_port)

    async def follow(self) -> None:
        """Keep the newest announcement, for ever."""
        while True:
            _, *frames = await self.socket.recv_multipart()
            try:
                self._newest.put(codec.decode(frames, PolicyAnnouncement))
            except ProtocolError as error:
                self.refused += 1
                log.warning("dropped a malformed message channel=policy reason=%s", error)

    async def next(self) -> PolicyAnnouncement:
        """The newest announcement not returned yet; waits for one."""
        return await self._newest.take()

    def close(self) -> None:
        """Free the socket."""
        self.socket.close()
