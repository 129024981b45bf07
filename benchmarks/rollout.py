"""How many tokens per second actors generate through the hub, over what vLLM alone generates of the same.

An actor with 32 sessions plays TextCraft against a hub in another process; no learner runs, leases are
granted and acknowledged at once. What was played is then generated again by a second, bare AsyncLLM with the
same settings: the same prompts, the same number of tokens per turn, the same number of requests at a time,
each turn after the one before it. Both are measured in turns, `ROUNDS` times; the ratio is of the sums.
"""

import asyncio
import itertools
import socket
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from actors.actor import Actor
from actors.config import ActorConfig, EngineConfig
from actors.engine import vllm_options
from actors.engine.model_folder import ModelFolder
from actors.engine.vllm_engine import VllmEngine
from actors.outbox import DiskOutbox
from actors.rollout import Table
from actors.weight_sync import WeightSync
from benchmarks.report import Report, parse
from common.bus.config import BusConfig
from common.bus.memory import MemoryActorBus, MemoryLearnerBus, MemoryWire
from common.errors import PreflightError
from common.messages import Ack, Grant, Lease, Ready, Sampling, Stop, Submit
from common.model_config import SmallModel
from common.prompt import Dialogue
from common.trajectory import Member, TaskReference, Trajectory
from envhub.client import HubClient
from learner.model_source import make_small
from learner.smollm2 import smollm2_folder

ENVIRONMENT = "textcraft"
NUM_SESSIONS = 32
HORIZON = 6
ROUNDS = 2
EPISODES = {"small": 128, "smollm2": 32}
"""Of one round: half a minute or so on one core."""
GOAL = 0.85
SAMPLING = Sampling(max_action_tokens=48, max_episode_tokens=2048)


@dataclass
class Side:
    """What one of the two has done so far."""

    tokens: int = 0
    seconds: float = 0.0
    generation_s: float = 0.0
    """Summed over the sessions."""
    environment_s: float = 0.0
    cpu_s: float = 0.0
    """Of this process: the event loop of the actor, or of whoever drives the bare engine."""

    @property
    def tokens_per_s(self) -> float:
        """Generated tokens per second of wall time."""
        return self.tokens / self.seconds


@dataclass
class Bench:
    """A running hub, the model, and one engine for each side."""

    hub: HubClient
    tasks: list[TaskReference]
    engine: VllmEngine
    bare: Any
    table: Table
    played: Side = field(default_factory=Side)
    generated: Side = field(default_factory=Side)
    _groups: Iterator[int] = field(default_factory=itertools.count)
    _requests: Iterator[int] = field(default_factory=itertools.count)

    async def round(self, num_episodes: int) -> None:
        """Play, then generate the same again, counting both."""
        with timed(self.played):
            trajectories = await self.play(num_episodes)
        for turn in (turn for trajectory in trajectories for turn in trajectory.turns):
            self.played.tokens += len(turn.action_tokens)
            self.played.generation_s += turn.generation_s
            self.played.environment_s += turn.environment_s
        with timed(self.generated):
            await self.generate_again(trajectories)

    async def play(self, num_episodes: int) -> list[Trajectory]:
        """Have an actor play so many episodes; it takes a lease whenever a session is free."""
        config, wire = BusConfig(heartbeat_s=1.0), MemoryWire(BusConfig())
        learner = MemoryLearnerBus(config, "benchmark", wire=wire)
        bus = MemoryActorBus(config, self.table.actor, wire=wire)
        sync = WeightSync(bus, self.engine, Path(tempfile.gettempdir()))
        await learner.start()
        with tempfile.TemporaryDirectory() as folder:
            actor = Actor(
                ActorConfig(max_sessions=NUM_SESSIONS),
                config,
                bus=bus,
                table=self.table,
                sync=sync,
                outbox=DiskOutbox(Path(folder), ""),
            )
            async with asyncio.TaskGroup() as group:
                group.create_task(actor.run())
                trajectories = await self._grant(learner, [self._lease() for _ in range(num_episodes)])
        await bus.close()
        await learner.close()
        return trajectories

    def _lease(self) -> Lease:
        number = next(self._groups)
        return Lease(
            identity=Member(run="benchmark", group=number, member=0),
            task=self.tasks[number % len(self.tasks)],
            horizon=HORIZON,
            sampling=SAMPLING,
        )

    async def _grant(self, learner: MemoryLearnerBus, leases: list[Lease]) -> list[Trajectory]:
        """A learner that only grants and acknowledges."""
        waiting, trajectories = iter(leases), list[Trajectory]()
        while len(trajectories) < len(leases):
            actor, message = await learner.receive()
            if isinstance(message, Ready):
                for lease in itertools.islice(waiting, message.credits):
                    await learner.send(actor, Grant(lease=lease))
            if isinstance(message, Submit):
                trajectories.append(message.trajectory)
                await learner.send(actor, Ack(identity=message.trajectory.identity))
        await learner.send(actor, Stop())
        return trajectories

    async def generate_again(self, trajectories: list[Trajectory]) -> None:
        """The same requests to the bare engine: as many at a time, turn after turn."""
        waiting = iter(trajectories)

        async def session() -> None:
            for trajectory in waiting:
                context: list[int] = []
                for turn in trajectory.turns:
                    context += turn.prompt_tokens.tolist()
                    context += await self._generate(context, len(turn.action_tokens))

        async with asyncio.TaskGroup() as group:
            for _ in range(NUM_SESSIONS):
                group.create_task(session())

    async def _generate(self, context: list[int], num_tokens: int) -> list[int]:
        from vllm import SamplingParams
        from vllm.sampling_params import RequestOutputKind

        parameters = SamplingParams(
            max_tokens=num_tokens,
            ignore_eos=True,
            logprobs=0,
            flat_logprobs=True,
            detokenize=False,
            output_kind=RequestOutputKind.FINAL_ONLY,
        )
        began = time.monotonic()
        request = self.bare.generate({"prompt_token_ids": context}, parameters, str(next(self._requests)))
        tokens = [list(output.outputs[0].token_ids) async for output in request][-1]
        self.generated.generation_s += time.monotonic() - began
        self.generated.tokens += len(tokens)
        return tokens


