"""What is known of an environment without playing it: what to play, what backs it, why it is missing."""

from collections.abc import Callable
from typing import Any

from common.action_format import ACTION_FORMATS
from common.errors import PreflightError
from envhub.environment import Environment
from envhub.task import SPLITS, checked_split


def describe(name: str, find: Callable[[str], Environment]) -> dict[str, Any]:
    """JSON values; of an environment that cannot be played here the name and the reason.

    ConfigurationError for a name that means nothing.
    """
    try:
        environment = find(name)
    except PreflightError as error:
        return {"name": name, "is_available": False, "reason": str(error)}
    splits = {split: environment.tasks(checked_split(split)) for split in SPLITS}
    listed = [task for tasks in splits.values() for task in tasks]
    return {
        "name": name,
        "is_available": True,
        "horizon": environment.horizon,
        "action_formats": ACTION_FORMATS,
        **{f"num_{split}": len(tasks) for split, tasks in splits.items()},
        "depths": sorted({task.depth for task in listed}),
        "kinds": sorted({task.kind for task in listed} - {""}),
        "has_expert": environment.has_expert,
        "source": environment.source,
    }
