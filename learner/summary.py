"""The result of a run, read back from its ledger: what was played, trained, dropped, and how well it ends."""

import json
from collections import defaultdict
from typing import Any

from learner.horizon import StepEvidence
from learner.ledger import Ledger

TIMES = ("training", "weight_sync", "waiting")
"""The learner's shares of its own time; what is left is bookkeeping."""


def evidence(ledger: Ledger) -> list[StepEvidence]:
    """What was played for each step at the schedule's horizon of that step, for the adaptive schedule.

    Groups that taught nothing because all members scored the same are counted with those trained on:
    without them success would lie near the middle, however well or badly the policy plays.
    """
    rows = ledger.rows(
        "SELECT s.step, s.horizon, COUNT(*), SUM(t.is_success), SUM(t.outcome = 'truncated_by_horizon')"
        " FROM steps s JOIN groups g ON g.step = s.step AND g.horizon = s.horizon AND g.purpose = 'training'"
        " AND (g.state = 'consumed' OR (g.state = 'dropped' AND g.reason = 'zero_variance'))"
        " JOIN trajectories t ON t.group_id = g.id GROUP BY s.step ORDER BY s.step"
    )
    return [StepEvidence(*row) for row in rows]


def summarize_run(ledger: Ledger) -> dict[str, Any]:
    """The contents of `summary.json`; counts are of training trajectories, staleness is of trained tokens.

    Seconds are summed over the recorded steps, whichever processes took them; `generation` also over actors.
    """
    steps = ledger.rows(
        "SELECT step, horizon, max_staleness, num_tokens, values_json FROM steps ORDER BY step"
    )
    seconds: dict[str, float] = defaultdict(float)
    for row in steps:
        values = json.loads(row[4])
        for name in TIMES:
            seconds[name] += values.get(f"time/{name}_s", 0.0)
        seconds["generation"] += values.get("engine/generation_s", 0.0)
    return {
        "heldout": {label: ledger.evaluation(label) for label in ("before", "after")},
        "steps": len(steps),
        "minutes": sum(json.loads(row[4]).get("time/step_s", 0.0) for row in steps) / 60,
        "horizons": _changes([(row[0], row[1]) for row in steps]),
        "trajectories": _trajectories(ledger),
        "max_staleness_trained": max((row[2] for row in steps), default=0),
        "tokens": {
            "generated": _count(
                ledger,
                "SELECT COALESCE(SUM(t.num_action_tokens), 0)"
                " FROM trajectories t JOIN groups g ON g.id = t.group_id WHERE g.purpose = 'training'",
            ),
            "trained": sum(row[3] for row in steps),
        },
        "seconds": {name: seconds[name] for name in ("generation", *TIMES)},
    }


def _changes(horizons: list[tuple[int, int]]) -> list[dict[str, int]]:
    """The steps at which the schedule's horizon changed, the first included."""
    changes: list[dict[str, int]] = []
    for step, horizon in horizons:
        if not changes or changes[-1]["horizon"] != horizon:
            changes.append({"step": step, "horizon": horizon})
    return changes


def _trajectories(ledger: Ledger) -> dict[str, int]:
    """granted = consumed + dropped + waiting + in_play; each member once, however often granted."""
    members = "SELECT COALESCE(SUM(size), 0) FROM groups WHERE purpose = 'training' AND state = "
    by_state = {
        state: _count(ledger, f"{members}'{state}'") for state in ("consumed", "dropped", "complete", "open")
    }
    return {
        "granted": sum(by_state.values()),
        "consumed": by_state["consumed"],
        "dropped": by_state["dropped"],
        "waiting": by_state["complete"],
        "in_play": by_state["open"],
        "duplicate": ledger.num_arrivals("duplicate"),
    }


def _count(ledger: Ledger, query: str) -> int:
    return int(ledger.rows(query)[0][0])
