"""An engine in the model: requests share it, reading holds the others up, a weight update stops all.

Every running request gets its next token after `decode_s + decode_per_request_s * n` seconds, n of them
running; taking in a request and reading its prompt stops decoding. Simulated exactly without an event per
token: a clock of tokens runs at the common pace, and a request ends when it has reached its own mark.
"""

import heapq
from collections import deque
from dataclasses import dataclass, field
from functools import partial

import simpy

from launch.plan.costs import Costs
from launch.plan.gauge import Gauge

Spans = list[tuple[int, int]]
"""(policy version, tokens that it sampled), in order."""


@dataclass(eq=False)
class _Request:
    stall_s: float
    context: int
    num_tokens: int
    done: simpy.Event
    asked_at: float
    waited_s: float = 0.0
    """For a place in the batch."""
    marks: list[tuple[int, float]] = field(default_factory=list)
    """(policy version, the clock of tokens when it began to sample for this request)."""


class SharedEngine:
    """One engine; `generate` gives an event that succeeds with (spans, seconds waited for a place)."""

    def __init__(
        self, env: simpy.Environment, costs: Costs, max_num_seqs: int, *, clears_cache: bool = False
    ) -> None:
        self.version = 0
        self.busy = Gauge(env)
        """1 while it holds a request."""
        self.paused = Gauge(env)
        self.running = Gauge(env)
        self._env = env
        self._costs = costs
        self._places = max_num_seqs
        self._clears_cache = clears_cache
        self._heap: list[tuple[float, int, _Request]] = []
        self._queue: deque[_Request] = deque()
        self._clock = 0.0
        """Tokens that a request running from the beginning would have."""
        self._clock_at = 0.0
        self._stalled_until = 0.0
        self._stall_left = 0.0
        """While paused."""
        self._is_paused = False
        self._ticket = 0
        self._number = 0

    def generate(self, context: int, new_tokens: int, num_tokens: int) -> simpy.Event:
        """Sample `num_tokens` after `context` tokens, of which `new_tokens` have not been read before."""
        costs = self._costs
        read = context if costs.reads_again else new_tokens
        stall = costs.request_s + costs.read_s * read
        request = _Request(stall, context, num_tokens, self._env.event(), self._env.now)
        self._queue.append(request)
        self.busy.set(1)
        self._advance()
        self._admit()
        self._schedule()
        return request.done

    def pause(self) -> None:
        """Stop decoding and reading."""
        self._advance()
        self._is_paused = True
        self._stall_left = max(0.0, self._stalled_until - self._env.now)
        self.paused.set(1)
        self._ticket += 1

    def resume(self, version: int) -> None:
        """Go on, sampling with `version` from the next token."""
        self._is_paused = False
        self.version = version
        self.paused.set(0)
        if self._clears_cache:
            self._stall_left += self._costs.read_s * sum(r.context for _, _, r in self._heap)
        self._clock_at = self._env.now
        self._stalled_until = self._env.now + self._stall_left
        for _, _, request in self._heap:
            request.marks.append((version, self._clock))
        self._admit()
        self._schedule()

    def _token_s(self) -> float:
        return self._costs.decode_s + self._costs.decode_per_request_s * len(self._heap)

    def _advance(self) -> None:
        """Bring the clock of tokens up to now."""
        now = self._env.now
        elapsed = now - max(self._clock_at, self._stalled_until)
        if self._heap and not self._is_paused and elapsed > 0:
            token_s = self._token_s()
            limit = self._heap[0][0]
            self._clock = min(limit, self._clock + elapsed / token_s) if token_s else limit
        self._clock_at = now

    def _admit(self) -> None:
        """Fill the free places in the order of asking; the clock of tokens is up to date."""
        while self._queue and len(self._heap) < self._places and not self._is_paused:
            request = self._queue.popleft()
            request.marks.append((self.version, self._clock))
            self._number += 1
            heapq.heappush(self._heap, (self._clock + request.num_tokens, self._number, request))
            self._stalled_until = max(self._stalled_until, self._env.now) + request.stall_s
            request.waited_s = self._env.now - request.asked_at
        self.running.set(len(self._heap))

    def _schedule(self) -> None:
        """Be woken when the next request ends."""
        self._ticket += 1
        if not self._heap or self._is_paused:
            return
        left = (self._heap[0][0] - self._clock) * self._token_s()
        stall = max(0.0, self._stalled_until - self._env.now)
        due = self._env.timeout(stall + left)
        assert due.callbacks is not None
        due.callbacks.append(partial(self._due, self._ticket))

    def _due(self, ticket: int, _event: simpy.Event) -> None:
        if ticket != self._ticket:
            return  # something has changed since this was foreseen
        self._clock = self._heap[0][0]
        self._clock_at = self._env.now
        while self._heap and self._heap[0][0] <= self._clock:
            _, _, request = heapq.heappop(self._heap)
            request.done.succeed((_spans(request), request.waited_s))
        self._admit()
        self.busy.set(float(bool(self._heap or self._queue)))
        self._schedule()


def _spans(request: _Request) -> Spans:
    """Which version sampled how many of its tokens."""
    if len(request.marks) == 1:
        return [(request.marks[0][0], request.num_tokens)]
    began = request.marks[0][1]
    starts = [round(clock - began) for _, clock in request.marks]
    ends = [*starts[1:], request.num_tokens]
    found = zip(request.marks, starts, ends, strict=True)
    return [(version, end - start) for (version, _), start, end in found if end > start]
