"""From an optimizer step to an engine that samples with it, adapters alone: all parts in between."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from actors.config import EngineConfig
from actors.engine.engine import Engine, Generation
from actors.engine.factory import make_engine
from actors.weight_sync import WeightSync
from common.aio import background
from common.bus.config import BusConfig
from common.bus.memory import MemoryActorBus, MemoryLearnerBus, MemoryWire
from common.messages import Sampling, WeightManifest
from common.model_config import LoraConfig, ModelConfig
from common.weights.store import WeightStore
from learner.batch import TrainingSequence
from learner.config import LearnerConfig
from learner.packing import pack
from learner.publisher import Publisher
from learner.ranks import TrainerThread, open_trainer
from tests.actors.engine import tiny
from tests.learner.torch_side import random_sequences

LORA = LoraConfig(rank=4, alpha=8.0)
PROMPT = np.arange(2, 50, dtype=np.int32)


@dataclass
class System:
    """One learner and one actor's weights, without episodes."""

    trainer: TrainerThread
    publisher: Publisher
    bus: MemoryLearnerBus
    sync: WeightSync
    engine: Engine

    async def publish(self, version: int) -> WeightManifest:
        """Announce `version` and wait until the engine has it."""
        await self.publisher.publish(version, 3, finished_at=0.0)
        async with asyncio.timeout(60):
            await self.sync.reached(version)
        assert self.bus.newest is not None
        assert self.bus.newest.manifest is not None
        return self.bus.newest.manifest

    async def learn(self, *steps: int) -> None:
        for step in steps:
            await self.trainer.step(
                pack(random_sequences([60, 33, 20], step), microbatch_tokens=128), step, 1.0
            )

    async def error(self) -> float:
        """Mean difference between engine and learner about the engine's tokens, nats."""
        said = await self.engine.generate(PROMPT, max_tokens=40, sampling=Sampling(), seed=0)
        batch = pack([sequence(said)], microbatch_tokens=128)
        (scores,) = await self.trainer.run(lambda r: r.score(batch, temperature=1.0, wants=["proximal"]))
        assert scores.proximal_logprobs is not None
        return float(np.abs(scores.proximal_logprobs - said.logprobs).mean())


def sequence(said: Generation) -> TrainingSequence:
    """The prompt and what was sampled, all of it trained."""
    num, total = len(said.tokens), len(PROMPT) + len(said.tokens)
    is_action = np.arange(total) >= len(PROMPT)
    zeros = np.zeros(total, np.float32)
    logprobs = np.concatenate([zeros[:-num], said.logprobs])
    tokens = np.concatenate([PROMPT, said.tokens])
    return TrainingSequence.of(tokens, is_action, is_action, logprobs, zeros, is_action.astype(np.int32) - 1)


@asynccontextmanager
async def system(folder: Path, kind: str, dtype: str) -> AsyncIterator[System]:
    model = tiny.folder(folder / "model")
    engine = make_engine(
        model, EngineConfig.model_validate({"kind": kind, "dtype": dtype, "max_model_len": 256}), LORA
    )
    config = ModelConfig.model_validate({"path": str(model), "dtype": dtype, "lora": LORA.model_dump()})
    learner = LearnerConfig(device="cpu", learning_rate=1e-2)
    wire = MemoryWire(BusConfig())
    with WeightStore(folder, root=folder) as store:
        bus = MemoryLearnerBus(BusConfig(), "test", store, wire=wire)
        await bus.start()
        actor_bus = MemoryActorBus(BusConfig(), "actor", "test", wire=wire)
        sync = WeightSync(actor_bus, engine, folder / "fetched")

        async def listen() -> None:
            while True:
                await bus.receive()

        try:
            async with TrainerThread(lambda: open_trainer(model, learner, config)) as trainer:
                publisher = Publisher(bus, store, trainer, Sampling(), dtype)
                async with background(listen()):
                    await actor_bus.start()
                    await engine.start()
                    async with background(sync.follow()):
                        yield System(trainer, publisher, bus, sync, engine)
        finally:
            await engine.close()


@pytest.mark.parametrize(
    "kind", [pytest.param("vllm", marks=[pytest.mark.vllm, pytest.mark.slow]), "transformers"]
)
async def test_engine_and_learner_agree_after_every_update_and_disagree_without_it(
    tmp_path: Path, kind: str
) -> None:
    async with system(tmp_path, kind, "float32") as parts:
        await parts.publish(0)
        assert await parts.error() < 1e-4
        for version in (1, 2, 3):
            await parts.learn(version)
            assert await parts.error() > 0.01
            await parts.publish(version)
            assert await parts.error() < 1e-4
        assert parts.sync.num_failed == 0


async def test_an_announcement_holds_the_adapter_alone_and_says_what_it_is(tmp_path: Path) -> None:
    async with system(tmp_path, "transformers", "float32") as parts:
        await parts.learn(1)
        manifest = await parts.publish(1)
    weights = (tmp_path / "model" / "model.safetensors").stat().st_size
    assert len(manifest.tensors) == 28
    assert manifest.num_bytes < weights / 2  # of a model this small; of a real one far less
    entry = manifest.adapter
    assert entry is not None
    assert (entry.rank, entry.alpha) == (4, 8.0)
    assert set(entry.targets) == {f"{name}_proj" for name in ("q", "k", "v", "o", "gate", "up", "down")}
    assert entry.probe is not None
    assert np.abs(np.subtract(entry.probe.adapted, entry.probe.base)).mean() > 0.01


async def test_in_half_precision_no_update_is_refused_by_mistake(tmp_path: Path) -> None:
    async with system(tmp_path, "transformers", "bfloat16") as parts:
        await parts.publish(0)
        for version in range(1, 7):
            await parts.learn(version)
            await parts.publish(version)
        assert parts.sync.num_failed == 0
        assert parts.engine.policy_version == 6
