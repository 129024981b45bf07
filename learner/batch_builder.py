"""From complete groups to what a step trains on: freshness, scores, advantages, and the staleness numbers."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from common.seeding import derive_seed
from common.trajectory import Group, Trajectory
from learner.advantage import Credit, RewardSequence, estimate, reward_sequence
from learner.batch import Batch, TrainingSequence, sequence_of, spread
from learner.config import LearnerConfig
from learner.divergence import kl_penalty
from learner.packing import pack
from learner.scores import Scores
from learner.second_moment import second_moment_mask
from learner.staleness import fresh_tokens, measure, token_staleness

NOTHING = Scores()
"""What is known of a sequence that nobody has scored."""


@dataclass(frozen=True)
class Draft:
    """The trajectories of a step, before anything is known of them but what was recorded."""

    trajectories: tuple[Trajectory, ...]
    """All members of all groups, in order."""
    groups: tuple[int, ...]
    """Of each trajectory: which group."""
    sequences: tuple[TrainingSequence, ...]
    """Of those that have action tokens, in order."""
    max_staleness: int
    """Of the oldest token that is trained on."""
    values: dict[str, float]
    """Metrics by name."""

    @property
    def num_tokens(self) -> int:
        """Tokens that the learner reads."""
        return sum(map(len, self.sequences))

    @property
    def num_trained_tokens(self) -> int:
        """Action tokens that may carry gradient: fresh ones, of trajectories that may be trained on."""
        return sum(int(sequence.is_trained.sum()) for sequence in self.sequences)


class BatchBuilder:
    """A pure function of groups, version and scores, in two halves: `draft`, then `credit`.

    draft = builder.draft(groups, received, version)
    scores = ranks.score(builder.packed(draft.sequences), wants=builder.wants) if builder.wants else None
    for batch in builder.updates(builder.credit(draft, scores), step): ranks.step(batch)
    """

    def __init__(self, config: LearnerConfig, seed: int = 0) -> None:
        self._config = config
        self._seed = seed

    @property
    def wants(self) -> tuple[str, ...]:
        """What must be scored before advantages and losses are known; see `scores.score`."""
        config = self._config
        needs_proximal = config.loss.needs_proximal or config.guards.max_update_kl > 0
        asked = {
            "proximal": needs_proximal or config.advantage.kind == "vtrace",
            "reference": config.loss.needs_reference,
            "values": config.advantage.needs_critic,
        }
        return tuple(name for name, is_asked in asked.items() if is_asked)

    def draft(self, groups: Sequence[Group], received: Sequence[list[int]], version: int) -> Draft:
        """What `groups`, consumed at `version`, hold; `received[g][i]`: version at member i's arrival.

        Tokens older than `max_staleness` are masked whatever the mode: the mode decides what happens before.
        """
        played = [t for group in groups for t in group.trajectories]
        fresh = [self._is_trained(trajectory, version) for trajectory in played]
        bootstraps = self._config.advantage.needs_critic and self._config.advantage.bootstraps
        made = [sequence_of(t, mask, bootstraps=bootstraps) for t, mask in zip(played, fresh, strict=True)]
        ages = [token_staleness(t, version)[mask] for t, mask in zip(played, fresh, strict=True)]
        trained = np.concatenate([np.empty(0, np.int32), *ages])
        values = self._values(groups, received, version)
        num_actions = sum(trajectory.num_action_tokens for trajectory in played)
        values["staleness/masked_share"] = 1 - len(trained) / max(1, num_actions)
        values["staleness/token_mean"] = float(trained.mean()) if len(trained) else 0.0
        return Draft(
            tuple(played),
            tuple(index for index, group in enumerate(groups) for _ in group.trajectories),
            tuple(sequence for sequence in made if sequence is not None),
            int(trained.max(initial=0)),
            values,
        )

    def credit(self, draft: Draft, scores: Sequence[Scores] | None) -> list[TrainingSequence]:
        """The draft's sequences with advantages and all that the loss reads; `scores` in their order."""
        known = iter(scores if scores is not None else [NOTHING] * len(draft.sequences))
        found = [next(known) if t.num_action_tokens else NOTHING for t in draft.trajectories]
        rewards = [
            self._rewards(trajectory, group, score)
            for trajectory, group, score in zip(draft.trajectories, draft.groups, found, strict=True)
        ]
        credits = estimate(self._config.advantage, rewards)
        acting = [i for i, trajectory in enumerate(draft.trajectories) if trajectory.num_action_tokens]
        credited = [
            _filled(sequence, credits[i], found[i])
            for sequence, i in zip(draft.sequences, acting, strict=True)
        ]
        return self._bounded(credited)

    def updates(self, sequences: Sequence[TrainingSequence], step: int) -> Iterator[Batch]:
        """The batches of the step's optimizer updates: `epochs` passes of `minibatches` each.

        Which sequence comes when is drawn from the run's seed, step and pass, so a resume repeats it.
        """
        config = self._config
        for epoch in range(config.epochs):
            rng = np.random.default_rng(derive_seed(self._seed, "minibatches", step, epoch))
            number = min(config.minibatches, max(1, len(sequences)))
            order = rng.permutation(len(sequences)) if number > 1 else np.arange(len(sequences))
            for part in np.array_split(order, number):
                yield self.packed([sequences[i] for i in part])

    def packed(self, sequences: Sequence[TrainingSequence]) -> Batch:
        """The sequences packed for all ranks."""
        config = self._config
        return pack(
            sequences,
            microbatch_tokens=config.microbatch_tokens,
            num_ranks=config.world_size,
            loss=config.loss,
        )

    def _is_trained(self, trajectory: Trajectory, version: int) -> NDArray[np.bool_]:
        fresh = fresh_tokens(trajectory, version, self._config.staleness)
        if self._config.mask_truncated and trajectory.is_truncated:
            return np.zeros_like(fresh)
        return fresh

    def _rewards(self, trajectory: Trajectory, group: int, score: Scores) -> RewardSequence:
        loss, penalties = self._config.loss, None
        if loss.kl_in == "reward" and score.reference_logprobs is not None:
            penalties = kl_penalty(loss, trajectory.behaviour_logprobs(), score.reference_logprobs)
        made = reward_sequence(trajectory, group, penalties=penalties)
        if score.values is not None:
            goes_on = trajectory.is_truncated and self._config.advantage.bootstraps
            made = replace(
                made,
                values=score.values.astype(np.float64),
                bootstrap=score.bootstrap if goes_on and len(trajectory.next_prompt_tokens) else 0.0,
            )
        if score.proximal_logprobs is not None:
            made = replace(made, log_ratios=_log_ratios(trajectory.behaviour_logprobs(), score))
        return made

    def _bounded(self, sequences: list[TrainingSequence]) -> list[TrainingSequence]:
        """Without the tokens that M2PO's bound on the second moment leaves out."""
        threshold = self._config.loss.second_moment
        if not threshold or not sequences:
            return sequences
        trained = [sequence.is_trained for sequence in sequences]
        log_ratios = [
            s.proximal_logprobs[m] - s.behaviour_logprobs[m] for s, m in zip(sequences, trained, strict=True)
        ]
        advantages = [s.advantages[m] for s, m in zip(sequences, trained, strict=True)]
        keep = second_moment_mask(np.concatenate(log_ratios), np.concatenate(advantages), threshold)
        bounded = []
        for sequence, mask, kept in zip(
            sequences, trained, np.split(keep, np.cumsum([m.sum() for m in trained])[:-1]), strict=True
        ):
            left = mask.copy()
            left[mask] = kept
            bounded.append(replace(sequence, is_trained=left))
        return bounded

    def _values(
        self, groups: Sequence[Group], received: Sequence[list[int]], version: int
    ) -> dict[str, float]:
        measured = [measure(g, r, version) for g, r in zip(groups, received, strict=True)]
        values = {
            "staleness/mean": float(np.mean([m.oldest for m in measured])),
            "staleness/max": float(max(m.oldest for m in measured)),
            "staleness/in_flight": float(np.mean([m.in_flight for m in measured])),
            "staleness/in_queue": float(np.mean([m.in_queue for m in measured])),
        }
        for horizon in sorted({g.horizon for g in groups}):
            at = [m.oldest for g, m in zip(groups, measured, strict=True) if g.horizon == horizon]
            values[f"horizon/{horizon}/staleness"] = float(np.mean(at))
            values[f"horizon/{horizon}/trained_groups"] = float(len(at))
        return values


def _log_ratios(behaviour_logprobs: NDArray[np.float32], score: Scores) -> NDArray[np.float64]:
    assert score.proximal_logprobs is not None
    return score.proximal_logprobs.astype(np.float64) - behaviour_logprobs


def _filled(sequence: TrainingSequence, credit: Credit, score: Scores) -> TrainingSequence:
    """The sequence with all that is known of its action tokens laid where they stand."""

    def laid(found: NDArray[np.float32] | None, otherwise: NDArray[np.float32]) -> NDArray[np.float32]:
        return otherwise if found is None else spread(sequence.is_action, found)

    return replace(
        sequence,
        advantages=laid(credit.advantages, sequence.advantages),
        returns=laid(credit.returns, sequence.returns),
        proximal_logprobs=laid(score.proximal_logprobs, sequence.proximal_logprobs),
        reference_logprobs=laid(score.reference_logprobs, sequence.reference_logprobs),
        values=laid(score.values, sequence.values),
    )
