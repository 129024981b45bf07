"""`pronghorn compare A B`: do two evaluations of the same tasks differ, and by how much?

Tasks are paired: each is drawn or not drawn for both, so what makes a task hard for everybody cancels out.
"""

import argparse
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from common.errors import ConfigurationError
from common.evaluation import TaskKey, by_task
from common.run_directory import write_json
from common.statistics import RESAMPLES, paired_bootstrap, pass_at_k
from launch.evaluation_results import EPISODES, RESULTS, read_episodes

Wins = dict[TaskKey, list[bool]]


def main(options: argparse.Namespace, _overrides: Sequence[str]) -> int:
    """Print the comparison, and write it as JSON where asked; the exit code."""
    values = compare(options.first, options.second, seed=options.seed)
    print_comparison(options.first, options.second, values)
    if options.out is not None:
        write_json(options.out, values)
    return 0


def compare(first: Path, second: Path, *, seed: int = 0) -> dict[str, Any]:
    """How much better `second` is than `first`: avg@k and, with k > 1 of both, pass@k; per environment too.

    Each is a paired bootstrap over tasks (`common.statistics.paired_bootstrap`). ConfigurationError when one
    is no finished evaluation, or when they did not play the same tasks.
    """
    a, b = _read(first), _read(second)
    _refuse_other_tasks(first, a, second, b)
    settings = [json.loads((folder / RESULTS).read_text())["settings"] for folder in (first, second)]
    environments = sorted({key[0] for key in a})
    parts = {"all": list(a)}
    if len(environments) > 1:
        parts |= {name: [key for key in a if key[0] == name] for name in environments}
    return {
        "first": str(first),
        "second": str(second),
        "resamples": RESAMPLES,
        "seed": seed,
        "conditions": _differences(*settings),
        "differences": {name: _measures(keys, a, b, seed) for name, keys in parts.items()},
    }


def _read(folder: Path) -> Wins:
    if not (folder / RESULTS).exists():
        raise ConfigurationError(f"{folder}: holds no finished evaluation (no {RESULTS})")
    return dict(sorted(by_task(read_episodes(folder / EPISODES)).items()))


def _refuse_other_tasks(first: Path, a: Wins, second: Path, b: Wins) -> None:
    parts = [
        f"{len(alone)} only in {folder} (first: {' '.join(map(str, min(alone)))})"
        for folder, alone in ((first, a.keys() - b.keys()), (second, b.keys() - a.keys()))
        if alone
    ]
    if parts:
        raise ConfigurationError(f"the evaluations played different tasks: {', '.join(parts)}")


def _measures(keys: Sequence[TaskKey], a: Wins, b: Wins, seed: int) -> dict[str, Any]:
    samples = min(len(wins[key]) for wins in (a, b) for key in keys)
    told = {"num_tasks": len(keys), "avg": _measure(keys, a, b, seed, lambda won: sum(won) / len(won))}
    if samples > 1:
        told[f"pass_at_{samples}"] = _measure(
            keys, a, b, seed, lambda won: pass_at_k(len(won), sum(won), samples)
        )
    return told


def _measure(
    keys: Sequence[TaskKey], a: Wins, b: Wins, seed: int, of_task: Callable[[list[bool]], float]
) -> dict[str, float]:
    first, second = ([of_task(wins[key]) for key in keys] for wins in (a, b))
    return {
        "first": sum(first) / len(keys),
        "second": sum(second) / len(keys),
        "num_differing": sum(a != b for a, b in zip(first, second, strict=True)),
        **asdict(paired_bootstrap(first, second, seed=seed)),
    }


def _differences(first: dict[str, Any], second: dict[str, Any]) -> dict[str, list[Any]]:
    """Settings that are not alike: what differs besides, or instead of, the model."""
    names = sorted(first.keys() | second.keys())
    return {
        name: [first.get(name), second.get(name)] for name in names if first.get(name) != second.get(name)
    }


def print_comparison(
    first: Path, second: Path, values: dict[str, Any], console: Console | None = None
) -> None:
    """A table of the differences, and the conditions that were not the same."""
    shown = console or Console()
    table = Table(title=f"{second} against {first}", title_justify="left")
    table.add_column("tasks", overflow="fold", min_width=12)
    for column in ("measure", "first", "second", "difference", "95 % interval", "p"):
        table.add_column(column, justify="right", no_wrap=True)
    for part, measures in values["differences"].items():
        for name, found in measures.items():
            if name != "num_tasks":
                label = f"{part} ({measures['num_tasks']})"
                table.add_row(label, name.replace("_at_", "@"), *_cells(found))
    shown.print(table)
    if not values["differences"]["all"]["avg"]["num_differing"]:
        shown.print("no task came out differently: how large a difference may be, this cannot say")
    for name, (was, now) in values["conditions"].items():
        if name != "model":
            shown.print(f"not alike: {name} = {json.dumps(was)} and {json.dumps(now)}", soft_wrap=True)


def _cells(found: dict[str, float]) -> list[str]:
    return [
        f"{found['first']:.3f}",
        f"{found['second']:.3f}",
        f"{found['mean']:+.3f}",
        f"{found['low']:+.3f} to {found['high']:+.3f}",
        f"{found['p_value']:.4f}",
    ]
