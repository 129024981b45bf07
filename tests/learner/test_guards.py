import pytest

from learner.algorithm_config import GuardConfig
from learner.guards import ends_epochs, rate_scale, skips_update


def test_the_rate_follows_the_square_root_of_the_effective_sample_share() -> None:
    config = GuardConfig(ess_scaling=True)
    assert [rate_scale(config, share) for share in (0.0, 0.25, 1.0)] == [0.0, 0.5, 1.0]
    assert rate_scale(config, 1 + 1e-9) == 1.0


def test_a_guard_that_is_off_changes_nothing() -> None:
    assert rate_scale(GuardConfig(), 0.01) == 1.0
    assert not skips_update(GuardConfig(), 0.0)
    assert not ends_epochs(GuardConfig(), 1e9)


@pytest.mark.parametrize(("share", "skips"), [(0.09, True), (0.1, False), (1.0, False)])
def test_an_update_of_too_few_effective_tokens_is_skipped(share: float, skips: bool) -> None:
    assert skips_update(GuardConfig(min_ess=0.1), share) is skips


@pytest.mark.parametrize(("kl", "ends"), [(0.0, False), (0.02, False), (0.03, True)])
def test_the_epochs_end_beyond_the_largest_update(kl: float, ends: bool) -> None:
    assert ends_epochs(GuardConfig(max_update_kl=0.02), kl) is ends
