"""What the simulator assumes where no run has measured it; all can be given as `--plan.NAME=VALUE`."""

from pydantic import ConfigDict, Field

from common.config import Section
from launch.config import RunConfig


class PlanSection(Section):
    """Figures of the simulator. None: taken from the run; the others say what holds when nothing is given."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    seeds: int = Field(default=3, ge=1, le=1000)
    """Simulations of each setting; the spread is theirs."""
    within: float = Field(default=0.05, ge=0, lt=1)
    """The recommended setting reaches the best throughput less this share."""

    bandwidth_mb_s: float = Field(default=0.0, ge=0)
    """From one host to others, shared by them; 0: actors map the learner's memory, nothing travels."""
    network_latency_s: float = Field(default=0.0, ge=0)
    """Of one message one way, beside what the run has measured on its own host."""
    actors_per_host: int = Field(default=1, ge=1)
    """They share a relay, which fetches each version once; counts where `bandwidth_mb_s` is set."""
    fanout: int = Field(default=2, ge=1)
    """Relays that fetch from the learner, or from one relay."""
    delta_share: float = Field(default=1.0, gt=0, le=1)
    """Of the weights' bytes that travel per version; 1: whole copies."""
    weight_mb: float | None = Field(default=None, ge=0)
    """Of one version of the weights; None: from the configuration's model."""
    slowdown: float = Field(default=1.0, gt=0)
    """What is computed takes so many times as long as it took in the run: a busier or a slower machine."""
    serial_share: float = Field(default=0.1, ge=0, le=1)
    """Of a step's work that more ranks do not divide (Amdahl)."""
    hub_capacity: int = Field(default=0, ge=0)
    """Environment steps played at the same time by all hubs; 0: as many as are asked for."""
    commit_s: float = Field(default=0.001, ge=0)
    """One transaction of the ledger, of up to 64 trajectories."""

    decode_s: float | None = Field(default=None, ge=0)
    """One token of every running request, whatever their number."""
    decode_per_request_s: float | None = Field(default=None, ge=0)
    """Added to it for each running request."""
    read_s: float | None = Field(default=None, ge=0)
    """Reading one token of a prompt; the other requests wait meanwhile."""
    request_s: float | None = Field(default=None, ge=0)
    """Taking one request in; the other requests wait meanwhile."""
    training_s: float | None = Field(default=None, ge=0)
    """Of an optimizer step, whatever its tokens."""
    training_per_token_s: float | None = Field(default=None, ge=0)
    """Added to it for each token read, on the ranks of the configuration."""
    publish_s: float | None = Field(default=None, ge=0)
    """Gathering, writing and announcing a version."""
    after_s: float | None = Field(default=None, ge=0)
    """What else a step takes: drafting, recording, checkpoints."""
    load_s: float | None = Field(default=None, ge=0)
    """From a version's arrival at an actor to its engine's pause."""
    pause_s: float | None = Field(default=None, ge=0)
    """In which the engine stands still for a version."""
    delivery_s: float | None = Field(default=None, ge=0)
    """From the end of an episode to its commit."""
    grant_s: float | None = Field(default=None, ge=0)
    """From a grant to the beginning of the episode."""
    fault_share: float | None = Field(default=None, ge=0, lt=1)
    """Of the leases that end in a fault and are played again."""

    environment_s: float | None = Field(default=None, ge=0)
    """Mean of one environment step; recorded ones are scaled to it, their shape and order kept."""
    environment_sigma: float = Field(default=1.0, ge=0)
    """Without a run: of the log-normal distribution of environment steps."""
    turns: float = Field(default=6.0, ge=1)
    """Without a run: mean of the geometric distribution of an episode's turns, before the horizon cuts it."""
    prompt_tokens: int = Field(default=100, ge=1)
    """Without a run: read in each turn."""
    action_tokens: int = Field(default=50, ge=1)
    """Without a run: mean of the geometric distribution of sampled tokens per turn."""
    success: float = Field(default=0.5, ge=0, le=1)
    """Without a run: share of the episodes that score 1; the others score 0."""


class PlannedConfig(RunConfig):
    """A run's configuration with the simulator's section beside it."""

    plan: PlanSection = PlanSection()
