"""Which complete groups a learner trains on, drops or lets wait; above all back at a checkpoint."""

from common.trajectory import TaskReference
from learner.config import StalenessConfig
from learner.ledger_records import OpenGroup
from learner.outstanding import Outstanding
from tests import making

SYNCHRONOUS = StalenessConfig(max_staleness=0)


def outstanding(*versions: int, opened: tuple[int, ...] = ()) -> Outstanding:
    """Complete groups played by these versions, then open ones granted at those of `opened`."""
    found = Outstanding()
    found.complete = {i: making.group(i, version=version) for i, version in enumerate(versions)}
    task = TaskReference(environment="toy", task="task-0")
    for i, version in enumerate(opened, start=len(versions)):
        found.open[i] = OpenGroup(i, "training", "", task, 5, 2, version, frozenset(), {})
    return found


def ready(groups: Outstanding, version: int) -> list[int]:
    return [group.group for group in groups.ready(version, SYNCHRONOUS)]


def test_groups_of_versions_that_are_yet_to_be_reached_again_wait_for_them() -> None:
    groups = outstanding(2, 2, 3, 3, opened=(4,))
    assert groups.too_stale(2, SYNCHRONOUS, 2) == []
    assert ready(groups, 2) == [0, 1]
    for group in (0, 1):
        groups.forget(group)
    assert groups.too_stale(3, SYNCHRONOUS, 2) == []
    assert ready(groups, 3) == [2, 3]


def test_they_are_dropped_when_the_learner_could_not_get_there() -> None:
    """One group of the present version is not a step: what waits for later ones would wait for ever."""
    assert outstanding(2, 3, 3, opened=(4,)).too_stale(2, SYNCHRONOUS, 2) == [1, 2]
    assert outstanding(2, 3, 3, opened=(2,)).too_stale(2, SYNCHRONOUS, 2) == []


def test_old_groups_are_dropped_as_ever() -> None:
    groups = outstanding(1, 2, 2)
    assert groups.too_stale(2, SYNCHRONOUS, 2) == [0]
    assert ready(groups, 2) == [1, 2]


def test_under_wait_no_group_overtakes_an_open_one() -> None:
    groups = outstanding(2, 2, opened=(2,))
    groups.complete[9] = making.group(9, version=2)
    waiting = StalenessConfig(max_staleness=1, mode="wait")
    assert [group.group for group in groups.ready(2, waiting)] == [0, 1]
