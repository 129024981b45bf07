"""Where the hub listens, which environments it serves from how many workers, and what it allows."""

from typing import Annotated, Any, Literal, NamedTuple
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, field_validator

from common.config import Section
from common.errors import ConfigurationError
from envhub.agentgym.dialects import dialect_of

TOKEN_VARIABLE = "PRONGHORN_HUB_TOKEN"
"""The environment variable with the bearer token, or several separated by commas, each with its own sessions;
required when the hub listens beyond this machine."""

GIB = 1 << 30


def _checked_url(url: str) -> str:
    try:
        parts = urlsplit(url)
        is_url = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_url = False
    if not is_url or url.split() != [url]:
        raise ValueError("allowed is http://HOST:PORT or https://HOST:PORT, with or without a path")
    return url


def _checked_dialect(name: str) -> str:
    try:
        dialect_of("", name)
    except ConfigurationError as error:
        raise ValueError(str(error).partition(": ")[2]) from None
    return name


Url = Annotated[str, AfterValidator(_checked_url)]
DialectName = Annotated[str, Field(min_length=1), AfterValidator(_checked_dialect)]


def _without_password(url: str) -> str:
    if urlsplit(url).username is not None:
        raise ValueError(f"a password has no place in it; allowed are {TOKEN_VARIABLE} and hub.token_file")
    return url.rstrip("/")


HubUrl = Annotated[Url, AfterValidator(_without_password)]
Network = Literal["host", "none"]


class PoolConfig(Section):
    """One environment's own workers; what is left out is as the hub says for all."""

    num_workers: int | None = Field(default=None, ge=1, le=256)
    step_timeout_s: float | None = Field(default=None, gt=0)
    max_worker_bytes: int | None = Field(default=None, ge=64 << 20)
    sandbox_network: Network | None = None
    max_sessions: int | None = Field(default=None, ge=1)
    """Of this environment; one more is answered 503 with Retry-After."""


class PoolLimits(NamedTuple):
    """What holds for one environment's workers, its own settings and those of the hub taken together."""

    num_workers: int
    step_timeout_s: float
    max_worker_bytes: int
    max_disk_bytes: int
    max_files: int
    max_processes: int
    network: Network
    kept_variables: tuple[str, ...]
    max_sessions: int | None
    """None: only `hub.max_sessions` holds."""


