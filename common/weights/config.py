"""How weights travel between hosts."""

from pydantic import Field

from common.config import Section


class RelayConfig(Section):
    """One relay per host that is not the learner's: it fetches each version once, for all actors there."""

    host: str = "127.0.0.1"
    """Where the relay listens for the relays that fetch from it; beyond loopback only with `bus.keys`."""
    port: int = Field(default=0, ge=0, le=65535)
    """0: any free one, which is enough for a relay from which no other fetches."""
    parent: str = Field(default="", pattern=r"^([A-Za-z0-9][A-Za-z0-9._-]*@[^@\s]+:[1-9][0-9]{0,4})?$")
    """`NAME@HOST:PORT` of the relay to fetch from, NAME that of its host's key; empty: the learner."""
    patience_s: float = Field(default=10.0, gt=0)
    """A parent that is silent or makes no progress for so long is passed over, and the learner asked. Actors
    wait as long for what a living relay of their host has not brought yet, then fetch it themselves."""
    retry_s: float = Field(default=30.0, gt=0)
    """A parent that failed is asked again after this long."""
    keep_versions: int = Field(default=2, ge=2)
    """Versions that the learner and every relay keep in host memory: a delta needs its base at both ends."""

    @property
    def parent_address(self) -> tuple[str, str, int] | None:
        """(name, host, port) of the parent."""
        if not self.parent:
            return None
        name, _, address = self.parent.partition("@")
        host, _, port = address.rpartition(":")
        return name, host.strip("[]"), int(port)
