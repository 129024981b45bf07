"""Groups are whole and in a state that their trajectories, steps and evaluations agree with."""

import json
from collections import defaultdict

from learner.fsck.evidence import Checked, Evidence, statistics

STATES = ("open", "complete", "consumed", "dropped")

_GROUPS = """
SELECT g.id, g.purpose, g.state, g.reason, g.step, g.size, COUNT(t.member), COALESCE(MAX(t.member), -1)
FROM groups g LEFT JOIN trajectories t ON t.group_id = g.id GROUP BY g.id ORDER BY g.id
"""
_HOMELESS = """
SELECT t.group_id, t.member FROM trajectories t LEFT JOIN groups g ON g.id = t.group_id WHERE g.id IS NULL
"""


def groups_are_whole(run: Evidence) -> Checked:
    """Complete and consumed groups have every member, open ones lack one; ids have no gap; drops a reason."""
    found, expected = Checked(), 0
    for group, purpose, state, reason, step, size, number, last in run.rows(_GROUPS):
        found.number += 1
        if group != expected:
            found.violations.append(f"group {expected}: missing, up to {group - 1}")
        expected = group + 1
        if wrong := _wrong(purpose, state, reason, step, size, number, last):
            found.violations.append(f"group {group}: {wrong}")
    for group, member in run.rows(_HOMELESS):
        found.violations.append(f"trajectory {group}/{member}: there is no such group")
    return found


def _wrong(purpose: str, state: str, reason: str, step: int | None, size: int, number: int, last: int) -> str:
    """What is wrong with a group of which `number` members are stored, `last` the highest; "" if nothing."""
    if state not in STATES:
        return f"is {state!r}, which is no state"
    if last >= size:
        return f"holds member {last} of {size}"
    if state in ("complete", "consumed") and number != size:
        return f"is {state} with {number} of {size} members"
    if state == "open" and number >= size:
        return f"is open with all {size} members"
    if (state == "dropped") != bool(reason):
        return f"is {state} with the reason {reason!r}"
    if state in ("open", "complete") and step is not None:
        return f"is {state} and of step {step}"
    if state == "consumed" and purpose == "training" and step is None:
        return "is consumed by no step"
    return ""


def steps_train_once(run: Evidence) -> Checked:
    """Steps are 1, 2, 3...; each consumed exactly the groups that it names, and no group is of two steps."""
    found = Checked()
    consumed = defaultdict(set)
    for group, step in run.rows(
        "SELECT id, step FROM groups WHERE purpose = 'training' AND state = 'consumed' AND step IS NOT NULL"
    ):
        consumed[step].add(group)
    has_order = run.has_column("steps", "groups_json")
    named: dict[int, int] = {}
    for step, text, values in run.rows(
        f"SELECT step, {'groups_json' if has_order else repr('')}, values_json FROM steps ORDER BY step"
    ):
        found.number += 1
        if step != found.number:
            found.violations.append(f"step {found.number}: missing, the next recorded is {step}")
            found.number = step
        if statistics(values) is None:
            found.violations.append(f"step {step}: its statistics cannot be read")
        groups = consumed.pop(step, set())
        found.violations += [f"step {step}: {wrong}" for wrong in _wrong_groups(text, groups, named, step)]
    for step, groups in sorted(consumed.items()):
        found.violations += [
            f"group {group}: consumed by step {step}, which is not recorded" for group in groups
        ]
    return found


def _wrong_groups(text: str, groups: set[int], named: dict[int, int], step: int) -> list[str]:
    """How the groups that a step names differ from those that it consumed; older releases name none."""
    if not text:
        return [] if groups else ["trained on no group"]
    try:
        order = [int(group) for group in json.loads(text)]
    except (ValueError, TypeError):
        return ["the list of its groups cannot be read"]
    mine = set(order)
    wrong = [f"trained on group {group} twice" for group in mine if order.count(group) > 1]
    wrong += [f"trained on group {group}, as step {named[group]} did" for group in mine if group in named]
    named |= dict.fromkeys(mine, step)
    wrong += [f"names group {group}, which it did not consume" for group in sorted(mine - groups)]
    return wrong + [f"consumed group {group}, which it does not name" for group in sorted(groups - mine)]


def evaluations_have_results(run: Evidence) -> Checked:
    """Held-out groups are consumed by a recorded evaluation."""
    found = Checked(int(run.one("SELECT COUNT(*) FROM evaluations")))
    for group, label in run.rows(
        "SELECT id, label FROM groups WHERE purpose = 'evaluation' AND state = 'consumed'"
        " AND label NOT IN (SELECT label FROM evaluations) ORDER BY id"
    ):
        found.violations.append(f"group {group}: consumed by evaluation {label!r}, which is not recorded")
    return found
