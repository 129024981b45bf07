"""Where the hub listens, how many workers it has, and what it allows."""

from pydantic import Field

from common.config import Section

TOKEN_VARIABLE = "PRONGHORN_HUB_TOKEN"
"""The environment variable with the bearer token; required when the hub listens beyond this machine."""


class HubConfig(Section):
    """The environment server."""

    host: str = "127.0.0.1"
    port: int = Field(default=0, ge=0, le=65535)
    """0: a free port chosen by `pronghorn run`."""
    num_workers: int = Field(default=1, ge=1, le=256)
    """Worker processes; sessions are spread over them."""
    max_sessions: int = Field(default=1024, ge=1)
    """In all; one more is answered 503 with Retry-After."""
    session_ttl_s: float = Field(default=600.0, gt=0)
    """A session nobody has touched for this long is closed."""
    step_timeout_s: float = Field(default=30.0, gt=0)
    """A worker that has not answered a call within this long is killed and replaced."""
    max_body_bytes: int = Field(default=1 << 20, ge=1 << 10)
    latency_mean_s: float = Field(default=0.0, ge=0)
    """For benchmarks: every step waits this long on average, drawn from a log-normal distribution."""
    latency_sigma: float = Field(default=1.0, ge=0)
    """Sigma of the log-normal distribution of that wait."""
