"""The curves of a step: what has been played since the last one."""

from learner.tally import BUCKETS, Tally
from tests import making


def test_every_episode_is_in_one_bucket_of_its_length() -> None:
    tally = Tally()
    trained = [making.trajectory(num_turns=number) for number in (0, 1, 2, 3, 64, 65)]
    for trajectory in trained:
        tally.add(trajectory)
    values = tally.flush(trained[:3])
    admitted, counted = (
        [values[f"length/{kind}/{name}"] for name in BUCKETS] for kind in ("admitted", "trained")
    )
    assert (BUCKETS[0], BUCKETS[-1]) == ("up_to_2", "over_64")
    assert admitted == [3, 1, 0, 0, 0, 1, 1]
    assert counted == [3, 0, 0, 0, 0, 0, 0]
