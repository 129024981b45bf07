"""The arguments of `pronghorn data`; nothing heavier than argparse, so that the command starts fast."""

import argparse
from pathlib import Path
from typing import Any

FORMS = ("agenttraj", "agenteval", "ids")


def add_data(commands: Any) -> None:
    """Add the command and its kinds to the subparsers of `pronghorn`."""
    data = commands.add_parser("data", help="make, check, convert and export training data")
    kinds = data.add_subparsers(dest="kind", required=True, metavar="KIND")
    expert = kinds.add_parser("expert", help="demonstrations by the environment's expert, as AgentTraj")
    expert.add_argument("config", nargs="+", type=Path, metavar="CONFIG.toml")
    expert.add_argument("--out", type=Path, required=True, metavar="FILE")

    check = kinds.add_parser("check", help="what a file of trajectories or ids holds, and what is broken")
    check.add_argument("file", type=Path, metavar="FILE")
    _add_environments(check)

    convert = kinds.add_parser("convert", help="between AgentTraj, AgentEval and ids, arrays and JSON lines")
    convert.add_argument("file", type=Path, metavar="IN")
    convert.add_argument("--out", type=Path, required=True, metavar="OUT", help=".jsonl for JSON lines")
    convert.add_argument("--to", choices=FORMS, help="default: the form of IN")
    _add_on_error(convert)
    convert.add_argument(
        "--successes-only",
        action="store_true",
        help="rows whose `reward` is a success by the environment's own predicate",
    )

    export = kinds.add_parser("export", help="what a run played, also while it goes on")
    export.add_argument("run", type=Path, metavar="RUN", help="the run's folder")
    export.add_argument("--out", type=Path, required=True, metavar="OUT", help="a folder for `datasets`")
    export.add_argument("--format", choices=("agenttraj", "parquet", "datasets"), default="agenttraj")
    export.add_argument("--split", choices=("train", "heldout", "all"), default="train")
    chosen = export.add_mutually_exclusive_group()
    chosen.add_argument("--successes-only", action="store_true", help="by the environment's own predicate")
    chosen.add_argument("--min-return", type=float, metavar="X", help="rewards that sum to X at least")

    tasks = kinds.add_parser("tasks", help="which tasks the item ids of files mean")
    tasks.add_argument("files", nargs="+", type=Path, metavar="FILE")
    _add_environments(tasks)
    tasks.add_argument("--list", action="store_true", help="one line per task: id, environment, task, split")


def _add_environments(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--environment",
        action="append",
        default=[],
        metavar="NAME",
        help="whose ids they are, where the ids do not tell; may be repeated",
    )


def _add_on_error(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--on-error",
        choices=("refuse", "skip"),
        default="refuse",
        help="a broken row refuses the whole file, or is left out and told; default: refuse",
    )
