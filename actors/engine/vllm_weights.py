"""Weight updates of a running vLLM engine: pause, apply, relabel, resume; or back to what was served.

    load(7) --> check the file --> pause, keeping requests --> apply --> label 7 --> resume
                     |                        |  failed, late or cancelled
                 WeightError                  +-> apply what was served, label 6 --> resume --> WeightError

The calls go through one ordered queue into the engine's process, so the restoring of an interrupted
update runs after whatever that update had begun.
"""

import asyncio
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from actors.config import EngineConfig
from actors.engine.meter import LoadMeter
from actors.engine.model_folder import ModelFolder
from common.errors import EngineDead, PronghornError, WeightError
from common.messages import WeightManifest


@dataclass(frozen=True)
class Served:
    """What one request is answered with."""

    cache_salt: str
    """Names the weights; differs between any two loads, also of one version."""
    adapter: Any = None
    """vLLM's LoRARequest; None: the model's own weights."""
    version: int | None = None
    """Of every token; None: the engine knows it token by token."""


def line(error: Exception) -> str:
    """An exception as one line."""
    return " ".join(str(error).split())[:500] or type(error).__name__


@contextmanager
def blamed(kind: type[PronghornError], what: str) -> Iterator[None]:
    """Whatever fails in the body is a `kind`: what failed in its process vLLM tells as a bare Exception."""
    try:
        yield
    except Exception as error:
        raise kind(f"{what}: {line(error)}") from error


class VllmWeights:
    """Which weights a vLLM engine serves, and the exchange of them while requests are in flight."""

    def __init__(self, llm: Any, folder: ModelFolder, config: EngineConfig, meter: LoadMeter) -> None:
        self._llm = llm
        self._folder = folder
        self._config = config
        self._meter = meter
        self._one_at_a_time = asyncio.Lock()
        self._num_loads = 0
        self._served = 0
        self.policy_version = 0
        self.fault = ""
        """Why nothing that the engine samples can be trusted any more; empty while all is well."""

    @contextmanager
    def serving(self) -> Iterator[Served]:
        """A request is in the engine for as long as the body runs; the weights in place answer it."""
        yield Served(f"load-{self._served}")

    async def start(self, policy_version: int) -> None:
        """Call the weights that the engine was started with `policy_version`."""
        files = [str(file) for file in self._folder.files]
        await self._call("hold_weights", self._served, files, self._served)
        await self._llm.update_weight_version(str(policy_version))
        self.policy_version = policy_version

    def detach(self) -> None:
        """Let go of the engine, which is being closed; the version stays known."""
        self._llm = None

    async def load(self, manifest: WeightManifest, path: Path) -> None:
        """Serve the file `path` as `manifest.version`; one load at a time, the others wait their turn.

        WeightError when the file is not this model's (nothing was touched), when applying it failed or
        took longer than `update_s` (what was served before is restored). Cancelled: restored, too.
        EngineDead when the engine does not answer any more.
        """
        if manifest.adapter is not None:
            raise WeightError(
                f"weights of version {manifest.version}: an adapter, and this engine was started "
                "without room for adapters (model.lora.rank = 0)"
            )
        async with self._one_at_a_time:
            await asyncio.to_thread(self._folder.check, manifest, path)
            with self._meter.pause():
                try:
                    await self._exchange(manifest.version, path)
                finally:
                    await self._resume()

    async def _exchange(self, version: int, path: Path) -> None:
        self._num_loads += 1
        load = self._num_loads
        async with AsyncExitStack() as undo:
            undo.push_async_callback(self._restore)
            with blamed(WeightError, f"weights of version {version}: not applied"):
                async with asyncio.timeout(self._config.update_s):
                    clears = self._config.clears_cache_on_update
                    await self._llm.pause_generation(mode="keep", clear_cache=clears)
                    await self._call("hold_weights", load, [str(path)], self._served)
                    await self._call("apply_weights", load)
                    await self._llm.update_weight_version(str(version))
            undo.pop_all()
        self._served = load
        self.policy_version = version

    async def _restore(self) -> None:
        """Apply and label again what was served; when even that fails, `fault` says so for good."""
        failed = f"the weights of version {self.policy_version} could not be restored"
        try:
            with blamed(EngineDead, failed):
                async with asyncio.timeout(self._config.update_s):
                    await self._call("apply_weights", self._served)
                    await self._llm.update_weight_version(str(self.policy_version))
        except (EngineDead, asyncio.CancelledError):
            self.fault = failed
            raise

    async def _resume(self) -> None:
        """Let generation go on; when cancelled, the message is on its way before the answer is awaited."""
        try:
            with blamed(EngineDead, "the vLLM engine did not resume"):
                async with asyncio.timeout(self._config.update_s):
                    await self._llm.resume_generation()
        except EngineDead as error:
            self.fault = str(error)
            raise

    async def _call(self, method: str, *args: Any) -> None:
        await self._llm.collective_rpc(method, args=args)
