"""An engine for tests: it answers as it is told, at the pace it is told."""

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from actors.engine.engine import EngineLoad, Generation
from actors.engine.meter import LoadMeter
from common.arrays import Int32
from common.errors import EngineDead, EngineFault, WeightError
from common.messages import Sampling, WeightManifest
from common.trajectory import VersionSpan

Reply = Callable[[Int32], Sequence[int]]


class ScriptedEngine:
    """Replies by a function of the prompt, or with a list of actions in turn, over and over.

        engine = ScriptedEngine([[7, 8, 1], [9, 1]], end_token_ids=(1,))
        engine.hold()                    # requests wait ...
        engine.resume()                  # ... and go on
        engine.fail_next(2)              # two requests, then two loads, are faulted
        engine.fail_next_loads(2)

    Every token has the logprob `logprob` and the version of the moment in which the request ends. A
    reply longer than `max_tokens` is cut; `is_stopped` says whether it ends with an end token.
    """

    def __init__(
        self,
        reply: Reply | Sequence[Sequence[int]],
        *,
        end_token_ids: Sequence[int],
        logprob: float = -1.0,
        max_num_seqs: int = 64,
    ) -> None:
        self.prompts: list[Int32] = []
        """Every prompt that was asked, in order."""
        self.loaded: list[tuple[int, Path]] = []
        """Every version loaded and its file, in order."""
        self.num_cancelled = 0
        self.asked = asyncio.Event()
        """Set by the first request."""
        self._reply = reply if callable(reply) else _in_turn(reply)
        self._end_token_ids = tuple(end_token_ids)
        self._logprob = logprob
        self._meter = LoadMeter(max_num_seqs)
        self._going = asyncio.Event()
        self._going.set()
        self._is_running = False
        self._is_dead = False
        self._failing = 0
        self._failing_loads = 0
        self._policy_version = 0

    @property
    def policy_version(self) -> int:
        """The version that labels the next tokens."""
        return self._policy_version

    def hold(self) -> None:
        """Let requests hang until `resume`."""
        self._going.clear()

    def resume(self) -> None:
        """Let held requests end."""
        self._going.set()

    def fail_next(self, count: int) -> None:
        """Fault the next `count` requests."""
        self._failing = count

    def die(self) -> None:
        """From now on every request finds the engine gone for good."""
        self._is_dead = True

    def fail_next_loads(self, count: int) -> None:
        """Refuse the next `count` weight sets."""
        self._failing_loads = count

    async def start(self, policy_version: int = 0) -> None:
        """Be ready at once."""
        self._policy_version = policy_version
        self._is_running = True

    async def generate(
        self, prompt_tokens: Int32, *, max_tokens: int, sampling: Sampling, seed: int | None = None
    ) -> Generation:
        """The next reply; EngineFault when told to fail or when closed."""
        if not self._is_running:
            raise EngineFault("the scripted engine is not running")
        if self._is_dead:
            raise EngineDead("the scripted engine was told to die")
        self.prompts.append(prompt_tokens)
        self.asked.set()
        with self._meter.request():
            try:
                await self._going.wait()
            except asyncio.CancelledError:
                self.num_cancelled += 1
                raise
        if self._failing:
            self._failing -= 1
            raise EngineFault("the scripted engine was told to fail")
        tokens = np.asarray(list(self._reply(prompt_tokens))[:max_tokens], np.int32)
        self._meter.generated(len(tokens))
        return Generation(
            tokens=tokens,
            logprobs=np.full(len(tokens), self._logprob if sampling.temperature else 0.0, np.float32),
            versions=(VersionSpan(version=self._policy_version, num_tokens=len(tokens)),),
            is_stopped=bool(tokens[-1] in self._end_token_ids),
            duration_s=0.0,
        )

    async def load_weights(self, manifest: WeightManifest, path: Path) -> None:
        """Advance to the manifest's version without reading the file; WeightError when told to."""
        if not self._is_running:
            raise WeightError(f"weights of version {manifest.version}: the scripted engine is not running")
        if self._failing_loads:
            self._failing_loads -= 1
            raise WeightError(
                f"weights of version {manifest.version}: the scripted engine was told to refuse"
            )
        self._policy_version = manifest.version
        self.loaded.append((manifest.version, path))

    def load(self) -> EngineLoad:
        """Counters since the start."""
        return self._meter.load()

    async def close(self) -> None:
        """Stop answering."""
        self._is_running = False
        self._going.set()


def _in_turn(actions: Sequence[Sequence[int]]) -> Reply:
    """The actions one after the other, from the first again after the last."""
    position = -1

    def reply(prompt: Int32) -> Sequence[int]:
        nonlocal position
        position = (position + 1) % len(actions)
        return actions[position]

    return reply
