"""`pronghorn fsck RUN`: whether the ledger of a run - live, crashed or finished - kept its promises.

0 when all hold, 1 when one is broken, 2 when the folder holds no run.
"""

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from common.errors import ConfigurationError, LedgerError
from common.run_directory import RunDirectory
from learner.fsck.examine import Invariant, Report, examine
from learner.fsck.stored import Lengths
from learner.tally import BUCKETS


def main(options: argparse.Namespace, overrides: Sequence[str]) -> int:
    """Print the table of invariants, and a line for each violation."""
    if overrides:
        raise ConfigurationError(f"{overrides[0]}: `pronghorn fsck` reads no configuration of its own")
    try:
        report = examine(RunDirectory(options.run))
    except LedgerError as error:
        raise ConfigurationError(str(error)) from error
    text = json.dumps(as_values(report), indent=1) if options.json else "\n".join(as_lines(report))
    sys.stdout.write(text + "\n")
    return 1 if report.violations else 0


def as_values(report: Report) -> dict[str, Any]:
    """The report for programs."""
    return {
        "holds": not report.violations,
        "invariants": [
            {
                "name": i.name,
                "promise": i.promise,
                "checked": i.checked.number,
                "skipped": i.checked.skipped,
                "violations": i.checked.violations,
            }
            for i in report.invariants
        ],
        "warnings": list(report.warnings),
        "counts": report.counts,
        "lengths": {environment: _lengths(seen) for environment, seen in sorted(report.lengths.items())},
        "outboxes": {name: {"waiting": n, "refused": m} for name, (n, m) in report.outboxes.items()},
    }


def as_lines(report: Report) -> list[str]:
    """The report for people."""
    lines = [f"{'invariant':<12} {'checked':>9} {'broken':>7}  promise"]
    lines += [_row(invariant) for invariant in report.invariants]
    lines += ["", *(f"{kind}: {_listed(found)}" for kind, found in report.counts.items())]
    for environment, seen in sorted(report.lengths.items()):
        for kind, histogram in _lengths(seen).items():
            lines.append(f"turns of {environment}, {kind}: {_listed(histogram)}")
    for name, (waiting, refused) in report.outboxes.items():
        lines.append(f"outbox {name}: {waiting} waiting, {refused} refused")
    lines += [f"warning: {line}" for line in report.warnings]
    lines += [f"broken: {line}" for line in report.violations]
    lines.append("broken" if report.violations else "all invariants hold")
    return lines


def _row(invariant: Invariant) -> str:
    checked = invariant.checked
    number = "skipped" if checked.skipped else str(checked.number)
    why = f" ({checked.skipped})" if checked.skipped else ""
    return f"{invariant.name:<12} {number:>9} {len(checked.violations):>7}  {invariant.promise}{why}"


def _listed(found: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {number}" for name, number in found.items()) or "none"


def _lengths(seen: Lengths) -> dict[str, dict[str, int]]:
    """Histograms by name: admitted, trained, and dropped for each reason."""
    kinds = {"admitted": seen.admitted, "trained": seen.trained}
    kinds |= {f"dropped ({reason})": counts for reason, counts in sorted(seen.dropped.items())}
    return {
        kind: {BUCKETS[place]: counts[place] for place in sorted(counts)} for kind, counts in kinds.items()
    }
