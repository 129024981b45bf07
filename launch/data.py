"""`pronghorn data`: expert demonstrations, files checked and converted, runs exported, item ids looked up."""

import argparse
import importlib
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from common import agent_items
from common.agent_items import DataForm, DataRow, read_any
from common.agenttraj import Demonstration
from common.config import load
from common.errors import ConfigurationError, PronghornError
from common.json_rows import Fault, layout_of
from envhub import registry
from launch.config import RunConfig
from launch.data_items import is_success, resolve, resolve_files, world_of
from launch.demonstrations import write

MAX_TOLD = 20
"""So many broken rows are told one by one."""


def main(options: argparse.Namespace, overrides: Sequence[str]) -> int:
    """Do what `options.kind` asks for; the exit code."""
    if overrides and options.kind != "expert":
        raise ConfigurationError(f"{overrides[0]}: `pronghorn data {options.kind}` reads no configuration")
    match options.kind:
        case "expert":
            return expert(options, overrides)
        case "check":
            return check(options)
        case "convert":
            return convert(options)
        case "tasks":
            return tasks(options)
    # Only this one needs pyarrow.
    return int(importlib.import_module("launch.data_export").export(options))


def expert(options: argparse.Namespace, overrides: Sequence[str]) -> int:
    """Write demonstrations by the environment's expert."""
    config = load(RunConfig, options.config, overrides)
    if not config.sft.num_demonstrations:
        raise ConfigurationError("sft.num_demonstrations = 0: say how many to write")
    number = write(config, options.out)
    print(f"pronghorn: {number} demonstrations in {options.out}")
    return 0


def check(options: argparse.Namespace) -> int:
    """Say what a file is and what is broken; 1 when a row is broken or means no task here."""
    for name in options.environment:
        registry.check_name(name)
    form, kept = read_any(options.file, "skip")
    print(f"{options.file}: {form}, {kept.counts}")
    _tell(kept.faults)
    worlds = Counter(world_of(row.item_id) or "not told by the id" for row in kept.rows)
    for world, number in sorted(worlds.items()):
        print(f"  {world}: {number}")
    texts = [part for row in kept.rows if isinstance(row, Demonstration) for part in row.conversations]
    if texts:
        said = [part for part in texts if part.speaker == "gpt"]
        print(f"  texts of the model: {len(said)}, learnt {sum(part.is_learnt for part in said)}")
    unknown = _unknown(kept.rows, options.environment)
    print(f"  tasks: {len(kept.rows) - len(unknown)} rows name one, {len(unknown)} none that is known here")
    for reason in unknown[:MAX_TOLD]:
        print(f"    {reason}")
    return 1 if kept.faults or unknown else 0


def _unknown(rows: Sequence[DataRow], environments: Sequence[str]) -> list[str]:
    """Why some rows mean no task: a line each."""
    reasons = []
    for row in rows:
        try:
            resolve(row.item_id, environments)
        except PronghornError as error:
            reasons.append(str(error))
    return reasons


def convert(options: argparse.Namespace) -> int:
    """Write the rows in another form, layout, or without those that failed."""
    source, out = options.file, options.out
    if out.exists() and source.exists() and out.samefile(source):
        raise ConfigurationError(f"--out={out}: is the file that is read; give another name")
    form, kept = read_any(source, options.on_error)
    _tell(kept.faults)
    asked: DataForm = options.to or form
    if form != "agenttraj" and (asked == "agenttraj" or options.successes_only):
        raise ConfigurationError(
            f"{source}: is {form}, without texts or rewards; allowed: --to=agenteval or ids"
        )
    rows: Sequence[DataRow] = kept.rows
    told = f", {len(kept.faults)} broken rows left out" if kept.faults else ""
    if options.successes_only:
        rows = _successes(source, rows)
        told += f", {len(kept.rows) - len(rows)} not successful"
    if asked != "agenttraj":
        # A list of tasks names each once, however often it was played.
        rows, before = list({row.item_id: row for row in rows}.values()), len(rows)
        told += f", {before - len(rows)} repeated" if before > len(rows) else ""
    number = agent_items.write(out, asked, rows, layout_of(out))
    print(f"pronghorn: {number} rows of {asked} in {out}{told}")
    return 0


def _successes(file: Path, rows: Sequence[DataRow]) -> list[DataRow]:
    try:
        return [row for row in rows if isinstance(row, Demonstration) and is_success(row)]
    except ConfigurationError as error:
        raise ConfigurationError(f"{file}: --successes-only: {error}") from None


def tasks(options: argparse.Namespace) -> int:
    """Say which tasks the ids mean, and how a run is given them."""
    for name in options.environment:
        registry.check_name(name)
    found = resolve_files([str(file) for file in options.files], options.environment)
    if options.list:
        for item in found:
            print(item.item_id, item.environment, item.task.name, item.task.split, sep="\t")
        return 0
    for (environment, split), number in sorted(Counter((i.environment, i.task.split) for i in found).items()):
        print(f"{environment}: {number} tasks of the split {split}")
    files = ", ".join(f'"{file}"' for file in options.files)
    print(f"pronghorn: {len(found)} tasks; train on them with tasks.train_items = [{files}]")
    return 0


def _tell(faults: Sequence[Fault]) -> None:
    for fault in faults[:MAX_TOLD]:
        print(f"  {fault}", file=sys.stderr)
    if len(faults) > MAX_TOLD:
        print(f"  and {len(faults) - MAX_TOLD} more", file=sys.stderr)
