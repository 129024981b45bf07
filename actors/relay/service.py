"""Puts a relay together: its store, its feed, its port and its status file; all end with the body."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import zmq
import zmq.asyncio

from actors.relay.config import RelayRoleConfig
from actors.relay.relay import Relay
from actors.relay.status import status_path
from common.aio import background
from common.bus.chunks import ChunkServer
from common.bus.gate import Gate
from common.bus.handshake import Handshakes
from common.bus.limits import weights_limits
from common.bus.policy_feed import PolicyFeed
from common.errors import ConfigurationError
from common.run_directory import write_json
from common.weights.store import WeightStore

log = logging.getLogger(__name__)


class Service:
    """A running relay."""

    def __init__(self, relay: Relay, name: str, port: int) -> None:
        self.relay = relay
        self.name = name
        self.port = port
        """Where other relays find it."""


@asynccontextmanager
async def serve(config: RelayRoleConfig, name: str, root: Path | None = None) -> AsyncIterator[Service]:
    """A relay of the run, on the way until the body ends; then nothing of it is left in memory.

    PreflightError when this host has one already, or when the learner does not admit its key;
    ConfigurationError when it is told to fetch from itself or `bus.policy_port` is not known.
    """
    _check(config, name)
    async with AsyncExitStack() as stack:
        store = WeightStore(config.run.folder.path, keep=config.relay.keep_versions, root=root)
        stack.callback(store.close)
        context = zmq.asyncio.Context()
        stack.push_async_callback(asyncio.to_thread, context.term)
        feed = PolicyFeed(context, config.bus)
        stack.callback(feed.close)
        who = f"relay {name!r}: the learner at {config.bus.host}:{config.bus.policy_port}"
        handshakes = Handshakes(feed.socket, config.bus, who)
        stack.callback(handshakes.close)
        relay = Relay(config.relay, config.bus, store, feed.next)
        chunks = ChunkServer(relay, config.bus, f"the relay {name}")
        gate = Gate(context, config.bus)
        stack.callback(gate.close)
        socket = gate.socket(zmq.ROUTER, "weights", weights_limits(config.bus))
        socket.setsockopt(zmq.ROUTER_MANDATORY, 1)
        socket.setsockopt(zmq.ROUTER_HANDOVER, 1)
        port = await gate.bind(socket, config.relay.port, host=config.relay.host, name="relay.port")
        feed.connect()
        service = Service(relay, name, port)
        log.info(
            "relaying port=%d parent=%s store=%s", port, config.relay.parent or "learner", store.directory
        )
        loops = (gate.run(), handshakes.watch(), feed.follow(), chunks.serve(socket), relay.follow())
        async with background(*loops, _report(config, service, chunks, gate, feed)):
            yield service


def _check(config: RelayRoleConfig, name: str) -> None:
    if not config.bus.policy_port or not config.bus.weights_port:
        raise ConfigurationError(
            f"bus.policy_port = {config.bus.policy_port}, bus.weights_port = {config.bus.weights_port}: a "
            "relay must know both; allowed are the ports that the learner listens on"
        )
    address = config.relay.parent_address
    if address is not None and address[0] in (name, "learner"):
        raise ConfigurationError(
            f"relay.parent = {config.relay.parent!r}: the parent of {name!r} must be another relay; "
            "allowed is empty too: the learner"
        )


async def _report(
    config: RelayRoleConfig, service: Service, chunks: ChunkServer, gate: Gate, feed: PolicyFeed
) -> None:
    """Write the status after every change, and every heartbeat, for ever."""
    status = service.relay.status
    while True:
        service.relay.changed.clear()
        status.served_bytes = chunks.served_bytes
        status.refused = chunks.refused + gate.refused + feed.refused
        row = status.row(service.name, service.port, time.time())
        await asyncio.to_thread(write_json, status_path(config.run.folder.path, service.name), row)
        try:
            async with asyncio.timeout(config.bus.heartbeat_s):
                await service.relay.changed.wait()
        except TimeoutError:
            continue
