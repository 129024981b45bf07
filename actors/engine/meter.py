"""What an engine counts about itself, for heartbeats and dashboards."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from actors.engine.engine import EngineLoad


class LoadMeter:
    """Counts requests, tokens, busy seconds and paused seconds of one engine, on one event loop."""

    def __init__(self, max_num_seqs: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._max_num_seqs = max_num_seqs
        self._clock = clock
        self._num_requests = 0
        self._tokens = 0
        self._busy_s = 0.0
        self._busy_since = 0.0
        self._paused_s = 0.0

    @contextmanager
    def request(self) -> Iterator[None]:
        """A request is in the engine for as long as the body runs."""
        if self._num_requests == 0:
            self._busy_since = self._clock()
        self._num_requests += 1
        try:
            yield
        finally:
            self._num_requests -= 1
            if self._num_requests == 0:
                self._busy_s += self._clock() - self._busy_since

    @contextmanager
    def pause(self) -> Iterator[None]:
        """Generation stands still for as long as the body runs."""
        since = self._clock()
        try:
            yield
        finally:
            self._paused_s += self._clock() - since

    def generated(self, num_tokens: int) -> None:
        """A request has returned this many tokens."""
        self._tokens += num_tokens

    def load(self) -> EngineLoad:
        """The counters as of now."""
        busy_now = self._clock() - self._busy_since if self._num_requests else 0.0
        return EngineLoad(
            num_running=min(self._num_requests, self._max_num_seqs),
            num_waiting=max(0, self._num_requests - self._max_num_seqs),
            generated_tokens=self._tokens,
            generation_s=self._busy_s + busy_now,
            paused_s=self._paused_s,
        )
