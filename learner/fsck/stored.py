"""Stored trajectories are what arrived, and steps count the tokens that they hold: one pass over all."""

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from common.codec import unpack
from common.errors import ProtocolError
from common.trajectory import Trajectory
from learner.fsck.evidence import Checked, Evidence
from learner.ledger_file import checksum
from learner.ledger_records import result_columns
from learner.staleness import token_staleness
from learner.tally import bucket

_COLUMNS = (
    "attempt", "actor", "outcome", "is_success", "score", "return", "num_turns", "num_tokens",
    "num_action_tokens",
)  # fmt: skip
_GROUP = ("environment", "task", "horizon")
_QUERY = """
SELECT t.group_id, t.member, t.bytes, {checksum}, {columns}, {group}, g.purpose, g.state, g.reason, g.step
FROM trajectories t JOIN groups g ON g.id = t.group_id ORDER BY t.group_id, t.member
"""


@dataclass
class Lengths:
    """Trajectories of one environment by length in turns, see `tally.bucket`."""

    admitted: Counter[int] = field(default_factory=Counter)
    trained: Counter[int] = field(default_factory=Counter)
    dropped: dict[str, Counter[int]] = field(default_factory=lambda: defaultdict(Counter))
    """By reason."""


@dataclass
class Stored:
    """What the pass has seen."""

    bytes: Checked = field(default_factory=Checked)
    tokens: Checked = field(default_factory=Checked)
    lengths: dict[str, Lengths] = field(default_factory=lambda: defaultdict(Lengths))
    """Of training trajectories, by environment."""

    def look_at_all(self, run: Evidence) -> Checked:
        """Decode every stored trajectory once; what was found of their bytes, all else is in the fields."""
        steps = {row[0]: row[1:] for row in run.rows("SELECT step, max_staleness, num_tokens FROM steps")}
        counts = {step: _Count() for step in steps}
        for row in _rows(run):
            self.bytes.number += 1
            trajectory, wrong = _examined(run, row)
            if wrong:
                self.bytes.violations.append(f"trajectory {row['group']}/{row['member']}: {wrong}")
            if row["purpose"] != "training":
                continue
            _count_length(self.lengths[row["environment"]], row)
            count = counts.get(row["step"]) if row["state"] == "consumed" else None
            if count is not None:
                count.add(None if wrong else trajectory, row["step"] - 1, steps[row["step"]][0])
        for step, count in counts.items():
            if not count.is_known:
                continue
            self.tokens.number += 1
            num_tokens = steps[step][1]
            if num_tokens not in (count.fresh, count.fresh_and_ended):
                self.tokens.violations.append(
                    f"step {step}: trained on {num_tokens} tokens; its groups hold {count.fresh} that old"
                )
        return self.bytes


@dataclass
class _Count:
    """Tokens of a step's groups that are no older than the oldest one that it trained on."""

    fresh: int = 0
    fresh_and_ended: int = 0
    """Without truncated trajectories, for `mask_truncated`."""
    is_known: bool = True
    """False when one of the trajectories cannot be read."""

    def add(self, trajectory: Trajectory | None, version: int, max_staleness: int) -> None:
        if trajectory is None:
            self.is_known = False
            return
        number = int((token_staleness(trajectory, version) <= max_staleness).sum())
        self.fresh += number
        self.fresh_and_ended += 0 if trajectory.is_truncated else number


def _rows(run: Evidence) -> Iterator[dict[str, Any]]:
    query = _QUERY.format(
        checksum="t.checksum" if run.has_column("trajectories", "checksum") else "NULL",
        columns=", ".join(f"t.{name}" for name in _COLUMNS),
        group=", ".join(f"g.{name}" for name in _GROUP),
    )
    names = ("group", "member", "bytes", "checksum", *_COLUMNS, *_GROUP, "purpose", "state", "reason", "step")
    for values in run.rows(query):
        yield dict(zip(names, values, strict=True))


def _examined(run: Evidence, row: dict[str, Any]) -> tuple[Trajectory | None, str]:
    """The decoded trajectory, if it can be, and the first thing that is wrong with it."""
    if row["checksum"] is None and run.is_exact:
        return None, "has no checksum"
    if row["checksum"] is not None and row["checksum"] != checksum(row["bytes"]):
        return None, "its bytes do not match their checksum"
    try:
        trajectory = unpack(row["bytes"], Trajectory)
    except ProtocolError as error:
        return None, f"its bytes cannot be decoded: {error}"
    told = dict(
        zip(
            _COLUMNS,
            (trajectory.identity.attempt, trajectory.actor, *result_columns(trajectory)),
            strict=True,
        )
    )
    told |= {
        "environment": trajectory.task.environment,
        "task": trajectory.task.task,
        "horizon": trajectory.horizon,
        "group": trajectory.identity.group,
        "member": trajectory.identity.member,
    }
    differing = [name for name, value in told.items() if row[name] != value]
    if differing:
        name = differing[0]
        return trajectory, f"{name} is {row[name]!r} in the table and {told[name]!r} in its bytes"
    if run.has_leases and trajectory.identity.run != run.meta.get("run"):
        return trajectory, f"belongs to run {trajectory.identity.run!r}"
    if run.has_leases and trajectory.identity.ledger != run.meta.get("ledger", ""):
        return trajectory, f"was granted by another ledger of the run, {trajectory.identity.ledger!r}"
    return trajectory, ""


def _count_length(lengths: Lengths, row: dict[str, Any]) -> None:
    place = bucket(row["num_turns"])
    lengths.admitted[place] += 1
    if row["state"] == "consumed":
        lengths.trained[place] += 1
    elif row["state"] == "dropped":
        lengths.dropped[row["reason"]][place] += 1
