"""Groups that were opened and not yet consumed: in play, complete, or played for an evaluation."""

from collections.abc import Sequence

from common.trajectory import Group
from learner.config import StalenessConfig
from learner.ledger_records import OpenGroup
from learner.staleness import is_too_stale, sampled_by


class Outstanding:
    """In memory what the ledger knows of these groups; the dispatcher changes both together."""

    def __init__(self) -> None:
        self.open: dict[int, OpenGroup] = {}
        """Training groups of which a member is missing, by group."""
        self.complete: dict[int, Group] = {}
        """Training groups that wait for a step."""
        self.evaluating: dict[int, str] = {}
        """Label of the evaluation that waits for this group."""

    @property
    def num_training(self) -> int:
        """Training groups that take a slot."""
        return len(self.open) + len(self.complete)

    def forget(self, group: int) -> None:
        """The group is consumed or dropped: its slot is free."""
        for table in (self.open, self.complete, self.evaluating):
            table.pop(group, None)

    def too_stale(self, version: int, staleness: StalenessConfig, num_needed: int) -> list[int]:
        """Complete groups that must be dropped instead of being trained on at `version`.

        Back at a checkpoint there are groups of versions that the learner has yet to reach again. They wait
        for that, unless fewer than `num_needed` others would be left to get there with.
        """
        ahead = {i for i, group in self.complete.items() if max(sampled_by(group), default=-1) > version}
        num_later = sum(group.granted_version > version for group in self.open.values())
        kept = ahead if self.num_training - len(ahead) - num_later >= num_needed else set[int]()
        stale = [i for i, group in self.complete.items() if is_too_stale(group, version, staleness)]
        return [i for i in stale if i not in kept]

    def ready(self, version: int, staleness: StalenessConfig) -> Sequence[Group]:
        """Complete groups to train on at `version`, oldest first; under `wait` what no open one precedes."""
        first = min(self.open, default=None) if staleness.mode == "wait" else None
        known = [self.complete[i] for i in sorted(self.complete) if first is None or i < first]
        return [group for group in known if not is_too_stale(group, version, staleness)]
