"""Whether dropping favoured a length more than the run's curves say. A warning: bias breaks no promise."""

from collections import Counter, defaultdict
from collections.abc import Mapping

from learner.fsck.evidence import Evidence, statistics
from learner.fsck.stored import Lengths
from learner.tally import BUCKETS

TOLERANCE = 0.1
"""How much further apart, as total variation, admitted and trained lengths may be than the curves say."""
MIN_TRAINED = 50
"""Fewer trajectories of an environment say nothing about shares."""


def distance(one: Mapping[int, float], other: Mapping[int, float]) -> float:
    """Total variation between two histograms, 0 to 1; 0 when one is empty."""
    first, second = sum(one.values()), sum(other.values())
    if not first or not second:
        return 0.0
    places = one.keys() | other.keys()
    return sum(abs(one.get(i, 0) / first - other.get(i, 0) / second) for i in places) / 2


def warnings(run: Evidence, lengths: Mapping[str, Lengths]) -> list[str]:
    """One line per environment whose trained episodes are less like the settled ones than was reported."""
    reported = reported_distance(run)
    told = []
    for environment, seen in sorted(lengths.items()):
        settled = seen.trained + sum(seen.dropped.values(), Counter[int]())
        found = distance(settled, seen.trained)
        if seen.trained.total() >= MIN_TRAINED and found > reported + TOLERANCE:
            told.append(
                f"{environment}: dropping moved the lengths of trained episodes by {found:.2f}"
                f" (total variation); the metrics report {reported:.2f}"
            )
    return told


def reported_distance(run: Evidence) -> float:
    """Between admitted and trained episodes, summed over the recorded curves of all steps."""
    sums = {kind: defaultdict[int, float](float) for kind in ("admitted", "trained")}
    for (text,) in run.rows("SELECT values_json FROM steps"):
        values = statistics(text) or {}
        for kind, counts in sums.items():
            for place, name in enumerate(BUCKETS):
                counts[place] += values.get(f"length/{kind}/{name}", 0)
    return distance(sums["admitted"], sums["trained"])
