"""Where the bus listens and how patient it is."""

from pydantic import Field

from common.config import Section


class BusConfig(Section):
    """One port per channel on the learner's rank 0; port 0 lets `pronghorn run` choose a free one."""

    host: str = "127.0.0.1"
    """Where the learner binds and actors connect."""
    ledger_port: int = Field(default=0, ge=0, le=65535)
    policy_port: int = Field(default=0, ge=0, le=65535)
    weights_port: int = Field(default=0, ge=0, le=65535)
    heartbeat_s: float = Field(default=2.0, gt=0)
    max_missed_heartbeats: int = Field(default=5, ge=1)
    """After this many silent intervals an actor's leases go to others."""
    resubmit_s: float = Field(default=5.0, gt=0)
    """An unacknowledged trajectory is sent again after this long."""
    connect_s: float = Field(default=60.0, gt=0)
    """An actor gives up when the learner has not welcomed it within this long."""
    max_message_bytes: int = Field(default=64 << 20, ge=1 << 16)
    """A larger frame is refused."""
    max_queued_messages: int = Field(default=1000, ge=1)
    """Per peer and direction; the high-water mark of the sockets."""
    chunk_bytes: int = Field(default=4 << 20, ge=1 << 10)
    chunks_in_flight: int = Field(default=4, ge=1)

    @property
    def actor_timeout_s(self) -> float:
        """Silence after which an actor is taken for dead."""
        return self.heartbeat_s * self.max_missed_heartbeats
