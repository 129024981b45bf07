"""What happens right now: the file that the live view reads, and the engines' numbers from heartbeats."""

import asyncio
import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from common.messages import Heartbeat
from common.run_directory import write_json
from learner.dispatcher import Dispatcher
from learner.door import Door
from learner.engine_counters import EngineCounters

log = logging.getLogger(__name__)

INTERVAL_S = 1.0
"""Between two writings of the file."""


class Status:
    """Gathers the present state; `write` keeps the file fresh for as long as it runs."""

    def __init__(
        self,
        path: Path,
        steps: int,
        dispatcher: Dispatcher,
        door: Door,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.stage = "starting"
        self.heldout: float | None = None
        """Success at the last evaluation."""
        self._path = path
        self._steps = steps
        self._step = 0
        self._values: dict[str, float] = {}
        self._dispatcher = dispatcher
        self._door = door
        self._is_refused = False
        self._clock = clock
        self._counters = EngineCounters()
        self._last = (clock(), self._counters.total)

    def stepped(self, step: int, values: dict[str, float]) -> None:
        """A step is done; these are its metrics."""
        self._step = step
        self._values = values

    def engine_values(self) -> dict[str, float]:
        """What the engines did since the last call, and the present load of the actors that are connected."""
        self._counters.observe(self._door.heartbeats)
        beats = self._beats()
        then, before = self._last
        now, total = self._clock(), self._counters.total
        self._last = (now, total)
        done, elapsed = total - before, max(now - then, 1e-9)
        present = elapsed * max(1, len(beats))
        return {
            "throughput/generated_tokens_per_s": done.generated_tokens / elapsed,
            "engine/generation_s": done.generation_s,
            "engine/utilisation": done.generation_s / present,
            "engine/paused_share": done.paused_s / present,
            "engine/running": float(sum(b.num_running for b in beats)),
            "engine/waiting": float(sum(b.num_waiting for b in beats)),
            "engine/sessions": float(sum(b.num_sessions for b in beats)),
            "engine/weight_sync_s": max((b.weight_sync_s for b in beats), default=0.0),
            "engine/first_token_s": max((b.first_token_s for b in beats), default=0.0),
            "queue/complete_groups": float(self._dispatcher.queue),
            "queue/leases_in_play": float(self._dispatcher.book.num_out),
            "queue/leases_pending": float(self._dispatcher.book.num_pending),
            "queue/unacknowledged": float(sum(b.unacknowledged for b in beats)),
            "queue/actors": float(len(self._dispatcher.book.actors)),
        }

    async def write(self) -> None:
        """Endless: write the status file once a second."""
        while True:
            await self.refresh()
            await asyncio.sleep(INTERVAL_S)

    async def refresh(self) -> None:
        """Replace the status file; a disk that refuses is logged once, until it no longer does."""
        self._counters.observe(self._door.heartbeats)
        try:
            await asyncio.to_thread(write_json, self._path, self._present())
            self._is_refused = False
        except OSError as error:
            if not self._is_refused:
                log.warning("skipped status=%s reason=%s", self._path, error)
            self._is_refused = True

    def _beats(self) -> list[Heartbeat]:
        """The last heartbeats of the actors that are connected: what those that left did is over."""
        heard = self._door.heartbeats
        return [heard[actor] for actor in self._dispatcher.book.actors if actor in heard]

    def _present(self) -> dict[str, Any]:
        return {
            "stage": self.stage,
            "step": self._step,
            "steps": self._steps,
            "horizon": self._dispatcher.horizon,
            "success": self._values.get("train/success"),
            "heldout": self.heldout,
            "staleness": self._values.get("staleness/mean"),
            "generated_tokens_per_s": self._values.get("throughput/generated_tokens_per_s"),
            "trained_tokens_per_s": self._values.get("throughput/trained_tokens_per_s"),
            "queue": self._dispatcher.queue,
            "sessions": sum(beat.num_sessions for beat in self._beats()),
            "message": "",
        }
