"""Groups that were opened and not yet consumed: in play, complete, or played for an evaluation."""

from collections.abc import Sequence

from common.trajectory import Group
from learner.config import StalenessConfig
from learner.ledger_records import OpenGroup
from learner.staleness import is_too_stale


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

    def too_stale(self, version: int, staleness: StalenessConfig) -> list[int]:
        """Complete groups that must be dropped instead of being trained on at `version`."""
        return [i for i, group in self.complete.items() if is_too_stale(group, version, staleness)]

    def ready(self, staleness: StalenessConfig) -> Sequence[Group]:
        """Complete groups, oldest first; under `wait` only those that no open group precedes."""
        is_waiting = staleness.mode == "wait" and self.open
        return [self.complete[i] for i in sorted(self.complete) if not is_waiting or i < min(self.open)]
