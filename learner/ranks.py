"""Rank 0 commands, every rank obeys: micro-batches and orders go out, collectives bring results back.

Rank 0 has one thread for all torch work (`TrainerThread`), so that the event loop of the learner never
waits for a matrix. The other ranks run `serve`: they wait for a command, carry it out with rank 0, and wait
again until they are told to stop. When rank 0 dies, its connections close and every rank fails at once.
"""

import asyncio
import socket
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any, Self, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from common.errors import PreflightError
from common.messages import AdapterEntry
from common.model_config import ModelConfig
from learner.batch import Batch, MicroBatch
from learner.checkpoint import CheckpointStore, TrainerState, checked_sizes, refuse_another_model
from learner.checkpoint_manifest import Manifest, read_manifest, verify
from learner.checkpoint_writer import CheckpointWriter
from learner.command_channel import CommandChannel, connect
from learner.config import LearnerConfig
from learner.loss import objective
from learner.scores import Scores, from_bytes, per_sequence, to_bytes
from learner.statistics import LogprobMismatch, StepStatistics
from learner.trainer import Trainer, TrainerOptions

T = TypeVar("T")
WeightConsumer = Callable[[Iterator[tuple[str, Tensor]]], T]


def open_trainer(folder: Path, learner: LearnerConfig, model: ModelConfig) -> Trainer:
    """Connect this rank and build its trainer of the policy in `folder`; collective."""
    options = TrainerOptions(
        optimizer=learner,
        num_steps=learner.steps,
        dtype=model.dtype,
        lora=model.lora,
        attention=learner.attention,
        trains_entropy=learner.loss.entropy > 0,
        critic=learner.critic,
        reference=learner.reference if learner.loss.needs_reference else None,
        guards=learner.guards,
        gradient_checkpointing=learner.gradient_checkpointing,
        num_threads=learner.num_threads,
    )
    return Trainer(folder, objective(learner.loss), options, connect(learner.device))


class Ranks:
    """All ranks as one trainer, seen from rank 0; blocking, one thread. Others must be in `serve`.

    with Ranks(open_trainer(folder, learner, model)) as ranks:
        statistics = ranks.step(batch, step=1, temperature=1.0)
    """

    def __init__(self, trainer: Trainer) -> None:
        self._trainer = trainer
        self._channel = CommandChannel()
        self._writer = CheckpointWriter()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        # After a failure the other ranks may be gone; the first error is the one to tell.
        with suppress(*(() if error is None else (RuntimeError,))):
            self.stop()

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The whole shape of every parameter, by name."""
        return self._trainer.shapes

    @property
    def device(self) -> torch.device:
        """Of this rank."""
        return self._trainer.device

    @property
    def adapter(self) -> AdapterEntry | None:
        """What a manifest says of the policy's adapters; None when every weight is trained."""
        return self._trainer.adapter

    @property
    def vocabulary(self) -> int:
        """How many tokens the policy knows."""
        return self._trainer.vocabulary

    def step(self, batch: Batch, *, step: int, temperature: float) -> StepStatistics:
        """One optimizer update of step `step` on `batch`; ValueError when it holds no action token."""
        count = batch.num_action_tokens
        if count < 1:
            raise ValueError(f"step {step} has no action token to train on")
        self._deal("step", batch, step=step, temperature=temperature, num_action_tokens=count)
        return self._trainer.step(batch.ranks[0], num_action_tokens=count, step=step, temperature=temperature)

    def score(self, batch: Batch, *, temperature: float, wants: Sequence[str]) -> list[Scores]:
        """What the networks say of every sequence of `batch`, in the order in which they were packed.

        `wants` holds some of `proximal`, `reference`, `values`.
        """
        self._deal("score", batch, temperature=temperature, wants=list(wants))
        own = self._trainer.score(batch.ranks[0], temperature=temperature, wants=wants)
        others = self._channel.collect([])[1:]
        return per_sequence(batch, [own, *(from_bytes(parts) for parts in others)])

    def mismatch(self, batch: Batch, *, version: int, temperature: float) -> LogprobMismatch:
        """How far this policy, which is `version`, is from the recorded logprobs of that version."""
        self._deal("mismatch", batch, version=version, temperature=temperature)
        return self._trainer.mismatch(batch.ranks[0], version=version, temperature=temperature)

    def gather(self, dtype: str, consume: WeightConsumer[T]) -> T:
        """What `consume` makes of all that an engine needs, (name, whole CPU tensor) one by one."""
        self._order("gather", dtype=dtype)
        weights = self._trainer.named_weights(dtype)
        try:
            return consume(weights)
        finally:
            # The other ranks take part in every tensor, whatever became of the consumer.
            for _ in weights:
                pass

    def save_huggingface(self, path: Path) -> None:
        """Write a Hugging Face folder, whole or not at all."""
        self._order("save_huggingface", path=str(path))
        self._trainer.save_huggingface(path)

    def state(self) -> TrainerState:
        """All that later steps depend on."""
        self._order("state")
        return self._trainer.state()

    def begin_checkpoint(self, store: CheckpointStore, ledger: Mapping[str, Any]) -> Future[Path]:
        """Copy what later steps depend on to memory, on all ranks; the future ends with its writing.

        `ledger` is the position that the copy belongs to. Waits for the write before, whose error it raises.
        See `CheckpointWriter.begin`.
        """
        self._writer.settle()
        self._order("checkpoint")
        return self._writer.begin(self._trainer.copied(), store, ledger)

    def load(self, path: Path) -> Manifest:
        """Continue from a verified checkpoint, weights, optimizer and generators of every rank.

        CheckpointError, with nothing changed, when it is torn or another model's.
        """
        manifest = read_manifest(path)
        verify(path, manifest)
        refuse_another_model(checked_sizes(path, manifest), self.shapes)
        self._order("load", path=str(path))
        self._trainer.load(path)
        return manifest

    def refuse_unshared(self, folder: Path) -> None:
        """PreflightError unless every rank sees what this one writes into `folder`; all write there."""
        if dist.get_world_size() == 1:
            return
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(prefix=".seen-", dir=folder) as probe:
            path = str(folder / Path(probe.name).name)
            self._order("sees", path=path)
            answers = self._channel.collect(_sight(path))
        blind = sorted({answer["host"] for answer in answers if not answer["sees"]})
        if blind:
            raise PreflightError(
                f"{folder}: {', '.join(blind)} does not see what {socket.gethostname()} writes there: with "
                "ranks on several hosts run.directory must be on a file system that they share"
            )

    def stop(self, *, leaves: bool = True) -> None:
        """Let the other ranks leave `serve`, and, with `leaves`, all ranks the process group.

        A checkpoint that is being written is written to its end.
        """
        self._order("stop", leaves=leaves)
        self._writer.close()
        if leaves:
            dist.destroy_process_group()

    def _order(self, kind: str, **arguments: Any) -> None:
        self._channel.send([{"kind": kind, **arguments}] * dist.get_world_size())

    def _deal(self, kind: str, batch: Batch, **arguments: Any) -> None:
        own: list[tuple[MicroBatch, ...]] = [(), *batch.ranks[1:]]
        if len(batch.ranks) != dist.get_world_size():
            raise ValueError(
                f"the batch was packed for {len(batch.ranks)} ranks, there are {dist.get_world_size()}"
            )
        self._channel.send(
            [
                {"kind": kind, **arguments, "microbatches": [part.to_bytes() for part in parts]}
                for parts in own
            ]
        )


