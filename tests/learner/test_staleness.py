import numpy as np

from common.trajectory import VersionSpan
from learner.config import StalenessConfig
from learner.staleness import fresh_tokens, is_too_stale, max_outstanding, measure, token_staleness
from tests import making


def mixed(versions: tuple[int, ...]):
    """One turn whose tokens were sampled by these versions, one each."""
    spans = tuple(VersionSpan(version=v, num_tokens=1) for v in versions)
    turn = making.turn(num_action=len(versions), versions=spans)
    return making.trajectory(turns=(turn,))


def test_staleness_is_counted_from_the_oldest_token():
    group = making.group(version=3)
    measured = measure(group, [4, 6], version=7)
    assert measured.oldest == 4
    assert measured.in_flight == np.mean([1, 3])
    assert measured.in_queue == np.mean([3, 1])


def test_in_flight_and_in_queue_shares_add_up_to_the_staleness():
    measured = measure(making.group(version=2), [5, 5], version=9)
    assert measured.in_flight + measured.in_queue == measured.oldest == 7


def test_no_token_older_than_max_staleness_is_fresh():
    trajectory = mixed((1, 4, 5))
    assert token_staleness(trajectory, 6).tolist() == [5, 2, 1]
    assert fresh_tokens(trajectory, 6, StalenessConfig(max_staleness=2)).tolist() == [False, True, True]


def test_a_token_of_a_version_lost_in_a_resume_is_as_foreign_as_one_equally_old():
    assert token_staleness(mixed((9,)), 6).tolist() == [3]


def test_drop_gives_up_a_group_for_one_old_token_and_mask_only_when_none_is_fresh():
    group = making.group(version=0)
    drop, mask = StalenessConfig(max_staleness=2, mode="drop"), StalenessConfig(max_staleness=2, mode="mask")
    assert is_too_stale(group, 3, drop)
    assert is_too_stale(group, 3, mask)
    half = group.model_copy(update={"trajectories": (mixed((0, 3)), mixed((3,)))})
    assert is_too_stale(half, 3, drop)
    assert not is_too_stale(half, 3, mask)


def test_capacity_is_one_step_more_than_the_staleness_allowed():
    assert max_outstanding(StalenessConfig(max_staleness=0), 4) == 4
    assert max_outstanding(StalenessConfig(max_staleness=8), 4) == 36
