"""Faults in how AgentGym-RL makes advantages, losses and updates."""

from tests.faults.fault import (
    ALGORITHMS,
    BATCHES,
    CREDIT,
    EPISODES,
    KEYS,
    LEARNING,
    RUNS,
    TRAINER,
    Edit,
    Fault,
)

FAULTS = (
    Fault(
        "rloo-is-no-branch",
        "`adv_estimator=rloo` raises NotImplementedError when the trainer is built",
        (Edit("learner/advantage.py", '    "rloo": _compare_groups,\n', ""),),
        (
            ALGORITHMS + "test_every_algorithm_moves_its_networks_and_stays_finite[rloo]",
            LEARNING
            + "test_every_estimator_that_can_be_asked_for_gives_credit_and_any_other_is_refused_at_once",
        ),
    ),
    Fault(
        "remax-is-a-key-error",
        "`remax` is offered and reads a tensor that no rollout makes",
        (Edit("learner/algorithm_config.py", '"grpo", "rloo",', '"grpo", "remax", "rloo",'),),
        (
            LEARNING
            + "test_every_estimator_that_can_be_asked_for_gives_credit_and_any_other_is_refused_at_once",
        ),
    ),
    Fault(
        "reward-on-a-masked-token",
        "REINFORCE++ (and GAE) get no reward: it stands on the observation after the last action",
        (
            Edit(
                "learner/advantage.py",
                "[turn.reward for turn in trajectory.turns])",
                "[turn.reward * (not turn.is_stopped) for turn in trajectory.turns])",
            ),
        ),
        (
            CREDIT + "test_a_terminal_reward_reaches_every_action_token_of_every_turn",
            CREDIT + "test_every_reward_stands_on_an_action_token_and_none_is_lost",
        ),
    ),
    Fault(
        "critic-of-another-shape",
        "the critic answers for prompt and response, the rewards are of the response: RuntimeError",
        (Edit("learner/scores.py", '"values": here[:number],', '"values": here,'),),
        (
            ALGORITHMS + "test_every_algorithm_moves_its_networks_and_stays_finite[ppo_gae]",
            ALGORITHMS + "test_every_algorithm_moves_its_networks_and_stays_finite[vtrace]",
        ),
    ),
    Fault(
        "bootstrap-of-a-turn-at-the-first-observation-token",
        "after a turn GAE reads V where nothing trains it: with V = 5 there the advantages are 5, 4.75, 4.51",
        (
            Edit(
                "learner/advantage.py",
                "return gae(rewards, values,",
                "untrained = 5 - np.append(values, 0)[1:]\n"
                "        rewards = rewards + np.where(sequence.is_turn_end, untrained, 0)\n"
                "        return gae(rewards, values,",
            ),
        ),
        (
            CREDIT
            + "test_after_a_turn_comes_the_value_before_the_next_action_token_and_at_the_end_the_bootstrap",
            "tests/learner/test_advantage.py::test_gae_equals_the_paper",
        ),
    ),
    Fault(
        "values-read-where-none-is-trained",
        "the same, in the networks: the value that is read is not the one that the value loss fits",
        (
            Edit(
                "learner/critic.py",
                "index_select(0, packed.valued)",
                "index_select(0, (packed.valued + (not torch.is_grad_enabled()))"
                ".clamp(max=packed.tokens.numel() - 1))",
            ),
        ),
        (LEARNING + "test_the_values_that_advantages_read_are_those_that_the_value_loss_trains[separate]",),
    ),
    Fault(
        "deviation-of-a-group-of-one",
        "a group of one has mean 0 and deviation 1: its return is its advantage",
        (
            Edit(
                "learner/advantage.py",
                "    if len(returns) < 2:\n",
                "    if len(returns) == 1:\n        return np.asarray(returns, np.float64)\n"
                "    if len(returns) < 2:\n",
            ),
        ),
        ("tests/learner/test_advantage.py::test_a_group_of_one_cannot_be_compared",),
    ),
    Fault(
        "groups-of-one-are-accepted",
        "the same, asked for: `n=1` is the default",
        (Edit("learner/config.py", "compares_group and self.group_size < 2:", "compares_group and False:"),),
        ("tests/learner/test_algorithm_config.py::test_what_cannot_be_is_refused_by_name",),
    ),
    Fault(
        "groups-without-variance-are-trained-on",
        "they are not filtered, and fill batches with zeros",
        (
            Edit(
                "learner/dispatcher.py",
                "compares = self._config.drops_zero_variance and self._config.advantage.compares_group",
                "compares = False",
            ),
        ),
        (
            "tests/learner/test_dispatcher.py::"
            "test_a_group_without_variance_is_dropped_and_its_place_refilled",
        ),
    ),
    Fault(
        "kl-clamp-hides-explosions",
        "k3 is clamped to 10 a token: an estimate of 1e19 neither shows nor pulls back",
        (
            Edit(
                "learner/divergence.py",
                "return torch.expm1(-x) + x",
                "return (torch.expm1(-x) + x).clamp(-10, 10)",
            ),
        ),
        (LEARNING + "test_an_exploding_divergence_is_seen_in_the_loss_its_gradient_and_the_numbers[k3]",),
    ),
    Fault(
        "a-clip-hides-how-far-the-engine-is-off",
        "the same for the ratio: only what the clip left of it was to be seen",
        (Edit("learner/loss_sums.py", "ratio = log_ratio.exp()", "ratio = log_ratio.exp().clamp(max=10)"),),
        (LEARNING + "test_an_engine_that_disagrees_by_far_is_seen_in_the_numbers",),
    ),
    Fault(
        "micro-batches-are-averaged",
        "each micro-batch is a mean of its own, of one sequence in every example: short ones count more",
        (
            Edit(
                "learner/trainer.py",
                "parts = [loss] if trains_policy else []",
                "parts = [loss / max(1e-9, float(microbatch.weights.sum()))] if trains_policy else []",
            ),
        ),
        (
            TRAINER + "test_a_step_does_not_depend_on_how_it_is_packed",
            TRAINER + "test_a_step_is_clipped_adamw_on_the_loss_of_the_whole_batch",
        ),
    ),
    Fault(
        "sequences-are-averaged",
        "what comes of it, the sequence mean of token means (1/|o| length bias), is no choice of anybody's",
        (
            Edit(
                "learner/algorithm_config.py",
                'Aggregation = "token-mean"',
                'Aggregation = "seq-mean-token-mean"',
            ),
        ),
        (TRAINER + "test_a_step_is_clipped_adamw_on_the_loss_of_the_whole_batch",),
    ),
    Fault(
        "epochs-are-not-looped-over",
        "`ppo_epochs` and `ppo_inner_epochs` are read and the batch is passed over once",
        (Edit("learner/batch_builder.py", "for epoch in range(config.epochs):", "for epoch in range(1):"),),
        (
            ALGORITHMS + "test_epochs_are_really_looped_over",
            BATCHES + "test_every_pass_trains_every_sequence_once_in_an_order_that_a_resume_repeats",
        ),
    ),
    Fault(
        "minibatch-of-the-critic-alone",
        "the policy's minibatch is multiplied by the group size and the critic's is not",
        (
            Edit(
                "learner/trainer.py",
                "return value_loss(values[: len(returns)], old, returns, weights, self._options.critic)",
                "n = max(1, len(returns) // 4)\n"
                "        parts = values[:n], old[:n], returns[:n], weights[:n]\n"
                "        return value_loss(*parts, self._options.critic)",
            ),
        ),
        (LEARNING + "test_critic_and_policy_take_the_same_updates_on_the_same_tokens",),
    ),
    Fault(
        "warm-up-is-not-computed",
        "`warmup_style` and `lr_warmup_steps` are ignored: the rate is constant",
        (Edit("learner/optim.py", "if step <= config.warmup_steps:", "if step < 0:"),),
        (
            "tests/learner/test_optim.py::test_the_rate_rises_linearly_to_its_value",
            LEARNING + "test_the_first_steps_of_a_warm_up_move_the_policy_by_their_share_of_the_rate",
        ),
    ),
    Fault(
        "warm-up-is-not-applied",
        "the same, reported and not taken",
        (
            Edit(
                "learner/trainer.py",
                "set_rates(self._optimizer, rate,",
                "set_rates(self._optimizer, self._options.optimizer.learning_rate,",
            ),
        ),
        (LEARNING + "test_the_first_steps_of_a_warm_up_move_the_policy_by_their_share_of_the_rate",),
    ),
    Fault(
        "least-rate-is-ignored",
        "`min_lr_ratio` is ignored",
        (
            Edit(
                "learner/optim.py",
                "(config.min_scale + (1 - config.min_scale) * falls)",
                "falls",
            ),
        ),
        ("tests/learner/test_optim.py::test_linear_ends_at_its_least_scale",),
    ),
    Fault(
        "a-key-that-nothing-reads",
        "a dozen settings do nothing, see tests/faults/test_dead_keys.py",
        (
            Edit(
                "learner/config.py",
                '    """Passes over the batch of a step."""\n',
                '    """Passes over the batch of a step."""\n    ppo_epochs: int = Field(default=1, ge=1)\n',
            ),
        ),
        (KEYS + "test_every_setting_has_a_name_that_the_code_reads",),
    ),
    Fault(
        "logprobs-are-thrown-away",
        "vLLM computes the behaviour logprobs and the rollout keeps none",
        (
            Edit(
                "actors/rollout.py",
                "behaviour_logprobs=generation.logprobs,",
                "behaviour_logprobs=np.zeros_like(generation.logprobs),",
            ),
        ),
        (EPISODES + "test_the_logprobs_of_the_policy_that_sampled_reach_the_loss_as_they_were_recorded",),
    ),
    Fault(
        "logprobs-do-not-reach-the-loss",
        "the old logprobs are the trainer's own, computed again",
        (
            Edit(
                "learner/batch.py",
                "spread(is_action, trajectory.behaviour_logprobs()),",
                "np.zeros(len(tokens), np.float32),",
            ),
        ),
        (
            EPISODES + "test_the_logprobs_of_the_policy_that_sampled_reach_the_loss_as_they_were_recorded",
            "tests/learner/test_batch.py::test_tokens_masks_and_logprobs_come_from_the_trajectory",
        ),
    ),
    Fault(
        "engine-and-learner-are-not-compared",
        "nothing says that the two disagree about the same weights' tokens",
        (Edit("learner/learner.py", "if not mismatch <= limit:", "if False:"),),
        (RUNS + "test_an_engine_with_other_logprobs_than_its_learner_is_told_before_the_first_step",),
    ),
    Fault(
        "updates-off-policy-are-not-corrected",
        "updates 2 to 8 of a batch are taken as if the new policy had played it",
        (
            Edit(
                "learner/surrogates.py",
                "surrogate = _weighted(tokens, ratio.clamp(max=config.max_ratio))",
                "surrogate = _weighted(tokens, torch.ones_like(ratio))",
            ),
        ),
        (
            "tests/learner/test_surrogates.py::test_a_policy_gradient_is_minus_weight_times_advantage[dppo_tv]",
        ),
    ),
)
