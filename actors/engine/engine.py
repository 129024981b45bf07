"""What an actor asks of an inference engine: tokens in, tokens out, new weights amid requests in flight."""

from pathlib import Path
from typing import Protocol

from common.arrays import Float32, Int32
from common.messages import Sampling, WeightManifest
from common.trajectory import Record, VersionSpan


class Generation(Record):
    """One sampled action."""

    tokens: Int32
    """[A] as sampled; the end token is the last one when it was sampled."""
    logprobs: Float32
    """[A] log mu(token) at the sampling temperature, nats; at temperature 0 every token is certain: 0."""
    versions: tuple[VersionSpan, ...]
    """Which policy version sampled how many tokens; sums to A."""
    is_stopped: bool
    """False when cut by `max_tokens` or by the model's length."""
    duration_s: float


class EngineLoad(Record):
    """What the engine has been doing since it started."""

    num_running: int = 0
    num_waiting: int = 0
    generated_tokens: int = 0
    generation_s: float = 0.0
    """Seconds in which at least one request was in the engine."""
    paused_s: float = 0.0
    """Seconds in which generation stood still for weight updates."""


class Engine(Protocol):
    """An inference engine whose weights can be replaced while it generates.

    await engine.start()
    generation = await engine.generate(tokens, max_tokens=64, sampling=sampling)
    await engine.load_weights(manifest, path)      # requests in flight continue
    await engine.close()
    """

    @property
    def policy_version(self) -> int:
        """The version the engine samples from now; advances only after a load has succeeded."""
        ...

    async def start(self, policy_version: int = 0) -> None:
        """Load the initial weights, which are `policy_version`; EngineFault past the deadline."""
        ...

    async def generate(
        self, prompt_tokens: Int32, *, max_tokens: int, sampling: Sampling, seed: int | None = None
    ) -> Generation:
        """Sample one action after `prompt_tokens` ([P], the whole context); EngineFault when it cannot.

        Cancelling the caller aborts the request inside the engine.
        """
        ...

    async def load_weights(self, manifest: WeightManifest, path: Path) -> None:
        """Swap in the verified safetensors file `path` while requests are in flight; whole or not at all.

        The file holds all weights, or an adapter of the weights that the engine was started with. Requests
        in flight go on with the new weights, or end with the adapter that they began with: `versions` tells.
        WeightError when it did not happen: the old version stays, and so does `policy_version`.
        """
        ...

    def load(self) -> EngineLoad:
        """Counters for heartbeats."""
        ...

    async def close(self) -> None:
        """Free everything; afterwards `generate` raises EngineFault."""
        ...
