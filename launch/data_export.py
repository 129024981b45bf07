"""`pronghorn data export RUN --out OUT`: what a run played, as AgentTraj, Parquet or a `datasets` folder."""

import argparse
from collections import Counter
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

from common import agenttraj
from common.agenttraj import ACKNOWLEDGEMENT, Demonstration
from common.config import load
from common.errors import ConfigurationError
from common.json_rows import layout_of
from common.run_directory import RunDirectory
from common.trajectory import Trajectory
from envhub import registry
from launch.config import RunConfig
from launch.data_items import item_id_of
from launch.data_tables import write_dataset, write_parquet
from learner.ledger_reader import LedgerReader, Played, Selection
from learner.ledger_records import Purpose

SPLITS: dict[str, tuple[Purpose, ...]] = {
    "train": ("training",),
    "heldout": ("evaluation",),
    "all": ("training", "evaluation"),
}
_SPLIT_NAMES: dict[Purpose, str] = {"training": "train", "evaluation": "test"}


def export(options: argparse.Namespace) -> int:
    """Write what was asked for and say how much; the exit code."""
    folder = RunDirectory(options.run)
    if not folder.ledger.is_file():
        raise ConfigurationError(f"{options.run}: no run has played here (there is no {folder.ledger.name})")
    selections = [
        Selection(purpose, options.successes_only, options.min_return) for purpose in SPLITS[options.split]
    ]
    with LedgerReader(folder.ledger) as ledger:
        number = sum(map(ledger.count, selections))
        if not number:
            raise ConfigurationError(f"{options.run}: the run has no such trajectory; nothing was written")
        told = f"{number} trajectories"
        if options.format == "datasets":
            splits = {_SPLIT_NAMES[s.purpose]: (ledger.count(s), ledger.played(s)) for s in selections}
            write_dataset(options.out, options.run.resolve().name, splits)
        elif options.format == "parquet":
            write_parquet(options.out, _played(ledger, selections))
        else:
            told = _write_agenttraj(folder, options.out, _played(ledger, selections))
    print(f"pronghorn: {told} in {options.out}")
    return 0


def _played(ledger: LedgerReader, selections: Iterable[Selection]) -> Iterator[Played]:
    for selection in selections:
        yield from ledger.played(selection)


def _write_agenttraj(folder: RunDirectory, out: Path, played: Iterable[Played]) -> str:
    """The rows, and how many trajectories were left out because nothing was said in them."""
    action_format = load(RunConfig, [folder.config]).tasks.action_format
    left_out: Counter[str] = Counter()

    @cache
    def instructions(environment: str) -> str:
        return registry.environment(environment).instructions(action_format)

    def rows() -> Iterator[Demonstration]:
        for item in played:
            trajectory = item.trajectory
            if trajectory.turns:
                yield demonstration_of(trajectory, instructions(trajectory.task.environment))
            else:
                left_out["empty"] += 1

    number = agenttraj.write(out, rows(), layout_of(out))
    return f"{number} trajectories" + (f" ({left_out['empty']} without a turn left out)" if left_out else "")


def demonstration_of(trajectory: Trajectory, instructions: str) -> Demonstration:
    """What was seen and written, as a row; `reward` is the score, `success` the environment's own verdict.

    An action that was cut by its token limit is not to be learnt: its end is not where the policy stopped.
    """
    parts: list[dict[str, str | bool | None]] = []
    if instructions:
        parts.append({"from": "human", "loss": None, "value": instructions})
        parts.append({"from": "gpt", "loss": False, "value": ACKNOWLEDGEMENT})
    for turn in trajectory.turns:
        # Without instructions a first text that is not learnt would be read as their acknowledgement.
        is_learnt = turn.is_stopped or not parts
        parts.append({"from": "human", "loss": None, "value": turn.observation})
        parts.append({"from": "gpt", "loss": is_learnt, "value": turn.action})
    return Demonstration.model_validate(
        {
            "conversations": parts,
            "item_id": item_id_of(trajectory.task),
            "reward": trajectory.score,
            "success": trajectory.is_success,
        }
    )
