"""The texts of a game, read from its own grammar: what an action answers, the task's sentence.

The grammar is alfred.twl2 of `alfworld`, MIT; only the names of its rules stand here.
"""

import json
import re
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

from envhub.envs.alfworld import package

UNKNOWN = "UNKNOWN GOAL"
"""Stands in the package's grammar for the sentence of a task."""
_BLOCK = re.compile(r'grammar\s*::\s*"""(.*?)"""', re.DOTALL)
_ACTION = re.compile(r'action\s+(\w+)\s*\{\s*template\s*::\s*"([^"]*)"')
_PLAIN = {
    "gotolocation": "GotoLocation.feedback",
    "openobject": "OpenObject.feedback",
    "closeobject": "CloseObject.feedback",
    "pickupobject": "PickupObject.feedback",
    "putobject": "PutObject.feedback",
    "heatobject": "heatObject.feedback",
    "cleanobject": "cleanObject.feedback",
    "coolobject": "coolObject.feedback",
    "sliceobject": "sliceObject.feedback",
    "help": "help.feedback",
}
"""Answers of one form, which may differ between versions; all others must be the package's own."""


@dataclass(frozen=True)
class Wording:
    """Answers by action, with places such as `{r.name}`; `task` is the line that tells the task."""

    answers: dict[str, str]
    task: str
    put: str
    """The template of putting down: `move {o} to {r}`, or an older one."""
    rest: str
    """Everything else in the grammar, to be compared."""


def wording(grammar: str) -> Wording:
    """The texts of a grammar; ValueError when one that is needed is missing."""
    rules: dict[str, list[dict[str, str]]] = {}
    for block in _BLOCK.findall(grammar):
        rules.update(json.loads(block))
    templates = dict(_ACTION.findall(grammar))
    if not {*_PLAIN.values(), "task"} <= set(rules) or "PutObject" not in templates:
        raise ValueError("the grammar lacks answers")
    plain = {*_PLAIN.values(), "task"}
    put = templates.pop("PutObject")
    # These actions are no part of the domain.
    unused = [name for name in templates if "ReceptacleObject" in name]
    others = {
        name: rule
        for name, rule in rules.items()
        if name not in plain and name.partition(".")[0] not in unused
    }
    kept = {name: template for name, template in templates.items() if name not in unused}
    return Wording(
        answers={action: _only(rules[name]) for action, name in _PLAIN.items()},
        task=_only(rules["task"]),
        put=put,
        rest=json.dumps([others, kept], sort_keys=True),
    )


@cache
def standard() -> Wording:
    """The package's own."""
    return wording(package.grammar())


def telling(sentence: str) -> Wording:
    """The package's own, telling this task."""
    return replace(standard(), task=standard().task.replace(UNKNOWN, sentence))


def _only(rule: list[dict[str, Any]]) -> str:
    if len(rule) != 1 or rule[0].get("condition"):
        raise ValueError("the grammar has conditions where none are known")
    # TextWorld's reader of grammars drops white space at the beginning.
    return str(rule[0]["rhs"]).lstrip()
