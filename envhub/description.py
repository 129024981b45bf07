"""What is known of an environment without playing it: what to play, what backs it, why it is missing."""

import hashlib
import json
from collections.abc import Callable, Mapping
from typing import Any

from common.action_format import ACTION_FORMATS
from common.errors import PreflightError
from common.version import __version__
from envhub.environment import Environment
from envhub.task import SPLITS, Task, checked_split


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
        "digest": _digest(environment, splits),
        "source": environment.source,
    }


def _digest(environment: Environment, splits: Mapping[str, tuple[Task, ...]]) -> str:
    """The same wherever a task and a seed are the same episode, as far as can be told without playing."""
    known = {
        "version": __version__,
        "horizon": environment.horizon,
        "prompts": [environment.instructions(name) for name in ACTION_FORMATS],
        "tasks": {split: [[t.name, t.kind, t.depth] for t in tasks] for split, tasks in splits.items()},
    }
    return hashlib.sha256(json.dumps(known, sort_keys=True).encode()).hexdigest()[:32]
