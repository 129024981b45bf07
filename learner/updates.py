"""One step of the learner: score what the estimators need, credit every token, take the updates.

Runs on the trainer's thread, whole or not at all.
"""

from dataclasses import dataclass

from learner.batch_builder import BatchBuilder, Draft
from learner.config import LearnerConfig
from learner.guards import ends_epochs
from learner.ranks import Ranks
from learner.statistics import StepStatistics


@dataclass(frozen=True)
class StepDone:
    """What a step did."""

    updates: tuple[StepStatistics, ...]
    """In order; at least one."""
    is_ended_early: bool
    """A guard ended the epochs before the last."""

    def metrics(self) -> dict[str, float]:
        """Means over the updates; sums of tokens and seconds; the largest of what is a maximum."""
        rows = [update.metrics() for update in self.updates]
        values = {name: sum(row[name] for row in rows) / len(rows) for name in rows[0]}
        for name in ("num_tokens", "num_action_tokens", "num_trained_tokens", "duration_s"):
            values[name] = sum(row[name] for row in rows)
        for name in ("max_ratio", "is_skipped", "num_skipped"):
            values[name] = max(row[name] for row in rows)
        values["num_updates"] = float(len(rows))
        values["is_ended_early"] = float(self.is_ended_early)
        return values


def take_step(
    ranks: Ranks,
    builder: BatchBuilder,
    draft: Draft,
    config: LearnerConfig,
    *,
    step: int,
    temperature: float,
) -> StepDone:
    """Train on `draft` as step `step`; ValueError when it holds no action token."""
    scores = None
    if builder.wants:
        scores = ranks.score(builder.packed(draft.sequences), temperature=temperature, wants=builder.wants)
    done: list[StepStatistics] = []
    for batch in builder.updates(builder.credit(draft, scores), step):
        done.append(ranks.step(batch, step=step, temperature=temperature))
        if ends_epochs(config.guards, done[-1].update_kl):
            return StepDone(tuple(done), is_ended_early=True)
    return StepDone(tuple(done), is_ended_early=False)
