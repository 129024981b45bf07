"""The training groups are the run's tasks in its order: no task is skipped and none is played out of turn."""

from learner.fsck.evidence import Checked, Evidence
from learner.task_order import TaskOrder, Turns, seeded

_OPENED = "SELECT id, environment, task, seed FROM groups WHERE purpose = 'training' ORDER BY id"


def tasks_are_in_order(run: Evidence) -> Checked:
    """The n-th training group plays the n-th task of the order that seed, tasks and mixture define.

    With a curriculum the task depends on results, of which a rewind forgets some: then the environment whose
    turn it is and the seed of the play are compared, and the task is one of the run's.
    """
    config, tasks = run.config(), run.tasks()
    if isinstance(config, str):
        return Checked(skipped=config)
    if isinstance(tasks, str):
        return Checked(skipped=tasks)
    train, weights = tasks
    seed, is_fixed = config.run.seed, config.learner.curriculum.kind == "off"
    order, turns = TaskOrder(train, seed, weights), Turns(weights)
    known = {(task.environment, task.task): task for task in train}
    found = Checked()
    for group, environment, task, task_seed in run.rows(_OPENED):
        position, found.number = found.number, found.number + 1
        due = order[position] if is_fixed else seeded(order[position], seed, position)
        turn = turns.names[turns[position][0]]
        if is_fixed and (environment, task) != (due.environment, due.task):
            wrong = f"plays {environment}/{task}; due is {due.environment}/{due.task}"
        elif (environment, task) not in known:
            wrong = f"plays {environment}/{task}, which is no task of the run"
        elif turn and environment != turn:
            wrong = f"plays {environment}/{task}; it is the turn of {turn}"
        elif task_seed != due.seed:
            wrong = f"plays {environment}/{task} with seed {task_seed}, not {due.seed}"
        else:
            continue
        found.violations.append(f"group {group}: {wrong}")
    return found
