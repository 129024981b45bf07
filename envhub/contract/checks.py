"""All promises, in the order in which they are best repaired."""

from collections.abc import Callable
from typing import Final

from envhub.contract import episodes, processes, splits, tasks, words
from envhub.contract.subject import Subject

Check = Callable[[Subject], None]

CHECKS: Final[tuple[Check, ...]] = (
    tasks.names_are_unique_and_portable,
    tasks.tasks_are_found_by_their_names,
    tasks.unknown_tasks_are_refused_with_a_name_that_exists,
    tasks.indices_are_tasks_or_refused_with_the_range,
    tasks.every_prefix_is_a_fair_sample,
    splits.splits_share_no_task_under_another_name,
    words.instructions_exist_in_every_format_and_no_other,
    words.functions_are_well_formed,
    episodes.the_expert_wins_within_the_horizon,
    episodes.after_the_end_nothing_changes,
    episodes.same_task_and_seed_are_the_same_episode,
    episodes.sessions_of_one_task_keep_apart,
    episodes.no_text_does_harm,
    episodes.hints_are_actions_and_the_expert_recovers,
    episodes.facts_and_views_are_as_promised,
    words.actions_survive_every_format,
    words.the_vocabulary_has_what_is_said,
    processes.episodes_are_the_same_in_every_process,
)
"""Each takes a subject and raises ContractError when its promise is broken; its name is the promise."""


def check(subject: Subject) -> None:
    """Every promise in turn; ContractError for the first that is broken."""
    for promise in CHECKS:
        promise(subject)
