"""What the policy says of a made-up context with and without its adapter, for engines to compare with."""

import numpy as np
import torch.distributed as dist

from common.messages import AdapterEntry, AdapterProbe
from learner.batch import Batch, TrainingSequence
from learner.packing import pack
from learner.ranks import Ranks

_NUM_TOKENS = 8
_NUM_CANDIDATES = 8
_STRIDE = 7919
"""Prime, so that tokens come from all over the vocabulary."""


def probed_adapter(ranks: Ranks) -> AdapterEntry | None:
    """What a manifest says of the policy's adapter as it is now, probe included; None without an adapter."""
    entry = ranks.adapter
    if entry is None:
        return None
    tokens, candidates = question(ranks.vocabulary)
    batch = _batch(tokens, candidates, dist.get_world_size())
    scores = ranks.score(batch, temperature=1.0, wants=["proximal", "reference"])

    def said(name: str) -> tuple[float, ...]:
        return tuple(float(getattr(score, name)[0]) for score in scores)

    probe = AdapterProbe(
        tokens=tokens,
        candidates=candidates,
        base=said("reference_logprobs"),
        adapted=said("proximal_logprobs"),
    )
    return entry.model_copy(update={"probe": probe})


def question(vocabulary: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """A context and tokens that might follow it, the same for every model of that many tokens."""
    chosen = [number * _STRIDE % vocabulary for number in range(1, _NUM_TOKENS + _NUM_CANDIDATES + 1)]
    candidates = dict.fromkeys(chosen[_NUM_TOKENS:])
    return tuple(chosen[:_NUM_TOKENS]), tuple(candidates)


def _batch(tokens: tuple[int, ...], candidates: tuple[int, ...], num_ranks: int) -> Batch:
    """One sequence for each candidate."""
    is_action = np.arange(len(tokens) + 1) == len(tokens)
    zeros = np.zeros(len(tokens) + 1, np.float32)
    versions = np.where(is_action, 0, -1).astype(np.int32)
    sequences = [
        TrainingSequence.of(
            np.array([*tokens, candidate], np.int32), is_action, is_action, zeros, zeros, versions
        )
        for candidate in candidates
    ]
    return pack(sequences, microbatch_tokens=len(zeros) * len(candidates), num_ranks=num_ranks)
