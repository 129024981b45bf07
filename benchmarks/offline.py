"""What DPO and AgentEvol add to supervised learning: held-out success in TextCraft's workshop.

One warm start on the plays of a distracted expert; from it AgentEvol with both objectives (each iteration
trains the first model for as many steps as the warm start had, on the demonstrations and what was explored)
and DPO on pairs of what the warm start explored for it. All models of a seed play the same held-out tasks,
goals that were never trained on, equally often. Intervals are of 95 %, over tasks; gains are paired by task
and, over several seeds, by seed and task. With `--keep FOLDER` the same command goes on where it was stopped.
"""

import json
import shutil
import tempfile
from collections import defaultdict
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.parts.commands import python
from benchmarks.report import Report, parse
from common.run_directory import RunDirectory
from common.statistics import paired_bootstrap

CONFIG = Path(__file__).parent / "parts" / "offline.toml"
OBJECTIVES = ("weighted", "filtered")
PREPARED = ("tasks.json", "vocabulary.json", "model", "data", "warm_start")
"""What the runs share."""
LEAST_GAIN = 0.001
"""What the lower end of a gain must reach."""
DEADLINE_S = 3600.0
"""Of one command."""


def begun(folder: Path, name: str) -> RunDirectory:
    """The run of that name, begun with the products of `sft` where it has none."""
    source, target = folder / "sft", folder / name
    for product in PREPARED:
        if not (target / product).exists():
            target.mkdir(exist_ok=True)
            copy = shutil.copytree if (source / product).is_dir() else shutil.copyfile
            copy(source / product, target / f"{product}.unfinished")
            (target / f"{product}.unfinished").rename(target / product)
    return RunDirectory(target)


def results(folder: Path, objectives: Sequence[str], overrides: list[str]) -> dict[str, dict[str, Any]]:
    """The held-out result of every model, which is trained and played unless that was done before."""
    common = (str(CONFIG), f"--run.directory={folder}", *overrides)
    run = partial(python, deadline_s=DEADLINE_S)
    run("launch.cli", "sft", *common)
    files: dict[str, Path] = {}
    for objective in objectives:
        evol = begun(folder, objective).path / "evol"
        run("launch.cli", "evol", *common, f"--run.name={objective}", f"--evol.objective={objective}")
        iterations = sorted(evol.glob("iteration-*"))
        files.setdefault("sft", iterations[0] / "heldout.json")
        files[f"evol_{objective}"] = iterations[-1] / "heldout.json"
    dpo = begun(folder, "dpo")
    ledger = folder / objectives[0] / "evol" / "ledger.sqlite"
    run("launch.cli", "dpo", *common, "--run.name=dpo", f"--ledger={ledger}")
    files["dpo"] = dpo.path / "heldout.json"
    if not files["dpo"].exists():
        arguments = (dpo.config, dpo.path / "dpo", files["dpo"])
        run("benchmarks.parts.offline_play", *map(str, arguments))
    return {name: json.loads(file.read_text()) for name, file in files.items()}


def per_task(result: dict[str, Any]) -> list[float]:
    """The share of plays that succeeded, task by task in frozen order."""
    won: dict[tuple[str, int], list[bool]] = defaultdict(list)
    for episode in result["episodes"]:
        won[episode["task"], episode["seed"]].append(episode["is_success"])
    return [sum(plays) / len(plays) for plays in won.values()]


def add_figures(report: Report, seeds: Sequence[dict[str, dict[str, Any]]]) -> None:
    """Success of every model and seed with its interval, and what it gained on `sft`, task by task."""
    for seed, measured in enumerate(seeds):
        for name, result in measured.items():
            report.add(f"offline_{name}_success_seed{seed}", result["success"], "")
            report.add(f"offline_{name}_low_seed{seed}", result["low"], "")
            report.add(f"offline_{name}_high_seed{seed}", result["high"], "")
    shares = {name: [share for m in seeds for share in per_task(m[name])] for name in seeds[0]}
    for name in [name for name in shares if name != "sft"]:
        gain = paired_bootstrap(shares["sft"], shares[name])
        report.add(f"offline_{name}_gain", gain.mean, "")
        report.add(f"offline_{name}_gain_low", gain.low, "", at_least=LEAST_GAIN)
        report.add(f"offline_{name}_gain_high", gain.high, "")


def main() -> None:
    """Train, play, report."""
    arguments = parse(
        __doc__,
        ("--keep", {"type": Path, "metavar": "FOLDER", "help": "keep the runs here, and go on from there"}),
        (
            "--objectives",
            {"nargs": "+", "choices": OBJECTIVES, "default": OBJECTIVES, "help": "of AgentEvol"},
        ),
        (
            "--seeds",
            {
                "type": int,
                "default": 1,
                "metavar": "N",
                "help": "train everything so often, run.seed = 0, 1, ...",
            },
        ),
        (
            "--set",
            {"action": "append", "default": [], "metavar": "section.field=value", "help": "of every run"},
        ),
    )
    report = Report("offline")
    with tempfile.TemporaryDirectory() as scratch:
        folder = (arguments.keep or Path(scratch)).resolve()
        settings = [f"--{setting}" for setting in arguments.set]
        seeds = []
        for seed in range(arguments.seeds):
            (folder / f"seed-{seed}").mkdir(parents=True, exist_ok=True)
            overrides = [*settings, f"--run.seed={seed}"]
            seeds.append(results(folder / f"seed-{seed}", arguments.objectives, overrides))
        add_figures(report, seeds)
    report.finish(arguments.json)


if __name__ == "__main__":
    main()
