import numpy as np
import pytest

from learner.algorithm_config import LossConfig
from learner.statistics import total_over_ranks
from tests import reference
from tests.learner.token_batches import random_batch, run
from tests.learner.torch_side import single_rank


def test_means_are_over_the_trained_tokens_of_all_micro_batches() -> None:
    batch = random_batch([30, 50, 20], spread=0.5)
    parts = [run(LossConfig(), part)[2] for part in (batch[:2], [], batch[2:])]
    with single_rank():
        total = total_over_ranks(parts, num_tokens=400)
    target, behaviour, proximal, known = (
        np.concatenate([getattr(s, name) for s in batch])
        for name in ("target", "behaviour", "proximal", "reference")
    )
    assert (total.num_tokens, total.num_trained_tokens) == (400, 100)
    assert total.loss == pytest.approx(run(LossConfig(), batch)[0])
    assert total.mismatch_kl == pytest.approx(reference.k3(target, behaviour))
    assert total.reference_kl == pytest.approx(reference.k3(known, target))
    assert total.update_kl == pytest.approx(reference.k3(target, proximal))
    assert total.max_ratio == pytest.approx(np.exp(target - behaviour).max())
    share = reference.effective_sample_share(target, behaviour)
    assert total.effective_sample_share == pytest.approx(share)


def test_without_trained_tokens_every_mean_is_zero() -> None:
    with single_rank():
        total = total_over_ranks([run(LossConfig(), [])[2]], num_tokens=7)
    assert total.num_tokens == 7
    assert not any(value for name, value in vars(total).items() if name != "num_tokens")
