"""What the networks say of a batch before its updates begin: the input of advantages and losses.

proximal logprobs   the policy's own, where the loss or a mask anchors on them
reference logprobs  of the frozen reference model
values, bootstrap   of the critic
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from learner.batch import Batch, MicroBatch
from learner.networks import Networks

FloatVector = NDArray[np.float32]
Arrays = dict[str, FloatVector]
"""Of one micro-batch: `proximal`, `reference`, `values` [A] over all its action tokens, `bootstraps` [B]."""


@dataclass(frozen=True, eq=False)
class Scores:
    """Of one sequence; [A] float32 over its action tokens, None where it was not asked for."""

    proximal_logprobs: FloatVector | None = None
    reference_logprobs: FloatVector | None = None
    values: FloatVector | None = None
    bootstrap: float = 0.0
    """V at the very end of the sequence."""


@torch.no_grad()
def score(
    networks: Networks, microbatches: Sequence[MicroBatch], temperature: float, wants: Sequence[str]
) -> list[Arrays]:
    """What this rank's networks say; `wants` holds some of `proximal`, `reference`, `values`. Collective."""
    found = [_score_one(networks, microbatch, temperature, wants) for microbatch in microbatches]
    networks.reshard()
    return found


def _score_one(
    networks: Networks, microbatch: MicroBatch, temperature: float, wants: Sequence[str]
) -> Arrays:
    packed = networks.packed(microbatch, microbatch.is_action)
    found: Arrays = {}
    # A critic of its own needs no pass of the policy.
    if "proximal" in wants or ("values" in wants and networks.critic is None):
        scored = networks.policy(packed, temperature, False)
        found["proximal"] = scored.logprobs.cpu().numpy()
        if scored.values is not None:
            found |= _split(scored.values, microbatch)
    if "values" in wants and networks.critic is not None:
        found |= _split(networks.critic(packed), microbatch)
    if "reference" in wants:
        found["reference"] = networks.scored_by_reference(packed, temperature).logprobs.cpu().numpy()
    return found


def _split(values: torch.Tensor, microbatch: MicroBatch) -> Arrays:
    """The values before action tokens, and those at the ends; an empty micro-batch has neither."""
    number = microbatch.num_action_tokens
    here = values.float().cpu().numpy()
    return {"values": here[:number], "bootstraps": here[number:][: microbatch.num_sequences]}


def to_bytes(arrays: Sequence[Arrays]) -> list[dict[str, bytes]]:
    """What travels to rank 0."""
    return [{name: array.tobytes() for name, array in part.items()} for part in arrays]


def from_bytes(parts: Sequence[Mapping[str, bytes]]) -> list[Arrays]:
    """The arrays that `to_bytes` took apart."""
    return [{name: np.frombuffer(raw, np.float32) for name, raw in part.items()} for part in parts]


def per_sequence(batch: Batch, ranks: Sequence[Sequence[Arrays]]) -> list[Scores]:
    """The scores of every packed sequence in the order in which they were given to `pack`."""
    found: dict[int, Scores] = {}
    for microbatches, places, arrays in zip(batch.ranks, batch.places, ranks, strict=True):
        for microbatch, place, parts in zip(microbatches, places, arrays, strict=True):
            found |= dict(zip(place, _cut(microbatch, parts), strict=True))
    return [found[index] for index in range(len(found))]


def _cut(microbatch: MicroBatch, parts: Arrays) -> Iterator[Scores]:
    owners = microbatch.sequence_ids()[microbatch.is_action]
    ends = np.bincount(owners, minlength=microbatch.num_sequences).cumsum()
    cut = {name: np.split(parts[name], ends[:-1]) for name in parts if name != "bootstraps"}
    for index in range(len(ends)):
        yield Scores(
            proximal_logprobs=cut["proximal"][index] if "proximal" in cut else None,
            reference_logprobs=cut["reference"][index] if "reference" in cut else None,
            values=cut["values"][index] if "values" in cut else None,
            bootstrap=float(parts["bootstraps"][index]) if "bootstraps" in parts else 0.0,
        )