class HubConfig(Section):
    """The environment server."""

    host: str = "127.0.0.1"
    port: int = Field(default=0, ge=0, le=65535)
    """0: a free port chosen by `pronghorn run`."""
    urls: tuple[HubUrl, ...] = ()
    """Hubs that run already, for actors to use, each `http://HOST:PORT`; empty: the one at `host`:`port`."""
    probe_s: float = Field(default=2.0, gt=0)
    """Actors ask each of `urls` so often how busy it is, and wait so long for the answer."""
    max_pause_s: float = Field(default=30.0, gt=0)
    """The longest pause before a hub that does not answer is asked again; it begins at 0.1 s and doubles."""
    token_file: str = ""
    """A file with the bearer token that only its owner may read; PRONGHORN_HUB_TOKEN goes first."""
    environments: tuple[str, ...] = ()
    """Names to serve, started at once; empty: all that are available, each started when it is first used."""
    backends: dict[str, Url] = Field(default_factory=dict)
    """Environment -> the URL of an AgentGym server that plays it."""
    ports: dict[str, Annotated[int, Field(ge=0, le=65535)]] = Field(default_factory=dict)
    """Environment -> a port of its own at whose root it speaks AgentGym's dialect."""
    dialects: dict[str, DialectName] = Field(default_factory=dict)
    """Environment -> the dialect, a letter or a name, of it and its backend, where it is another one."""
    cors_origins: tuple[str, ...] = ()
    """Origins of web pages that may use the AgentGym dialects; empty: none."""
    num_workers: int = Field(default=1, ge=1, le=256)
    """Worker processes of each environment; its sessions are spread over them."""
    pools: dict[str, PoolConfig] = Field(default_factory=dict)
    """Environment -> what differs: num_workers, step_timeout_s, max_worker_bytes, sandbox_network or
    max_sessions."""
    max_sessions: int = Field(default=1024, ge=1)
    """In all; one more is answered 503 with Retry-After."""
    session_ttl_s: float = Field(default=600.0, gt=0)
    """A session nobody has touched for this long is closed."""
    step_timeout_s: float = Field(default=30.0, gt=0)
    """A worker that has not answered a call within this long is killed and replaced."""
    max_worker_bytes: int = Field(default=4 * GIB, ge=64 << 20)
    """A worker that, with what it started, holds more memory than this is killed and replaced."""
    max_body_bytes: int = Field(default=1 << 20, ge=1 << 10, le=32 << 20)
    """A longer body is answered 413."""
    max_headers: int = Field(default=64, ge=8, le=1024)
    """Header fields of a request; more are answered 400."""
    max_line_bytes: int = Field(default=8190, ge=1024, le=64 << 10)
    """The longest URL and the longest header field; a longer one is answered 400."""
    max_connections: int = Field(default=8192, ge=1)
    """Open at the same time, over all ports; one more is answered 503 and closed."""
    max_client_connections: int = Field(default=4096, ge=1)
    """The same, of one address; an actor opens up to one per session."""
    idle_s: float = Field(default=20.0, gt=0)
    """A connection on which no whole request head has come for this long is closed."""
    body_s: float = Field(default=30.0, gt=0)
    """A body that has not come within this long is answered 408."""
    calls_per_s: float = Field(default=10_000.0, ge=0)
    """Of one address, and of one token; past that 429 with Retry-After. 0: no limit."""
    opens_per_s: float = Field(default=1_000.0, ge=0)
    """Sessions begun by one address, and by one token; past that 429 with Retry-After. 0: no limit."""
    strangers_per_s: float = Field(default=5.0, ge=0)
    """Calls of one address without a right token that are answered 401; past that 429. 0: no limit."""
    max_worker_disk_bytes: int = Field(default=4 * GIB, ge=1 << 20)
    """A worker's own temporary folder may hold this much, then it is killed; no file can grow beyond it."""
    max_worker_files: int = Field(default=1024, ge=64)
    """Open files of one worker process."""
    max_worker_processes: int = Field(default=64, ge=1)
    """A worker that, with what it started, is more processes than this is killed and replaced."""
    sandbox_network: Network = "host"
    """`none`: workers have a network of their own with nothing but loopback; the kernel must allow it."""
    worker_variables: tuple[str, ...] = ()
    """Environment variables that look like secrets and that workers are given all the same."""
    drain_s: float = Field(default=5.0, ge=0)
    """Asked to stop, the hub opens no sessions and waits so long for those in play; asked again, it goes."""
    latency_mean_s: float = Field(default=0.0, ge=0)
    """For benchmarks: every step waits this long on average, drawn from a log-normal distribution."""
    latency_sigma: float = Field(default=1.0, ge=0)
    """Sigma of the log-normal distribution of that wait."""

    @field_validator("environments", "urls", "worker_variables", mode="before")
    @classmethod
    def _from_commas(cls, value: Any) -> Any:
        """`textcraft,babyai` on a command line."""
        return [part for part in value.split(",") if part] if isinstance(value, str) else value

    @field_validator("urls")
    @classmethod
    def _each_once(cls, urls: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(urls)) != len(urls):
            raise ValueError("a hub stands there twice")
        return urls

    @property
    def all_urls(self) -> tuple[str, ...]:
        """Where actors find hubs."""
        return self.urls or (f"http://{self.host}:{self.port}",)

    def pool(self, environment: str) -> PoolLimits:
        """What holds for the workers of an environment."""
        own = self.pools.get(environment, PoolConfig())
        return PoolLimits(
            num_workers=own.num_workers or self.num_workers,
            step_timeout_s=own.step_timeout_s or self.step_timeout_s,
            max_worker_bytes=own.max_worker_bytes or self.max_worker_bytes,
            max_disk_bytes=self.max_worker_disk_bytes,
            max_files=self.max_worker_files,
            max_processes=self.max_worker_processes,
            network=own.sandbox_network or self.sandbox_network,
            kept_variables=self.worker_variables,
            max_sessions=own.max_sessions,
        )

    def spec(self, environment: str) -> str:
        """What the registry knows the environment by: its name, unless an AgentGym server plays it."""
        url = self.backends.get(environment)
        dialect = f"+{self.dialects[environment]}" if environment in self.dialects else ""
        return f"agentgym:{environment}{dialect}@{url}" if url else environment
