"""How much one peer may send on each channel: far above what an honest one sends, far below what hurts."""

from dataclasses import dataclass

from common.bus.config import BusConfig
from common.codec import FRAME_BYTES

REQUEST_BYTES = 16 << 10
"""No request for weights is larger."""
REQUESTS_UNREAD_BYTES = 1 << 20
"""What requests may wait to be read."""
REQUEST_BYTES_PER_S = 1 << 20
SUBSCRIPTION_BYTES = 1 << 10
"""No subscription is longer: ZeroMQ keeps each until the connection ends, in many times its length."""
MAX_SUBSCRIPTIONS = 16
"""Of one connection, as long as it lasts; an actor makes two."""
CHUNKS_WAITING = 4
"""Times `chunks_in_flight`: one that asks for chunks and does not read them must not fill the memory."""
ANNOUNCEMENTS_WAITING = 100
HEARTBEAT_BYTES = 256
"""What ZeroMQ says to itself per heartbeat, encrypted, and more."""
BURST_S = 4.0
"""A peer that was silent may send as many bytes at once as in this time,"""
MESSAGE_BURST_S = 2.0
"""and as many messages as in this."""


@dataclass(frozen=True)
class Limits:
    """Of one socket; all but `max_connections` hold for each connection by itself."""

    max_connections: int
    max_message_bytes: int
    """All frames of a message together."""
    max_frames: int
    messages_at_once: float
    messages_per_s: float
    """What it may send again of those; 0: no more, ever."""
    bytes_per_s: float
    idle_bytes_per_s: float
    """What heartbeats take, and more."""
    answers_waiting: int
    """For one that does not read them; later ones are lost."""
    unread_bytes: float
    """Sent and not read yet, or part of a message that never ends; all connections together may have 8 times
    as much."""


def ledger_limits(config: BusConfig) -> Limits:
    """Actors submit trajectories: large, and many after a learner's restart."""
    return Limits(
        max_connections=config.max_connections,
        max_message_bytes=config.max_message_bytes,
        max_frames=8 + config.max_message_bytes // FRAME_BYTES,
        messages_at_once=config.max_messages_per_s * MESSAGE_BURST_S,
        messages_per_s=config.max_messages_per_s,
        bytes_per_s=config.max_bytes_per_s,
        idle_bytes_per_s=HEARTBEAT_BYTES / config.heartbeat_s,
        answers_waiting=config.max_queued_messages,
        unread_bytes=2.0 * config.max_message_bytes,
    )


def weights_limits(config: BusConfig) -> Limits:
    """Whoever fetches weights sends small requests."""
    return Limits(
        max_connections=config.max_connections,
        max_message_bytes=REQUEST_BYTES,
        max_frames=4,
        messages_at_once=config.max_messages_per_s * MESSAGE_BURST_S,
        messages_per_s=config.max_messages_per_s,
        bytes_per_s=max(REQUEST_BYTES_PER_S, config.max_messages_per_s * 256),
        idle_bytes_per_s=HEARTBEAT_BYTES / config.heartbeat_s,
        answers_waiting=CHUNKS_WAITING * config.chunks_in_flight,
        unread_bytes=REQUESTS_UNREAD_BYTES,
    )


def policy_limits(config: BusConfig) -> Limits:
    """A subscription is tiny, and all that a subscriber sends."""
    return Limits(
        max_connections=config.max_connections,
        max_message_bytes=SUBSCRIPTION_BYTES,
        max_frames=1,
        messages_at_once=MAX_SUBSCRIPTIONS,
        messages_per_s=0.0,
        bytes_per_s=REQUEST_BYTES_PER_S / BURST_S,
        idle_bytes_per_s=HEARTBEAT_BYTES / config.heartbeat_s,
        answers_waiting=min(ANNOUNCEMENTS_WAITING, config.max_queued_messages),
        unread_bytes=REQUESTS_UNREAD_BYTES,
    )