@contextmanager
def timed(side: Side) -> Iterator[None]:
    """Add the wall and processor time of the body to a side."""
    wall, cpu = time.monotonic(), time.process_time()
    yield
    side.seconds += time.monotonic() - wall
    side.cpu_s += time.process_time() - cpu


@asynccontextmanager
async def running_hub(folder: Path) -> AsyncIterator[HubClient]:
    """A hub with its own process and worker, as `pronghorn run` starts it."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    config = folder / "hub.toml"
    config.write_text("[hub]\n")
    command = (sys.executable, "-m", "envhub", str(config), f"--hub.port={port}")
    process = await asyncio.create_subprocess_exec(*command)
    client = HubClient(f"http://127.0.0.1:{port}", deadline_s=60, calls_per_s=10_000, max_retries=3)
    try:
        async with client:
            if not await client.healthy(60):
                raise PreflightError("the hub did not answer within 60 s")
            yield client
    finally:
        process.terminate()
        await process.wait()


@asynccontextmanager
async def running_bench(model: Path, config: EngineConfig, hub: HubClient) -> AsyncIterator[Bench]:
    """Both engines, started, and the actor's table."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(model)

    @lru_cache
    def dialogues(instructions: str) -> Dialogue:
        return Dialogue(tokenizer, instructions)

    engine = VllmEngine(model, config)
    await engine.start()
    with vllm_options.spawning(config):
        from vllm import AsyncEngineArgs
        from vllm.v1.engine.async_llm import AsyncLLM

        arguments = AsyncEngineArgs(**vllm_options.arguments(ModelFolder(model), config))
        bare = AsyncLLM.from_engine_args(arguments)
    try:
        tasks = await hub.tasks(ENVIRONMENT, "train")
        # `plain`: whatever the model writes reaches the hub, so that every turn pays for it.
        table = Table("benchmark", hub, engine, dialogues, "plain", episode_s=3600)
        yield Bench(hub, tasks, engine, bare, table)
    finally:
        await engine.close()
        await asyncio.to_thread(bare.shutdown)


async def measure(report: Report, kind: str, num_episodes: int) -> None:
    """Report one model: the rates, their ratio, and where the sessions of the actor spent their time."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        async with running_hub(folder) as hub:
            if kind == "small":
                model, config = folder / "model", EngineConfig()
                words = await hub.vocabulary(ENVIRONMENT)
                make_small(model, SmallModel(), words, dtype="float32", seed=0)
            else:
                model = await asyncio.to_thread(smollm2_folder)
                config = EngineConfig(dtype="bfloat16", kv_cache_bytes=3 << 29)
            async with running_bench(model, config, hub) as bench:
                await bench.round(NUM_SESSIONS // 4)  # to warm up
                bench.played, bench.generated = Side(), Side()
                for _ in range(ROUNDS):
                    await bench.round(num_episodes)
                add_figures(report, kind, bench.played, bench.generated)


def add_figures(report: Report, kind: str, played: Side, bare: Side) -> None:
    """The rates and the breakdown; shares are of the time of all sessions."""
    ratio = played.tokens_per_s / bare.tokens_per_s
    goal = {"at_least": GOAL} if kind == "smollm2" else {}
    report.add(f"rollout_{kind}_actor_tokens_per_s", played.tokens_per_s, "1/s")
    report.add(f"rollout_{kind}_vllm_tokens_per_s", bare.tokens_per_s, "1/s")
    report.add(f"rollout_{kind}_ratio", ratio, "", **goal)
    for name, side in (("actor", played), ("vllm", bare)):
        report.add(f"rollout_{kind}_{name}_requests_in_engine", side.generation_s / side.seconds, "")
        report.add(f"rollout_{kind}_{name}_event_loop_share", side.cpu_s / side.seconds, "")
    places = played.seconds * NUM_SESSIONS
    engine, environment = played.generation_s / places, played.environment_s / places
    report.add(f"rollout_{kind}_share_engine", engine, "")
    report.add(f"rollout_{kind}_share_environment", environment, "")
    report.add(f"rollout_{kind}_share_actor_and_idle", 1 - engine - environment, "")


def main() -> None:
    """Measure the models asked for."""
    choices = {"choices": ("small", "smollm2"), "nargs": "+", "default": ["small", "smollm2"]}
    arguments = parse(
        __doc__, ("--models", choices), ("--episodes", {"type": int, "default": 0, "help": "of one round"})
    )
    report = Report("rollout")
    for kind in arguments.models:
        asyncio.run(measure(report, kind, arguments.episodes or EPISODES[kind]))
    report.finish(arguments.json)


if __name__ == "__main__":
    main()
