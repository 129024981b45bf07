"""What the hub counts, as Prometheus text (exposition format 0.0.4), by environment."""

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Mapping

BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_EDGES = (*BUCKETS_S, float("inf"))

_HELP = {
    "sessions": "Sessions in play.",
    "workers": "Worker processes that are up.",
    "connections": "Connections that are open, on all ports.",
    "workers_lost_total": "Worker processes that died, hung or grew too large.",
    "sessions_opened_total": "Sessions begun.",
    "sessions_expired_total": "Sessions closed because nobody touched them for hub.session_ttl_s.",
    "faults_total": "Sessions lost to their environment or their worker, by the code that said so.",
    "refusals_total": "Calls and steps of a batch that were refused, by code, faults included.",
    "step_seconds": (
        "Seconds from a step's arrival to its answer, waits for other turns of its session and "
        "hub.latency_mean_s included; of a batch, from its arrival until the step and those before it were "
        "answered. Turns sent again count, refused ones do not."
    ),
}
"""Metric -> what it counts."""

Samples = Iterable[tuple[str, float]]


class HubMetrics:
    """Counters since the hub began; labels are environments and refusal codes: few, never free text."""

    def __init__(self) -> None:
        self._opened: Counter[str] = Counter()
        self._expired: Counter[str] = Counter()
        self._faults: Counter[tuple[str, str]] = Counter()
        self._refusals: Counter[str] = Counter()
        self._buckets: dict[str, Counter[float]] = {}
        self._total_s: dict[str, float] = {}

    def session_opened(self, environment: str) -> None:
        """A session began."""
        self._opened[environment] += 1

    def session_expired(self, environment: str) -> None:
        """A session outlived its time to live."""
        self._expired[environment] += 1

    def session_faulted(self, environment: str, code: str) -> None:
        """A session was lost to its environment or its worker."""
        self._faults[environment, code] += 1

    def step_answered(self, environment: str, seconds: float) -> None:
        """A step was answered with a result, new or remembered, after so many seconds since its arrival.

        Waits count: for other turns of the session, for the configured latency and, in a batch, for the
        answers of the steps before it. Refused steps are counted by `refused` alone.
        """
        self._buckets.setdefault(environment, Counter())[_EDGES[bisect_left(BUCKETS_S, seconds)]] += 1
        self._total_s[environment] = self._total_s.get(environment, 0.0) + seconds

    def refused(self, code: str) -> None:
        """A call was refused, faults included."""
        self._refusals[code] += 1

    def render(
        self,
        *,
        sessions: Mapping[str, int],
        num_workers: int,
        lost_workers: Mapping[str, int],
        num_connections: int,
    ) -> str:
        """All of it, with sessions in play, workers up, workers lost so far and connections open."""
        lines = [
            *_metric("sessions", "gauge", _by_environment(sessions)),
            *_metric("workers", "gauge", [("", num_workers)]),
            *_metric("connections", "gauge", [("", num_connections)]),
            *_metric("workers_lost_total", "counter", _by_environment(lost_workers)),
            *_metric("sessions_opened_total", "counter", _by_environment(self._opened)),
            *_metric("sessions_expired_total", "counter", _by_environment(self._expired)),
            *_metric("faults_total", "counter", self._fault_samples()),
            *_metric("refusals_total", "counter", _labelled("code", self._refusals)),
            *_metric("step_seconds", "histogram", self._histograms()),
        ]
        return "\n".join(lines) + "\n"

    def _fault_samples(self) -> Samples:
        return [
            (f'{{environment="{_escaped(name)}",code="{code}"}}', count)
            for (name, code), count in sorted(self._faults.items())
        ]

    def _histograms(self) -> Samples:
        for environment in sorted(self._buckets):
            counts, below = self._buckets[environment], 0
            label = f'environment="{_escaped(environment)}"'
            for edge in BUCKETS_S:
                below += counts[edge]
                yield f'_bucket{{{label},le="{edge:g}"}}', below
            yield f'_bucket{{{label},le="+Inf"}}', counts.total()
            yield f"_sum{{{label}}}", self._total_s[environment]
            yield f"_count{{{label}}}", counts.total()


def _by_environment(counts: Mapping[str, int]) -> Samples:
    return _labelled("environment", counts)


def _labelled(label: str, counts: Mapping[str, int]) -> Samples:
    return [(f'{{{label}="{_escaped(value)}"}}', counts[value]) for value in sorted(counts)]


def _escaped(value: str) -> str:
    """As label values must be: the names of other packages' environments may hold anything."""
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _metric(name: str, kind: str, samples: Samples) -> list[str]:
    full = f"pronghorn_hub_{name}"
    lines = [f"# HELP {full} {_HELP[name]}", f"# TYPE {full} {kind}"]
    return lines + [f"{full}{suffix} {value!r}" for suffix, value in samples]