def serve(trainer: Trainer) -> None:
    """Carry out rank 0's commands until it says stop; for every rank but 0."""
    channel = CommandChannel()
    writer = CheckpointWriter()
    while True:
        command = channel.receive()
        kind = command.pop("kind")
        if kind in ("step", "mismatch", "score"):
            microbatches = [MicroBatch.from_bytes(part) for part in command.pop("microbatches")]
            done = getattr(trainer, kind)(microbatches, **command)
            if kind == "score":
                channel.collect(to_bytes(done))
        elif kind == "gather":
            for _ in trainer.named_weights(command["dtype"]):
                pass
        elif kind == "save_huggingface":
            trainer.save_huggingface(Path(command["path"]))
        elif kind == "state":
            trainer.state()
        elif kind == "checkpoint":
            writer.settle()
            writer.follow(trainer.copied())
        elif kind == "load":
            trainer.load(Path(command["path"]))
        elif kind == "sees":
            channel.collect(_sight(command["path"]))
        else:
            assert kind == "stop", kind
            writer.close()
            if command["leaves"]:
                dist.destroy_process_group()
            return


def _sight(path: str) -> dict[str, Any]:
    return {"host": socket.gethostname(), "sees": Path(path).exists()}


class TrainerThread:
    """`Ranks` for asynchronous callers: every call runs on one thread of its own, in the order of the calls.

        async with TrainerThread(lambda: open_trainer(folder, learner, model)) as trainer:
            statistics = await trainer.step(batch, 1, 1.0)

    A call that is cancelled before it began never happens; one in progress still finishes whole, and the
    next one waits for it. Leaving the block stops the other ranks.
    """

    def __init__(self, build: Callable[[], Trainer]) -> None:
        self._build = build
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="trainer")
        self._ranks: Ranks | None = None

    async def __aenter__(self) -> Self:
        with ExitStack() as stack:
            stack.callback(self._executor.shutdown, wait=False)
            self._ranks = await self._call(lambda: Ranks(self._build()))
            stack.pop_all()
        return self

    async def __aexit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        try:
            await self._call(lambda: self._here.__exit__(kind, error, trace))
        finally:
            self._executor.shutdown(wait=False)

    async def step(self, batch: Batch, step: int, temperature: float) -> StepStatistics:
        """See `Ranks.step`."""
        return await self._call(lambda: self._here.step(batch, step=step, temperature=temperature))

    async def mismatch(self, batch: Batch, version: int, temperature: float) -> float:
        """The mean of `Ranks.mismatch`, nats."""
        found = await self._call(lambda: self._here.mismatch(batch, version=version, temperature=temperature))
        return found.mean

    async def gather(self, dtype: str, consume: WeightConsumer[T]) -> T:
        """See `Ranks.gather`; `consume` runs on the trainer's thread."""
        return await self._call(lambda: self._here.gather(dtype, consume))

    async def save_huggingface(self, path: Path) -> None:
        """See `Ranks.save_huggingface`."""
        await self._call(lambda: self._here.save_huggingface(path))

    async def run(self, work: Callable[[Ranks], T]) -> T:
        """Anything else that must not overlap with a step: `work(ranks)` on the trainer's thread."""
        return await self._call(lambda: work(self._here))

    @property
    def _here(self) -> Ranks:
        assert self._ranks is not None, "the trainer is used outside its `async with` block"
        return self._ranks

    async def _call(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._executor, work)
