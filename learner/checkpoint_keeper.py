"""Keeps checkpoints of a learner while it trains on.

The loop `serve` consumes the writes that `keep` began, one at a time; `keep` and `settled` wait until it has
seen the last one succeed. When one fails the loop fails, which ends whoever waits and the run.
"""

import asyncio
import logging
import time
from concurrent.futures import Future
from pathlib import Path

from learner.checkpoint import CheckpointStore
from learner.ranks import TrainerThread

log = logging.getLogger(__name__)


class CheckpointKeeper:
    """At most one write in flight; one that failed ends the run.

    async with background(keeper.serve()):
        await keeper.keep(10)       # training stops for the copy to memory
        ...
        await keeper.settled()      # before the end of the run
    """

    def __init__(self, trainer: TrainerThread, store: CheckpointStore, kept: int = 0) -> None:
        self._trainer = trainer
        self._store = store
        self._kept = kept
        """The version of the newest checkpoint; of version 0 there is none."""
        self._begun: asyncio.Queue[Future[Path]] = asyncio.Queue(1)
        self._is_settled = asyncio.Event()
        self._is_settled.set()

    async def serve(self) -> None:
        """Watch every write; PreflightError as soon as one fails: nobody is to train on without a net."""
        while True:
            writing = await self._begun.get()
            await asyncio.shield(asyncio.wrap_future(writing))
            self._is_settled.set()

    async def keep(self, version: int) -> None:
        """Copy the state after step `version` and begin to write it; training stops for the copy alone.

        Waits for the write before this one. Does nothing when that version is kept already.
        """
        if version == self._kept:
            return
        began = time.monotonic()
        await self.settled()
        waited = time.monotonic() - began
        self._begun.put_nowait(
            await self._trainer.run(lambda ranks: ranks.begin_checkpoint(self._store, {"step": version}))
        )
        self._is_settled.clear()
        self._kept = version
        stopped = time.monotonic() - began
        log.info("copied version=%d stopped_s=%.3f waited_s=%.3f", version, stopped, waited)

    async def settled(self) -> None:
        """Wait for the write in flight. Does not return when it failed: `serve` ends the run."""
        await self._is_settled.wait()
