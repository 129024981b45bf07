"""All invariants of a run, checked on one snapshot of its ledger. Begin with `examine`."""

import sqlite3
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from common.run_directory import RunDirectory
from learner.fsck import bias
from learner.fsck.evidence import Checked, Evidence, opened
from learner.fsck.file import file_is_sound
from learner.fsck.groups import evaluations_have_results, groups_are_whole, steps_train_once
from learner.fsck.leases import attempts_have_no_gap, leases_end_once
from learner.fsck.order import tasks_are_in_order
from learner.fsck.stored import Lengths, Stored
from learner.ledger_arrivals import counter
from learner.ledger_records import COUNTED


@dataclass(frozen=True)
class Invariant:
    """One promise, and what was found."""

    name: str
    promise: str
    checked: Checked


@dataclass(frozen=True)
class Report:
    """What is known of a run after looking at all of it."""

    invariants: tuple[Invariant, ...]
    warnings: tuple[str, ...]
    lengths: Mapping[str, Lengths]
    """Of training trajectories, by environment."""
    counts: Mapping[str, Mapping[str, int]]
    """Groups by state, leases by end, arrivals by verdict."""
    outboxes: Mapping[str, tuple[int, int]]
    """By actor: trajectories that wait to be acknowledged, and files that were set aside as damaged."""

    @property
    def violations(self) -> tuple[str, ...]:
        """One line per broken promise, with the name of the invariant; empty when all hold."""
        return tuple(f"{i.name}: {line}" for i in self.invariants for line in i.checked.violations)


def examine(folder: RunDirectory) -> Report:
    """Look at a live, crashed or finished run and change nothing. LedgerError when there is no ledger."""
    with opened(folder) as run:
        seen = Stored()
        checks: list[tuple[str, str, Callable[[Evidence], Checked]]] = [
            ("file", "the database is sound", file_is_sound),
            ("leases", "every granted lease is out or ended once, with its reason", leases_end_once),
            ("attempts", "the attempts of a member have no gap", attempts_have_no_gap),
            ("groups", "groups are whole and in a state that their members agree with", groups_are_whole),
            ("stored", "stored trajectories decode and match checksum, columns and group", seen.look_at_all),
            ("steps", "no group is trained on twice, and no step is without its groups", steps_train_once),
            ("tokens", "steps counted the tokens that their groups hold", lambda _: seen.tokens),
            ("evaluations", "held-out groups are consumed by recorded evaluations", evaluations_have_results),
            ("tasks", "training groups play the run's tasks in order, none skipped", tasks_are_in_order),
            ("checkpoints", "the step that a checkpoint names is in the ledger", checkpoints_are_recorded),
        ]  # fmt: skip
        invariants = tuple(Invariant(name, promise, _checked(check, run)) for name, promise, check in checks)
        if invariants[0].checked.violations:
            return Report(invariants, (), {}, {}, outboxes(folder))
        return Report(
            invariants, tuple(bias.warnings(run, seen.lengths)), seen.lengths, counts(run), outboxes(folder)
        )


def _checked(check: Callable[[Evidence], Checked], run: Evidence) -> Checked:
    try:
        return check(run)
    except (sqlite3.Error, TypeError, ValueError) as error:  # the last two of values that `file` names
        return Checked(violations=[f"the ledger cannot be read: {error}"])


def checkpoints_are_recorded(run: Evidence) -> Checked:
    """A checkpoint belongs to a position of this ledger: resuming from it rewinds to there."""
    found = Checked(len(run.checkpoints))
    recorded = {step for (step,) in run.rows("SELECT step FROM steps")}
    for name, step in run.checkpoints.items():
        if step is None:
            found.violations.append(f"checkpoint {name}: its manifest cannot be read")
        elif step and step not in recorded:
            found.violations.append(f"checkpoint {name}: step {step} is not in the ledger")
    return found


def counts(run: Evidence) -> dict[str, dict[str, int]]:
    """Groups by purpose and state, leases by end, and what arrived and was not stored by verdict."""
    return {
        "groups": dict(
            run.rows("SELECT purpose || ' ' || state, COUNT(*) FROM groups GROUP BY 1 ORDER BY 1")
        ),
        "drops": dict(
            run.rows("SELECT reason, COUNT(*) FROM groups WHERE reason != '' GROUP BY 1 ORDER BY 1")
        ),
        "leases": dict(
            run.rows("SELECT IIF(ended = '', 'out', ended), COUNT(*) FROM leases GROUP BY 1 ORDER BY 1")
        ),
        "arrivals": {verdict: int(run.meta.get(counter(verdict), 0)) for verdict in COUNTED},
    }


def outboxes(folder: RunDirectory) -> dict[str, tuple[int, int]]:
    """What waits on this host in every actor's outbox."""
    return {
        path.name: (len(list(path.glob("*-*-*[0-9]"))), len(list(path.glob("*.refused"))))
        for path in sorted(folder.outbox.glob("*"))
        if path.is_dir()
    }
