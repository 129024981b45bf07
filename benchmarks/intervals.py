"""How often the 95 % intervals of avg@k hold the truth, on simulated tasks.

Tasks have success rates of their own: all alike, Beta(2, 2), or 0 and 1 only. `clustered` is the interval
that evaluations print, `over_plays` Wilson's over all plays as if they were independent, `bootstrap` the
percentiles of 1,000 draws of tasks. A figure's name ends with how many tasks there are and how often each is
played.
"""

import numpy as np
from numpy.typing import NDArray

from benchmarks.report import Report, parse
from common.statistics import clustered_interval, wilson_interval

REPEATS = 2000
DRAWS = 1000
INTERVALS = ("clustered", "over_plays", "bootstrap")
RATES = ("alike 0.1", "alike 0.5", "Beta(2, 2)", "0 or 1", "Beta(0.2, 1.8)")


def rates(kind: str, tasks: int, rng: np.random.Generator) -> tuple[NDArray[np.float64], float]:
    """[REPEATS, tasks] success rates, and their expectation."""
    shape = (REPEATS, tasks)
    if kind.startswith("alike"):
        share = float(kind.split()[1])
        return np.full(shape, share), share
    if kind == "0 or 1":
        return (rng.random(shape) < 0.3).astype(np.float64), 0.3
    a, b = (2.0, 2.0) if kind == "Beta(2, 2)" else (0.2, 1.8)
    return rng.beta(a, b, shape), a / (a + b)


def coverage(kind: str, tasks: int, plays: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Share of the repeats in which the truth lies within, by `INTERVALS`."""
    chosen, truth = rates(kind, tasks, rng)
    shares = rng.binomial(plays, chosen) / plays
    held = np.zeros(3)
    for row in shares:
        drawn = row[rng.integers(0, tasks, (DRAWS, tasks))].mean(axis=1)
        low, high = np.percentile(drawn, [2.5, 97.5])
        intervals = (
            clustered_interval(row.tolist(), tasks * plays),
            wilson_interval(round(float(row.sum()) * plays), tasks * plays),
            (low, high),
        )
        held += [low <= truth <= high for low, high in intervals]
    return held / REPEATS


def main() -> None:
    """Simulate and report."""
    arguments = parse(__doc__)
    report = Report("intervals")
    rng = np.random.default_rng(0)
    for kind in RATES:
        for tasks, plays in ((20, 8), (100, 1), (100, 8)):
            for name, share in zip(INTERVALS, coverage(kind, tasks, plays, rng), strict=True):
                report.add(f"{kind}: {name}, {tasks} x {plays}", share, "")
    report.finish(arguments.json)


if __name__ == "__main__":
    main()
