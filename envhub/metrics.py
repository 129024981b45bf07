"""What the hub counts, as Prometheus text (exposition format 0.0.4)."""

from collections import Counter
from collections.abc import Iterable

BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class HubMetrics:
    """Counters since the hub began; labels are environments and refusal codes: few, never free text."""

    def __init__(self) -> None:
        self._sessions: Counter[str] = Counter()
        self._steps: Counter[str] = Counter()
        self._refusals: Counter[str] = Counter()
        self._expired = 0
        self._buckets: Counter[float] = Counter()
        self._total_s = 0.0

    def session_opened(self, environment: str) -> None:
        """A session began."""
        self._sessions[environment] += 1

    def session_expired(self) -> None:
        """A session outlived its time to live."""
        self._expired += 1

    def step_answered(self, environment: str, seconds: float) -> None:
        """A step was answered after so many seconds, waits included."""
        self._steps[environment] += 1
        self._total_s += seconds
        self._buckets[next((edge for edge in BUCKETS_S if seconds <= edge), float("inf"))] += 1

    def refused(self, code: str) -> None:
        """A call was refused, faults included."""
        self._refusals[code] += 1

    def render(self, *, num_sessions: int, num_workers: int, num_lost_workers: int) -> str:
        """All of it, with the present numbers of sessions and workers."""
        lines = [
            *_metric("pronghorn_hub_sessions", "gauge", [("", num_sessions)]),
            *_metric("pronghorn_hub_workers", "gauge", [("", num_workers)]),
            *_metric("pronghorn_hub_workers_lost_total", "counter", [("", num_lost_workers)]),
            *_metric("pronghorn_hub_sessions_expired_total", "counter", [("", self._expired)]),
            *_metric(
                "pronghorn_hub_sessions_opened_total", "counter", _labelled("environment", self._sessions)
            ),
            *_metric("pronghorn_hub_steps_total", "counter", _labelled("environment", self._steps)),
            *_metric("pronghorn_hub_refusals_total", "counter", _labelled("code", self._refusals)),
            *_metric("pronghorn_hub_step_seconds", "histogram", self._histogram()),
        ]
        return "\n".join(lines) + "\n"

    def _histogram(self) -> Iterable[tuple[str, float]]:
        below = 0
        for edge in BUCKETS_S:
            below += self._buckets[edge]
            yield f'_bucket{{le="{edge:g}"}}', below
        total = self._buckets.total()
        yield '_bucket{le="+Inf"}', total
        yield "_sum", self._total_s
        yield "_count", total


def _labelled(label: str, counts: Counter[str]) -> Iterable[tuple[str, float]]:
    return [(f'{{{label}="{value}"}}', counts[value]) for value in sorted(counts)]


def _metric(name: str, kind: str, samples: Iterable[tuple[str, float]]) -> list[str]:
    return [f"# TYPE {name} {kind}", *(f"{name}{suffix} {value:g}" for suffix, value in samples)]
