"""Where the bus listens and how patient it is."""

import ipaddress

from pydantic import Field, model_validator

from common.config import Section


def is_loopback(host: str) -> bool:
    """Whether `host` can only mean this machine: `localhost` or an address of the loopback interface."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


class BusConfig(Section):
    """One port per channel on the learner's rank 0; port 0 lets `pronghorn run` choose a free one."""

    host: str = "127.0.0.1"
    """Where the learner binds and actors connect; beyond the loopback interface only with `keys`."""
    keys: str = ""
    """Folder with this machine's keys, made by `pronghorn keys`; empty: unencrypted, and loopback alone."""
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
    """Per peer, waiting to be sent; the high-water mark of the sockets."""
    max_connections: int = Field(default=512, ge=1)
    """Per channel; who comes later is turned away."""
    max_messages_per_s: float = Field(default=10_000, gt=0)
    """Of one connection; one that sends more is cut off, and may connect again."""
    max_bytes_per_s: float = Field(default=float(1 << 30), gt=0)
    """Of one connection on the ledger channel; likewise."""
    handshake_s: float = Field(default=10.0, gt=0)
    """Who has not said by then who it is, is disconnected."""
    chunk_bytes: int = Field(default=4 << 20, ge=1 << 10)
    chunks_in_flight: int = Field(default=4, ge=1)

    @model_validator(mode="after")
    def _has_keys_beyond_loopback(self) -> "BusConfig":
        require_keys(self.host, self.keys, "bus.host")
        return self

    @property
    def actor_timeout_s(self) -> float:
        """Silence after which an actor is taken for dead."""
        return self.heartbeat_s * self.max_missed_heartbeats


def require_keys(host: str, keys: str, name: str) -> None:
    """ValueError naming `name` when `host` is beyond the loopback interface and `keys` is empty."""
    if not keys and not is_loopback(host):
        raise ValueError(
            f"{name} = {host!r} without bus.keys: others could listen and take part; allowed are 127.0.0.1, "
            "or bus.keys = a folder made by `pronghorn keys`"
        )
