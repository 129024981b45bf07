"""The end of a run: its summary is completed and shown as a table."""

import json
from typing import Any

from rich.console import Console
from rich.table import Table

from common.errors import PronghornError
from common.run_directory import RunDirectory, write_json
from launch.config import RunConfig


def complete_summary(folder: RunDirectory, stages: dict[str, float], restarts: dict[str, int]) -> None:
    """Add what only the launcher knows: `stages` in seconds, `restarts`, and the minutes of the whole run.

    PronghornError when the learner left no summary: it was stopped before its last step.
    """
    if not folder.summary.exists():
        raise PronghornError(f"the learner left before its last step [{folder.logs / 'learner.log'}]")
    summary = json.loads(folder.summary.read_text())
    known = summary.get("restarts", {})
    summary["restarts"] = {
        name: known.get(name, 0) + restarts.get(name, 0) for name in known.keys() | restarts.keys()
    }
    summary |= {"stages": stages, "minutes": sum(stages.values()) / 60}
    write_json(folder.summary, summary)


def report(config: RunConfig, console: Console | None = None) -> None:
    """Print the final table of a finished run."""
    folder = config.run.folder
    summary = json.loads(folder.summary.read_text())
    table = Table(title=f"pronghorn · {config.run.name}", title_justify="left", show_header=False)
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in rows(summary, folder):
        table.add_row(name, value)
    (console or Console()).print(table, soft_wrap=False)


def rows(summary: dict[str, Any], folder: RunDirectory) -> list[tuple[str, str]]:
    """The lines of the final table."""
    heldout, played, tokens = summary["heldout"], summary["trajectories"], summary["tokens"]
    changes = ", ".join(f"{change['horizon']} from step {change['step']}" for change in summary["horizons"])
    shown = [
        ("held-out before", share(heldout.get("before"))),
        ("held-out after", share(heldout.get("after"))),
        ("steps", f"{summary['steps']} in {summary['minutes']:.1f} minutes"),
        (
            "stages",
            ", ".join(f"{name} {seconds:.0f} s" for name, seconds in summary.get("stages", {}).items()),
        ),
        ("horizon", changes or "-"),
        ("trajectories", ", ".join(f"{number} {name}" for name, number in played.items())),
        ("oldest token trained on", f"{summary['max_staleness_trained']} versions"),
        ("tokens", f"{tokens['generated']:,} generated, {tokens['trained']:,} trained"),
        ("time", ", ".join(f"{name} {seconds:.0f} s" for name, seconds in summary["seconds"].items())),
        (
            "started again",
            ", ".join(f"{name} {n}x" for name, n in summary.get("restarts", {}).items()) or "nothing",
        ),
        ("model", str(folder.final_model)),
        ("checkpoints", str(folder.checkpoints)),
        ("metrics", str(folder.metrics)),
        ("trajectories in", str(folder.ledger)),
    ]
    return [
        (name, value.replace("_", " ") if name in ("time", "trajectories") else value)
        for name, value in shown
    ]


def share(evaluation: dict[str, Any] | None) -> str:
    """A success share with its 95 % interval and n."""
    if not evaluation:
        return "not evaluated"
    low, high, number = evaluation["low"], evaluation["high"], evaluation["num_tasks"]
    return f"{evaluation['success']:.3f}  (95 % interval {low:.3f} to {high:.3f}, {number} tasks)"
