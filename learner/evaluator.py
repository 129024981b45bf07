"""The evaluator: held-out tasks played under evaluation leases by the same actors, never trained on.

Consumes the episodes that the dispatcher collects under a label; produces the recorded result and its curve.
`play` is waited for by the learner. `serve` plays what `follow` finds due while training goes on: at most one
evaluation at a time, within `evaluation.max_share` of the actors' places and `evaluation.deadline_s`; newer
policies take over amid it, and which ones played is recorded. It waits for the actors, and `follow` wakes it.
"""

import asyncio
import logging
from collections.abc import Sequence
from typing import Any

from common.evaluation import episode_results, summarize
from common.metrics import MetricsWriter
from common.trajectory import TaskReference, Trajectory
from learner.config import LearnerRoleConfig
from learner.dispatcher import Dispatcher
from learner.door import Door
from learner.ledger import Ledger
from learner.status import Status

log = logging.getLogger(__name__)


class Evaluator:
    """Plays `heldout` under a label, once per label in the history that counts."""

    def __init__(
        self,
        config: LearnerRoleConfig,
        heldout: Sequence[TaskReference],
        *,
        dispatcher: Dispatcher,
        door: Door,
        ledger: Ledger,
        metrics: MetricsWriter,
        status: Status,
    ) -> None:
        self._config = config.evaluation
        self._horizon = config.evaluation.horizon or config.horizon.rounds[-1]
        self._sampling = config.sampling.model_copy(update={"temperature": config.evaluation.temperature})
        self._heldout = heldout
        self._dispatcher = dispatcher
        self._door = door
        self._ledger = ledger
        self._metrics = metrics
        self._status = status
        self._due = 0
        """The step whose evaluation was asked for last; 0: none."""
        self._is_wanted = asyncio.Event()
        self._is_idle = asyncio.Event()
        self._is_idle.set()

    async def play(self, label: str, version: int) -> bool:
        """Play the held-out tasks with `version`, unless recorded already. False when asked to stop."""
        if not self._heldout or await self._is_recorded(label):
            return not self._dispatcher.is_stopping
        self._status.stage = f"evaluating {label}"
        await self._open(label, max_share=1.0)
        trajectories = await self._dispatcher.evaluation(label)
        self._status.stage = "training"
        if not trajectories:
            return False
        await self._record(label, version, trajectories)
        return True

    def follow(self, version: int) -> None:
        """Training is at `version`: ask once for the newest evaluation that is due, and for no older one."""
        every = self._config.every
        due = version - version % every if every else 0
        if due > self._due and self._heldout:
            if self._is_wanted.is_set():
                log.warning("skipped evaluation=%d reason=another is in play", self._due)
            self._due = due
            self._is_idle.clear()
            self._is_wanted.set()

    async def settled(self) -> bool:
        """Wait until nothing that `follow` asked for is in play. False when asked to stop."""
        await self._is_idle.wait()
        return not self._dispatcher.is_stopping

    async def serve(self) -> None:
        """Endless: play what `follow` asks for."""
        while True:
            await self._is_wanted.wait()
            self._is_wanted.clear()
            label = f"step {self._due}"
            if not await self._is_recorded(label):
                await self._play_amid_training(label)
            if not self._is_wanted.is_set():
                self._is_idle.set()

    async def _play_amid_training(self, label: str) -> None:
        version = self._dispatcher.version
        await self._open(label, max_share=self._config.max_share)
        try:
            async with asyncio.timeout(self._config.deadline_s):
                trajectories = await self._dispatcher.evaluation(label)
        except TimeoutError:
            # What has been played is no fair sample: long episodes would be missing.
            log.warning("abandoned evaluation=%s deadline_s=%g", label, self._config.deadline_s)
            await self._door.abandon(label)
            return
        if trajectories:
            await self._record(label, version, trajectories)

    async def _is_recorded(self, label: str) -> bool:
        return await self._dispatcher.call_ledger(self._ledger.evaluation, label) is not None

    async def _open(self, label: str, *, max_share: float) -> None:
        await self._dispatcher.open_evaluation(
            label,
            [task for task in self._heldout for _ in range(self._config.samples)],
            horizon=self._horizon,
            sampling=self._sampling,
            max_share=max_share,
        )
        await self._door.grant()

    async def _record(self, label: str, version: int, trajectories: Sequence[Trajectory]) -> None:
        """Keep the result of what was begun at `version`; a play that could not be had is counted missing."""
        values = summarize(episode_results(trajectories))
        values["num_missing"] = len(self._heldout) * self._config.samples - len(trajectories)
        await self._dispatcher.call_ledger(
            self._ledger.record_evaluation,
            label,
            step=version,
            version=max(version, values.get("newest_version", version)),
            values=values,
        )
        await asyncio.to_thread(self._metrics.write, curve(values), version)
        self._status.heldout = values["success"]
        log.info(
            "evaluated label=%s versions=%s-%s success=%.3f low=%.3f high=%.3f tasks=%d missing=%d",
            label,
            values.get("oldest_version", version),
            values.get("newest_version", version),
            values["success"],
            values["low"],
            values["high"],
            values["num_tasks"],
            values["num_missing"],
        )


def curve(values: dict[str, Any]) -> dict[str, float]:
    """What of an evaluation makes curves, by metric name."""
    names = [name for name, value in values.items() if isinstance(value, int | float)]
    told = {f"heldout/{name}": float(values[name]) for name in names}
    return told | {f"heldout/pass_at_{k}": passed["share"] for k, passed in values["pass_at"].items()}
