"""Faults in how AgentGym-RL plays episodes, rewards them and counts what was won."""

from tests.faults.fault import BATCHES, EPISODES, EVALUATION, ROLLOUT, RUNS, TRAINER, Edit, Fault

_SAMPLED = "        self._context.append(generation.tokens)\n"
_REMADE = """        generation = generation.model_copy(
            update={
                "tokens": again,
                "logprobs": np.full(len(again), -1, np.float32),
                "versions": (generation.versions[0].model_copy(update={"num_tokens": len(again)}),),
            }
        )
"""
_STEP = "            result = await self._session.step(action)\n"

FAULTS = (
    Fault(
        "actions-are-encoded-again",
        "an action is decoded to text and encoded again: trained ids differ from sampled ones, and special"
        " tokens vanish",
        (
            Edit(
                "actors/rollout.py",
                _SAMPLED,
                "        again = self._dialogue.action_tokens(self._dialogue.text(generation.tokens))\n"
                + _REMADE
                + _SAMPLED,
            ),
        ),
        (
            EPISODES
            + "test_sampled_tokens_are_read_and_recorded_as_they_were_sampled_and_never_encoded_again",
        ),
    ),
    Fault(
        "a-forced-end-token-is-trained",
        "the `<|im_end|>` after an action that its limit cut has mask 1: all of the k3 of a collapsed run",
        (
            Edit(
                "actors/rollout.py",
                _SAMPLED,
                "        again = generation.tokens\n"
                "        if not generation.is_stopped:\n"
                "            again = np.append(again, np.int32(self._dialogue.end_token_ids[0]))\n"
                "            generation = generation.model_copy(update={'is_stopped': True})\n"
                + _REMADE
                + _SAMPLED,
            ),
        ),
        (
            EPISODES + "test_a_forced_end_token_is_read_and_never_trained",
            ROLLOUT + "test_an_end_token_that_was_not_sampled_is_read_and_never_trained",
        ),
    ),
    Fault(
        "a-row-without-actions-is-a-row",
        "a trajectory that never acted is a row whose mean is 0/0",
        (
            Edit(
                "learner/batch.py",
                "    if trajectory.num_action_tokens == 0:\n        return None\n",
                "",
            ),
        ),
        (
            "tests/learner/test_batch.py::test_a_trajectory_without_action_tokens_is_no_sequence",
            BATCHES + "test_a_member_without_action_tokens_counts_for_the_baseline_and_is_not_trained",
            RUNS + "test_members_that_never_acted_make_no_step_a_nan_and_count_in_no_mean",
        ),
    ),
    Fault(
        "a-mean-over-no-tokens",
        "`masked_mean` divides by the number of tokens, whatever it is",
        (
            Edit(
                "learner/packing.py",
                "[1 / max(1, num * count) for count in counts]",
                "[1 / (num * count) for count in counts]",
            ),
        ),
        ("tests/learner/test_aggregation.py::test_a_batch_without_action_tokens_weighs_nothing",),
    ),
    Fault(
        "nothing-stops-a-nan",
        "a loss that is not a number is stepped on",
        (
            Edit(
                "learner/trainer.py",
                "is_skipped = not math.isfinite(grad_norm) or self._is_held_back(totals)",
                "is_skipped = self._is_held_back(totals)",
            ),
        ),
        (TRAINER + "test_a_gradient_that_is_not_finite_is_skipped_counted_and_forgotten",),
    ),
    Fault(
        "a-fault-is-a-failure",
        "any exception of a step is score 0 and done, kept and trained on",
        (
            Edit(
                "actors/rollout.py",
                _STEP,
                "            try:\n    " + _STEP + "            except Exception:\n"
                '                result = StepResult(observation="", is_terminated=True)\n',
            ),
        ),
        (ROLLOUT + "test_a_broken_environment_leaves_no_record_and_a_closed_session",),
    ),
    Fault(
        "a-fault-ends-the-job",
        "an exception of a reset is caught by nobody: the whole job ends",
        (
            Edit(
                "actors/actor.py",
                "            await self._report(lease, str(fault))\n",
                "            raise\n",
            ),
        ),
        ("tests/test_system.py::test_faulted_episodes_are_played_again_and_never_stored",),
    ),
    Fault(
        "a-faulted-lease-is-not-played-again",
        "there is no retry: the sample is what it is",
        (
            Edit(
                "learner/dispatcher.py",
                "        if (lease := self.book.give_back(actor, identity)) is None:",
                "        lease = self.book.give_back(actor, identity)\n"
                "        if lease is not None:\n"
                "            self.book.settle(identity.group, identity.member)\n"
                "        if lease is None:",
            ),
        ),
        ("tests/learner/test_dispatcher.py::test_a_faulted_lease_is_granted_again_and_never_scored",),
    ),
    Fault(
        "cut-is-failed",
        "at the last round the loop ends: no flag, an ordinary sample",
        (Edit("actors/rollout.py", 'return "truncated_by_horizon"', 'return "terminated"'),),
        (ROLLOUT + "test_the_horizon_cuts_and_is_not_a_fault",),
    ),
    Fault(
        "no-bootstrap-where-an-episode-was-cut",
        "what would have followed counts as 0",
        (
            Edit(
                "learner/batch_builder.py",
                "score.bootstrap if goes_on and len(trajectory.next_prompt_tokens) else 0.0",
                "0.0",
            ),
        ),
        (BATCHES + "test_only_an_episode_that_was_cut_goes_on_with_the_critics_value[True]",),
    ),
    Fault(
        "reward-beyond-the-cut",
        "rounds are played beyond the length that is kept, and what they earn is credited to what is kept",
        (
            Edit(
                "actors/rollout.py",
                "if self._num_tokens + len(prompt) >= self._lease.sampling.max_episode_tokens:",
                "if False:",
            ),
            Edit(
                "actors/rollout.py",
                "min(sampling.max_action_tokens, sampling.max_episode_tokens - self._num_tokens)",
                "sampling.max_action_tokens",
            ),
        ),
        (
            EPISODES + "test_nothing_is_played_and_nothing_earned_beyond_the_token_limit",
            ROLLOUT + "test_an_episode_never_exceeds_its_token_limit",
        ),
    ),
    Fault(
        "the-last-reward-is-the-return",
        "the score is overwritten at each step: the reward of a trajectory is that of its last",
        (
            Edit(
                "common/trajectory.py",
                "return float(sum(turn.reward for turn in self.turns))",
                "return float(self.turns[-1].reward if self.turns else 0)",
            ),
        ),
        (EPISODES + "test_the_return_is_the_sum_of_all_turns_and_not_the_reward_of_the_last",),
    ),
    Fault(
        "a-malformed-last-action-takes-the-score",
        "SciWorld's `Invalid Action.` is worth 0 and overwrites the partial score",
        (
            Edit(
                "actors/rollout.py",
                "            self.score = result.score\n            self.is_success",
                "        self.score = result.score\n"
                "        if action is not None:\n            self.is_success",
            ),
        ),
        (EPISODES + "test_a_malformed_last_action_takes_nothing_of_what_was_earned",),
    ),
    Fault(
        "any-reward-passes",
        "pass@k is the share of items with a score above 0: 0.965 of SciWorld, at a mean score of 13 of 100",
        (Edit("common/evaluation.py", "append(result.is_success)", "append(result.score > 0)"),),
        (EVALUATION + "test_a_partial_score_is_no_success_however_high",),
    ),
    Fault(
        "a-reward-of-one-is-success",
        "AgentGym's evaluator compares the reward with 1 and 100",
        (
            Edit(
                "common/evaluation.py",
                "is_success=trajectory.is_success",
                "is_success=trajectory.episode_return in (1, 100)",
            ),
        ),
        (EVALUATION + "test_a_reward_of_one_is_no_success_where_the_environment_says_it_is_none",),
    ),
)
