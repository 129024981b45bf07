"""Every metric: its panel, its unit, and what it means in one line. `docs/metrics.md` is made from this.

A part in angle brackets stands for a number or a name: `horizon/<h>/success`.
"""

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Metric:
    """What one curve shows."""

    name: str
    unit: str
    meaning: str

    @property
    def panel(self) -> str:
        """The group that it is shown in: what stands before the first slash, as in wandb."""
        return self.name.partition("/")[0]


PANELS = {
    "train": "How well the policy plays training tasks, and what the optimizer does",
    "heldout": "How well it plays tasks that are never trained on",
    "horizon": "The schedule, and the same measures per horizon",
    "episodes": "What was played since the last step",
    "length": "Episodes by length, arrived and trained on: dropping is biased against long ones",
    "staleness": "How old the trained tokens are, in policy versions",
    "throughput": "Tokens per second",
    "engine": "The actors' engines, over all actors",
    "curriculum": "Which tasks are played, by how often they succeeded",
    "queue": "What waits where",
    "time": "Where the learner's time goes",
}
"""Panel -> what it answers, in the order in which they are worth looking at."""

_TABLE = """
train/success | share | training episodes that succeeded, of those that arrived since the last step
train/return | reward | their rewards summed per episode, mean
train/reward_per_turn | reward | their return divided by their turns, mean
train/truncated_share | share | of them cut by the horizon, by tokens or by time
train/malformed_share | share | their turns whose text could not be parsed as an action
train/cut_action_share | share | their actions that were cut by the token limit
train/loss | nats | the objective, summed over trained tokens, divided by all sampled tokens of the step
train/entropy | nats | entropy of the policy at the trained tokens, mean
train/grad_norm | norm | of the gradient before clipping; empty when the step was skipped
train/learning_rate | 1 | after warm-up and schedule
train/mismatch_kl | nats | k3 estimate of KL(behaviour policy to target policy) per trained token
train/reference_kl | nats | k3 estimate of KL(policy to reference model) per trained token; 0 without one
train/update_kl | nats | k3 estimate of KL(policy as the step began to policy); 0 where not scored
train/abs_log_ratio | nats | mean absolute log importance ratio
train/mean_ratio | 1 | importance ratio pi / mu, mean; 1 on policy
train/max_ratio | 1 | importance ratio, largest
train/effective_sample_share | share | effective sample size, (sum r)^2 / (n sum r^2); 1 on policy
train/masked_share | share | trained tokens whose gradient the clip, the mask or the cap took away or reduced
train/is_skipped | 0 or 1 | an update was left out: a gradient was not finite, or a guard forbade it
train/num_skipped | updates | left out since the first step
train/num_updates | updates | of the step: epochs times minibatches, unless a guard ended them
train/is_ended_early | 0 or 1 | a guard ended the epochs of the step before the last
train/value_loss | reward squared | the critic's clipped squared error, without its coefficient
train/value_explained | share | 1 - E[(R - V)^2] / Var[R]: 1 for a perfect critic, 0 for knowing the mean
train/value_clipped_share | share | trained tokens whose value may not move further in this step
train/value_mean_return | reward | what the critic should have said, mean
train/num_tokens | tokens | read in this step
train/num_action_tokens | tokens | sampled tokens among them
train/num_trained_tokens | tokens | of those, the ones that carried gradient
train/step | steps | optimizer steps taken
train/duration_s | s | of the optimizer step: forward, backward, update
train/tokens_per_s | tokens/s | read, while the optimizer step ran
heldout/success | share | avg@k: plays of held-out tasks that succeeded, every task counting alike
heldout/low | share | lower end of its 95 % interval; Wilson's with one play per task
heldout/high | share | upper end of its 95 % interval
heldout/pass_at_<k> | share | held-out tasks that at least one of k plays would solve, unbiased estimate
heldout/score | score | on the environment's own scale, per held-out episode, mean
heldout/return | reward | return per held-out episode, mean
heldout/turns | turns | per held-out episode, mean
heldout/truncated_share | share | held-out episodes that were cut
heldout/malformed_share | share | their turns whose text could not be parsed as an action
heldout/num_tasks | tasks | held-out tasks that were played
heldout/num_episodes | episodes | plays of them
heldout/samples | episodes | per task
heldout/num_missing | episodes | left out because the environment or the engine broke again and again
heldout/oldest_version | versions | the oldest policy version that played a part of it
heldout/newest_version | versions | the newest; larger where training went on meanwhile
horizon/current | turns | the schedule's horizon for groups that are opened now
horizon/<h>/success | share | training episodes of horizon h that succeeded
horizon/<h>/return | reward | their return, mean
horizon/<h>/truncated_share | share | of them cut
horizon/<h>/turns | turns | their length, mean
horizon/<h>/episodes | episodes | of horizon h that arrived since the last step
horizon/<h>/staleness | versions | mean staleness of the groups of horizon h in this batch
horizon/<h>/trained_groups | groups | of horizon h in this batch
episodes/played | episodes | arrived since the last step, trained on or not
episodes/turns | turns | their length, mean
episodes/tokens | tokens | their length, read and sampled, mean
episodes/action_tokens | tokens | their sampled tokens, mean
episodes/faults | episodes | broken by the environment or the engine, played again, never scored
episodes/duplicates | episodes | delivered more than once, and dropped
episodes/late | episodes | delivered after their group had been dropped, and dropped
episodes/unknown | episodes | delivered without ever having been granted, and dropped
episodes/returned_leases | leases | taken back from actors that fell silent or left
episodes/dropped_zero_variance | groups | dropped because all members scored the same
episodes/dropped_stale | groups | dropped because they would have been older than the limit
length/<kind>/up_to_<n> | episodes | at most n turns, more than the bound before; admitted or trained
length/<kind>/over_<n> | episodes | with more than n turns
staleness/mean | versions | of the oldest token of each group of this batch, mean over groups
staleness/max | versions | of the oldest token in this batch
staleness/in_flight | versions | from an episode's oldest token to its arrival, mean over episodes, not groups
staleness/in_queue | versions | from an episode's arrival to this step, mean over episodes, not groups
staleness/masked_share | share | sampled tokens not trained on: too old, or of truncated episodes
staleness/token_mean | versions | over the trained tokens
throughput/generated_tokens_per_s | tokens/s | sampled by all engines since the last step, evaluations too
throughput/trained_tokens_per_s | tokens/s | carried gradient, over the whole step with its waits
throughput/read_tokens_per_s | tokens/s | read by the learner while it trained
engine/generation_s | s | in which an engine held a request, since the last step, summed over actors
engine/utilisation | share | of the time in which an engine held at least one request, mean over actors
engine/paused_share | share | of the time in which generation stood still for a weight update
engine/running | requests | being generated for now
engine/waiting | requests | waiting inside the engines now
engine/sessions | episodes | in play now
engine/weight_sync_s | s | the last weight update, announcement to resumed generation, slowest actor
engine/first_token_s | s | from the end of the optimizer step to engines that sample with it, slowest actor
curriculum/<pool>/tasks | share | of the training tasks, in the pool unseen, hard, middle or easy now
curriculum/<pool>/groups | share | of the groups opened since the last step, whose task was in the pool
queue/complete_groups | groups | complete and waiting to be trained on
queue/leases_in_play | leases | granted and not yet answered
queue/leases_pending | leases | opened and not yet granted
queue/unacknowledged | trajectories | kept by actors until the learner acknowledges them
queue/actors | actors | connected
time/step_s | s | from the end of one step to the end of the next, less evaluations between them
time/training_s | s | of it in the optimizer step
time/waiting_s | s | of it waiting for complete groups
time/weight_sync_s | s | of it gathering, writing and announcing the weights
"""


def _read(table: str) -> dict[str, Metric]:
    rows = [[part.strip() for part in line.split("|", 2)] for line in table.strip().splitlines()]
    return {name: Metric(name, unit, meaning) for name, unit, meaning in rows}


METRICS = _read(_TABLE)
"""Metric by name, in the order of the panels."""

_PATTERNS = [re.compile(re.sub(r"<\w+>", "[^/]+", name)) for name in METRICS]


def is_known(name: str) -> bool:
    """Whether a name that was written is one of `METRICS`, with its angle brackets filled in."""
    return any(pattern.fullmatch(name) for pattern in _PATTERNS)
