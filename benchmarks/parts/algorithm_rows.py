"""What is compared: a row is a name and what it changes in `configs/algorithms.toml`, nothing else."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

CONFIG: Final = Path(__file__).parents[2] / "configs" / "algorithms.toml"

FORCED: Final = (0, 2, 8, 16)
"""Versions of staleness in the off-policy comparison."""


@dataclass(frozen=True)
class Row:
    """One line of a table; every seed of it is a run."""

    name: str
    changes: Mapping[str, str]
    """Field of the section `learner` -> value, as on the command line."""
    staleness: int | None = None
    """Forced, in versions; None: as it comes, within `learner.staleness.max_staleness`."""

    @property
    def label(self) -> str:
        """Estimator and loss, with whatever else was changed."""
        known = ("advantage.kind", "loss.kind")
        others = [f"{field} {value}" for field, value in self.changes.items() if field not in known]
        return ", ".join([f"`{self.changes[known[0]]}` + `{self.changes[known[1]]}`", *others])

    @property
    def overrides(self) -> list[str]:
        """The changes as arguments, with those that forcing takes."""
        fields = dict(self.changes)
        if self.staleness is not None:
            fields |= {"staleness.max_staleness": str(self.staleness), "staleness.mode": "wait"}
            # A policy that has collapsed fails every group: a run that refills them would never end.
            fields |= {"drops_zero_variance": "false"}
        return [f"--learner.{field}={value}" for field, value in fields.items()]


def _row(name: str, advantage: str, loss: str, **changes: str) -> Row:
    """Double underscores in the names of `changes` stand for dots."""
    others = {field.replace("__", "."): value for field, value in changes.items()}
    return Row(name, {"advantage.kind": advantage, "loss.kind": loss, **others})


_CRITIC: Final = {
    # The horizon is the same from first to last: an episode that it cuts has failed.
    "advantage__bootstraps": "false",
    "advantage__whitens": "true",
    "learning_rate": "3e-4",
    "advantage__gae_lambda": "0.95",
    "critic__kind": "separate",
    "critic__learning_rate": "1e-3",
    "critic__warmup_steps": "2",
}
"""The horizon is the task's own limit here, and running out of turns its only failure: with a bootstrap and
without a discount a value of 1 everywhere would be right, and nothing would be learnt. 80 steps make no good
critic: its advantages are noisier than those of a group, so they are whitened and the steps are smaller."""

ALGORITHMS: Final = (
    _row("grpo", "grpo", "dppo_tv"),
    _row("rloo", "rloo", "dppo_tv"),
    _row("reinforce_pp", "reinforce_pp", "dppo_tv"),
    _row("ppo+gae", "gae", "ppo", **_CRITIC),
    _row("vtrace", "vtrace", "tis", **_CRITIC),
    _row("decoupled_ppo", "grpo", "decoupled_ppo", minibatches="2", learning_rate="3e-4"),
    _row("cispo", "grpo", "cispo"),
    _row("gspo", "grpo", "gspo", loss__gspo_low="0.03", loss__gspo_high="0.04"),
)
"""Estimators with the default loss, losses with the default estimator, and the two that have a critic."""

OFF_POLICY: Final = tuple(
    Row(f"{loss}-{staleness}", {"advantage.kind": "grpo", "loss.kind": loss}, staleness)
    for loss in ("dppo_tv", "reinforce")
    for staleness in FORCED
)
"""The default loss, and the plain policy gradient that corrects nothing."""


def chosen(rows: Sequence[Row], names: Sequence[str]) -> list[Row]:
    """The rows of these names, in their own order; all of them for none. ValueError for an unknown name."""
    known = [row.name for row in rows]
    for name in names:
        if name not in known:
            raise ValueError(f"--only {name}: allowed are {', '.join(known)}")
    return [row for row in rows if not names or row.name in names]
