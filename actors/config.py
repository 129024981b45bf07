"""How an actor plays: its engine, its sessions, its patience."""

from typing import Literal

from pydantic import Field

from common.bus.config import BusConfig
from common.config import Section
from common.model_config import ModelConfig
from common.run_config import RoleConfig, RunSection, TaskConfig
from common.weights.config import RelayConfig
from envhub.config import HubConfig


class EngineConfig(Section):
    """The inference engine inside an actor."""

    kind: Literal["vllm", "transformers"] = "vllm"
    """`vllm`: on a GPU and on a CPU; `transformers`: where there is no vLLM wheel, slower."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    max_model_len: int = Field(default=2048, ge=16)
    max_num_seqs: int = Field(default=64, ge=1)
    """The most requests in one engine step."""
    kv_cache_bytes: int = Field(default=256 << 20, ge=1 << 20)
    """On a CPU; on a GPU `gpu_memory_utilization` decides."""
    gpu_memory_utilization: float = Field(default=0.45, gt=0, lt=1)
    block_size: int = Field(default=32, ge=1)
    is_eager: bool = True
    """Skip compilation: seconds instead of a minute to start, somewhat slower per token."""
    clears_cache_on_update: bool = False
    """True: requests in flight recompute their prefix; False: they go on over the old cache."""
    num_threads: int = Field(default=1, ge=1)
    """OpenMP threads of the engine; two collapse as soon as another process wants a core."""
    cpu_cores: tuple[int, ...] = ()
    """Cores to pin the engine to; empty: no pinning."""
    start_s: float = Field(default=180.0, gt=0)
    """Deadline of the engine's start."""
    request_s: float = Field(default=120.0, gt=0)
    """Deadline of one generation."""
    update_s: float = Field(default=60.0, gt=0)
    """Deadline of one weight update."""


class ActorConfig(Section):
    """One actor process: one event loop, one engine, many sessions."""

    num_actors: int = Field(default=1, ge=1)
    """How many of them `pronghorn run` starts."""
    max_sessions: int = Field(default=64, ge=1)
    """Episodes played at the same time; the credits an actor asks for."""
    environment_s: float = Field(default=60.0, gt=0)
    """Deadline of one call to the hub."""
    environment_calls_per_s: float = Field(default=2000.0, gt=0)
    """Limit per environment, kept by asyncio-throttle."""
    max_retries: int = Field(default=3, ge=0)
    """Of one hub call that failed in transit; a step carries its index, so none is played twice."""
    episode_s: float = Field(default=600.0, gt=0)
    """An episode longer than this is truncated by time."""
    is_seeded: bool = False
    """Sample every action with a seed that its lease decides, so that an episode that is played again by the
    same weights is the same one. With vLLM each such request is sampled by itself, which costs speed."""
    max_unacknowledged: int = Field(default=512, ge=1)
    """Finished trajectories kept for a learner that does not answer; past that no lease is taken."""
    max_unacknowledged_bytes: int = Field(default=1 << 30, ge=1)
    """What they may take together, on the disk and in memory; past that no lease is taken."""
    engine: EngineConfig = EngineConfig()


class ApiConfig(Section):
    """An OpenAI-compatible server that plays instead of an engine, for evaluation alone.

    Its key is read from PRONGHORN_API_KEY, else OPENAI_API_KEY, and stands nowhere else.
    """

    url: str = ""
    """Up to and with `/v1`; empty: none."""
    model: str = ""
    calls_per_s: float = Field(default=5.0, gt=0)
    """Limit of all requests, kept by asyncio-throttle."""
    request_s: float = Field(default=120.0, gt=0)
    """Deadline of one try."""
    max_retries: int = Field(default=6, ge=0)
    """Of one request that failed in transit, was refused for its rate (429) or met a broken server."""
    first_wait_s: float = Field(default=1.0, gt=0)
    """Before the first retry; doubled each time. The server's own `Retry-After` counts where it is longer."""
    max_wait_s: float = Field(default=60.0, gt=0)
    """The longest wait before a retry."""
    length_field: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    """How the server calls the limit of one answer."""
    price_in: float = Field(default=0.0, ge=0)
    """Money per million tokens read."""
    price_out: float = Field(default=0.0, ge=0)
    """Money per million tokens written."""


class ActorRoleConfig(RoleConfig):
    """What `python -m actors` reads of a run's configuration."""

    run: RunSection = RunSection()
    model: ModelConfig
    tasks: TaskConfig = TaskConfig()
    hub: HubConfig = HubConfig()
    bus: BusConfig = BusConfig()
    actor: ActorConfig = ActorConfig()
    relay: RelayConfig = RelayConfig()
