"""What happens right now: the file that the live view reads, and the engines' numbers from heartbeats."""

import asyncio
import time
from pathlib import Path
from typing import Any

from common.run_directory import write_json
from learner.dispatcher import Dispatcher
from learner.door import Door

INTERVAL_S = 1.0
"""Between two writings of the file."""


class Status:
    """Gathers the present state; `write` keeps the file fresh for as long as it runs."""

    def __init__(self, path: Path, steps: int, dispatcher: Dispatcher, door: Door) -> None:
        self.stage = "starting"
        self.heldout: float | None = None
        """Success at the last evaluation."""
        self._path = path
        self._steps = steps
        self._step = 0
        self._values: dict[str, float] = {}
        self._dispatcher = dispatcher
        self._door = door
        self._last = (time.monotonic(), 0, 0.0, 0.0)

    def stepped(self, step: int, values: dict[str, float]) -> None:
        """A step is done; these are its metrics."""
        self._step = step
        self._values = values

    def generation_s(self) -> float:
        """Seconds in which engines held at least one request, summed over actors."""
        return sum(beat.generation_s for beat in self._door.heartbeats.values())

    def engine_values(self) -> dict[str, float]:
        """Rates since the last call, and the present load, over all actors that have been heard."""
        beats = list(self._door.heartbeats.values())
        now = time.monotonic()
        tokens = sum(b.generated_tokens for b in beats)
        busy, paused = sum(b.generation_s for b in beats), sum(b.paused_s for b in beats)
        then, tokens_then, busy_then, paused_then = self._last
        self._last = (now, tokens, busy, paused)
        elapsed = max(now - then, 1e-9)
        return {
            "throughput/generated_tokens_per_s": max(0, tokens - tokens_then) / elapsed,
            "engine/utilisation": max(0.0, busy - busy_then) / elapsed / max(1, len(beats)),
            "engine/paused_share": max(0.0, paused - paused_then) / elapsed / max(1, len(beats)),
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
        """Endless: replace the status file once a second."""
        while True:
            await asyncio.to_thread(write_json, self._path, self._present())
            await asyncio.sleep(INTERVAL_S)

    def _present(self) -> dict[str, Any]:
        beats = self._door.heartbeats.values()
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
            "sessions": sum(beat.num_sessions for beat in beats),
            "message": "",
        }
