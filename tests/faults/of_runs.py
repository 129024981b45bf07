"""Faults in how AgentGym-RL goes on after a stop, and in the settings of its runs."""

from tests.faults.fault import EPISODES, KEYS, ROLLOUT, RUNS, Edit, Fault

FAULTS = (
    Fault(
        "the-schedule-lags-after-a-resume",
        "set to k, it is asked for step k + 1: the first step after a resume has the stage before",
        (
            Edit(
                "learner/assembly.py",
                "horizon_at(config.horizon, version + 1, evidence(ledger))",
                "horizon_at(config.horizon, max(1, version), evidence(ledger))",
            ),
        ),
        (RUNS + "test_a_resumed_run_begins_with_the_horizon_of_its_next_step",),
    ),
    Fault(
        "the-scheduler-counts-by-itself",
        "resumed at 100 with [10, 20, 30] / 100 it gives 20 at step 101 and 30 from step 102; at 75 or"
        " 150 every stage comes one step late",
        (
            Edit(
                "learner/learner.py",
                "        horizon = horizon_at(self._config.horizon, step + 1, seen)\n",
                "        schedule, k = self._config.horizon, step - 1\n"
                "        rounds, every = schedule.rounds, schedule.every\n"
                '        stage, counter = getattr(self, "scheduler", (k // every, max(1, k)))\n'
                "        stage = min(stage + (counter % every == 0), len(rounds) - 1)\n"
                "        self.scheduler = stage, counter + 1\n"
                "        horizon = rounds[stage]\n",
            ),
        ),
        (RUNS + "test_resumed_anywhere_every_step_trains_at_the_horizon_of_the_schedule",),
    ),
    Fault(
        "the-schedule-counts-from-zero",
        "stage = k // Δ of a step that counts from 1",
        (Edit("learner/horizon.py", "min((step - 1) // config.every,", "min(step // config.every,"),),
        (
            "tests/learner/test_horizon.py::test_stepwise_follows_the_formula_of_scalinginter_rl",
            RUNS + "test_resumed_anywhere_every_step_trains_at_the_horizon_of_the_schedule",
        ),
    ),
    Fault(
        "the-position-in-the-data-is-lost",
        "the data loader's position is not kept: a resumed run begins its tasks anew",
        (
            Edit(
                "learner/training_queue.py",
                "cursor = await self._call(self._ledger.num_groups)",
                'self.opened = cursor = getattr(self, "opened", -number) + number',
            ),
        ),
        (
            "tests/learner/test_dispatcher.py::test_the_data_cursor_continues_after_a_resume",
            RUNS + "test_a_resume_goes_on_with_the_next_task",
        ),
    ),
    Fault(
        "checkpoints-of-one-number-of-ranks",
        "each rank keeps its shard: a checkpoint of two ranks is none of one",
        (
            Edit(
                "learner/shard_file.py",
                "Shard(_copy(local), tuple(chunks[0].offsets))",
                "Shard(_copy(local), (0,) * local.ndim)",
            ),
        ),
        ("tests/learner/test_ranks.py::test_a_checkpoint_goes_from_one_rank_to_two_and_back_bit_for_bit",),
    ),
    Fault(
        "pickles",
        "the data loader is pickled with a data set that holds a dead client",
        (Edit("learner/checkpoint.py", "import hashlib\n", "import hashlib\nimport pickle\n"),),
        ("tests/test_architecture.py::test_nothing_received_is_ever_executed[learner/checkpoint.py]",),
    ),
    Fault(
        "one-step-too-few",
        "a run takes one step less than it is given",
        (Edit("learner/learner.py", "while self._version < last:", "while self._version < last - 1:"),),
        (RUNS + "test_a_run_takes_every_step_that_it_was_given_and_no_other",),
    ),
    Fault(
        "timeout-is-a-dead-key",
        "`timeout` is read by nothing, and a call waits 2400 s",
        (Edit("actors/assembly.py", '"deadline_s": actor.environment_s,', '"deadline_s": 2400.0,'),),
        (
            EPISODES + "test_a_hub_that_never_answers_is_a_fault_after_the_seconds_that_were_configured",
            KEYS + "test_every_setting_of_every_section_is_read_somewhere",
        ),
    ),
    Fault(
        "max-rounds-is-a-dead-key",
        "`agentgym.max_rounds` does nothing in training",
        (Edit("actors/rollout.py", "for _ in range(self._lease.horizon):", "for _ in range(30):"),),
        (ROLLOUT + "test_the_horizon_cuts_and_is_not_a_fault",),
    ),
    Fault(
        "max-num-seqs-is-a-dead-key",
        "vLLM is built without `max_num_seqs` and `max_model_len`",
        (Edit("actors/engine/vllm_options.py", '        "max_num_seqs": config.max_num_seqs,\n', ""),),
        (KEYS + "test_vllm_is_told_what_the_configuration_says",),
    ),
    Fault(
        "test-freq-is-a-dead-key",
        "nothing is validated during training",
        (
            Edit(
                "learner/learner.py",
                "is_due = config.every and version and version % config.every == 0",
                "is_due = False",
            ),
        ),
        (RUNS + "test_held_out_tasks_are_played_as_often_as_the_configuration_says",),
    ),
    Fault(
        "val-files-is-a-dead-key",
        "the file of held-out items is read by nothing",
        (Edit("launch/tasks.py", "    if wanted.heldout_items:\n", "    if False:\n"),),
        ("tests/launch/test_data_items.py::test_heldout_tasks_of_a_file_are_never_trained_on",),
    ),
    Fault(
        "chatml-only",
        "prompts, masks and positions are those of Qwen's template, written out by hand",
        (
            Edit(
                "common/prompt.py",
                "for text in special if text and stripped.startswith(text)]",
                'for text in special if text == "<|im_end|>" and stripped.startswith(text)]',
            ),
        ),
        ("tests/common/test_prompt.py::test_turns_laid_end_to_end_equal_the_whole_conversation",),
    ),
    Fault(
        "one-task-per-run",
        "a run has one environment",
        (
            Edit(
                "learner/task_order.py",
                'self.names = tuple(sorted(weights)) or ("",)',
                'self.names = tuple(sorted(weights))[:1] or ("",)',
            ),
        ),
        (
            "tests/learner/test_task_order.py::"
            "test_environments_take_turns_by_their_weights_from_the_first_groups_on",
        ),
    ),
)
