"""Writes checkpoints behind the back of training: it stops for the copy to memory and for nothing else.

    trainer's thread     copy of this rank's shards          the next step ...
    writer's thread                                 \\-> file, checksum, fsync -> rank 0: manifest, rename

Every rank has one writer with a thread and a process group of its own, so that nothing that training sends
comes between. Consumes the copies of `begin`, one at a time: a second one waits for the first.
"""

import json
import logging
import time
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch.distributed as dist

from common.errors import PreflightError
from learner import shard_file
from learner.atomic_folder import atomic_folder, sync
from learner.checkpoint import CheckpointStore, fingerprint
from learner.checkpoint_manifest import NAME, Manifest, checksum, random_name, shard_name
from learner.command_channel import CommandChannel

log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class RankCopy:
    """One rank's part of a checkpoint, in memory of its own."""

    shards: dict[str, shard_file.Shard]
    random: dict[str, Any]
    shapes: dict[str, tuple[int, ...]]
    """Of the whole model."""
    step: int
    num_skipped: int


class CheckpointWriter:
    """One rank's writer; made by all ranks together, and begun by all of them with copies of one moment."""

    def __init__(self) -> None:
        self._channel = CommandChannel()
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="checkpoint")
        self._writing: Future[Any] | None = None

    def settle(self) -> None:
        """Wait for the write in flight; its error, if it failed."""
        if self._writing is not None:
            writing, self._writing = self._writing, None
            writing.result()

    def begin(self, copy: RankCopy, store: CheckpointStore, ledger: Mapping[str, Any]) -> Future[Path]:
        """On rank 0: write this copy and those of the other ranks as one checkpoint, whole or not at all.

        The future gives its path, after what the policy does not keep was removed, or raises PreflightError
        when a disk refused: then the checkpoints there stay.
        """
        future = self._executor.submit(self._lead, copy, store, dict(ledger))
        self._writing = future
        return future

    def follow(self, copy: RankCopy) -> None:
        """On every other rank: give this copy to what rank 0 has begun."""
        self._writing = self._executor.submit(self._follow, copy)

    def close(self) -> None:
        """Wait for the write in flight, whatever becomes of it; nothing may be begun afterwards."""
        self._executor.shutdown(wait=True)

    def _lead(self, copy: RankCopy, store: CheckpointStore, ledger: dict[str, Any]) -> Path:
        began = time.perf_counter()
        path = store.path(copy.step)
        try:
            with atomic_folder(path) as draft:
                self._tell(str(draft))
                checksums = _sum_of(self._channel.collect(_write(draft, copy)))
                manifest = Manifest(
                    step=copy.step,
                    num_skipped=copy.num_skipped,
                    num_ranks=dist.get_world_size(),
                    ledger=ledger,
                    fingerprint=fingerprint(copy.shapes),
                    checksums=checksums,
                )
                (draft / NAME).write_text(manifest.model_dump_json(indent=2) + "\n")
            store.prune()
        except OSError as error:
            raise PreflightError(f"checkpoint {path}: {error}; the checkpoints before it are kept") from error
        log.info("kept checkpoint=%s wrote_s=%.2f", path.name, time.perf_counter() - began)
        return path

    def _tell(self, draft: str) -> None:
        self._channel.send([{"draft": draft}] * dist.get_world_size())

    def _follow(self, copy: RankCopy) -> None:
        draft = self._channel.receive()["draft"]
        self._channel.collect(_write(Path(draft), copy))


def _write(draft: Path, copy: RankCopy) -> dict[str, Any]:
    """Write this rank's files; their checksums, or the error: every rank must answer."""
    rank = dist.get_rank()
    files = [draft / shard_name(rank), draft / random_name(rank)]
    try:
        shard_file.write(files[0], copy.shards)
        files[1].write_text(json.dumps(copy.random))
        for file in files:
            sync(file)
        return {"checksums": {file.name: checksum(file) for file in files}}
    except OSError as error:
        return {"error": f"rank {rank}: {error}"}


def _sum_of(answers: list[dict[str, Any]]) -> dict[str, str]:
    for answer in answers:
        if "error" in answer:
            raise OSError(answer["error"])
    return {name: value for answer in answers for name, value in answer["checksums"].items()}
