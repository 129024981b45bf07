"""`pronghorn sft CONFIG` and `pronghorn dpo CONFIG`: trainers that need no actors.

What they need (tasks, vocabulary, first model, demonstrations) is made first, as by `pronghorn run`, and they
leave their model in the run folder: `warm_start/`, from which `pronghorn run` goes on, and `dpo/`. The same
command goes on where it was stopped.
"""

import argparse
import asyncio
import json
import os
import shutil
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from common.aio import background
from common.config import load
from common.errors import ConfigurationError
from common.run_directory import RunDirectory, write_json
from envhub.local import LocalHub
from launch import preflight, roles
from launch.config import RunConfig
from launch.pipeline import ProcessWork, conduct
from launch.processes import Launcher
from launch.run_folder import StageClock, refuse_live
from launch.stages import Stages
from launch.supervise import Supervisor
from launch.view import Tail, View
from learner.offline.examples import read_examples

REFRESH_S = 0.5


def main(options: argparse.Namespace, overrides: Sequence[str]) -> int:
    """Check, lock, make what is missing, train, report; the exit code."""
    config = load(RunConfig, options.config, overrides)
    folder = config.run.folder
    if options.command == "sft":
        refuse_without_data(config, options.data)
        product = folder.warm_start
        run = partial(_sft, options)
    else:
        refuse_missing(options)
        product = folder.path / "dpo"
        run = partial(_dpo, options)
    return conduct(
        config,
        run,
        check=check,
        is_done=lambda _: False,
        report=lambda _: _report(options.command, folder, product),
    )


def check(config: RunConfig) -> None:
    """What the trainers need of this machine; no engine and no ports."""
    refuse_live(config.run.folder)
    preflight.check_tasks(config)
    preflight.check_model(config)
    preflight.check_cores(config)
    preflight.check_gpu(config)
    preflight.check_folder(config)
    preflight.check_space(config)


def refuse_without_data(config: RunConfig, data: Path | None) -> None:
    """ConfigurationError unless there is something to imitate, every row of which is whole."""
    known = config.run.folder.demonstrations
    if data is None:
        if not config.sft.num_demonstrations and not known.exists():
            raise ConfigurationError(
                "sft.num_demonstrations = 0: nothing to imitate; say how many, or give --data=FILE"
            )
        return
    read_examples(data)
    if known.exists() and known.read_bytes() != data.read_bytes():
        raise ConfigurationError(
            f"--data={data}: the run in {config.run.folder.path} has other demonstrations; "
            "give another --run.name"
        )


def refuse_missing(options: argparse.Namespace) -> None:
    """ConfigurationError for the first file or model of the command line that is not there."""
    for name, paths in (("pairs", [options.pairs]), ("ledger", [options.ledger]), ("data", options.data)):
        for path in paths:
            if path is not None and not path.is_file():
                raise ConfigurationError(f"--{name}={path}: no such file")
    if options.model is not None and not (options.model / "config.json").is_file():
        raise ConfigurationError(f"--model={options.model}: not a model folder (no config.json)")


def hold_to(file: Path, settings: dict[str, Any]) -> None:
    """Write down what a training began with; ConfigurationError, naming the setting, if that was another."""
    if file.exists():
        began = json.loads(file.read_text())
        for name, value in json.loads(json.dumps(settings)).items():
            if began.get(name) != value:
                raise ConfigurationError(
                    f"{name} = {value!r}: the training in {file.parent} began with {began.get(name)!r}; "
                    "resume with that, or give another --run.name"
                )
    write_json(file, settings)


def flat(section: str, values: dict[str, Any]) -> dict[str, Any]:
    """The settings of a section by their full names."""
    return {f"{section}.{name}": value for name, value in values.items()}


async def narrate(curve: Path, view: View) -> None:
    """Endless: say every new line of a trainer's curve; one last time when cancelled."""
    tail = Tail(curve)
    try:
        while True:
            _say_new(tail, view)
            await asyncio.sleep(REFRESH_S)
    finally:
        _say_new(tail, view)


def curve_of(folder: RunDirectory, name: str) -> Path:
    """Where the trainer of that name writes its curve."""
    return folder.path / "curves" / f"{name}.jsonl"


def _say_new(tail: Tail, view: View) -> None:
    for row in tail.new_rows():
        values = {name: row[name] for name in ("loss", "margin", "accuracy", "tokens_per_s") if name in row}
        shown = "  ".join(f"{name} {value:,.4g}" for name, value in values.items())
        view.say(f"{row['course']} step {row['step']}/{row['steps']}  {shown}")


async def _sft(options: argparse.Namespace, config: RunConfig, view: View) -> None:
    if options.data is not None:
        await asyncio.to_thread(_adopt, options.data, config.run.folder.demonstrations)
    await _prepare(config, view)


def _adopt(data: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    unfinished = target.with_name(target.name + ".unfinished")
    shutil.copyfile(data, unfinished)
    os.replace(unfinished, target)


async def _prepare(config: RunConfig, view: View) -> None:
    """Every stage before training, in processes; the environments are asked in this one."""
    async with Launcher.guarded() as launcher:
        work = ProcessWork(config, Supervisor(launcher, config.supervision, view.say))
        stages = Stages(config, view, StageClock(config.run.folder))
        async with background(narrate(curve_of(config.run.folder, "sft"), view)):
            await stages.prepare(LocalHub(), work)


async def _dpo(options: argparse.Namespace, config: RunConfig, view: View) -> None:
    folder = config.run.folder
    given = {
        name: str(value)
        for name in ("pairs", "ledger", "model")
        if (value := getattr(options, name)) is not None
    }
    arguments = [f"--{name}={value}" for name, value in given.items()]
    arguments += [f"--data={file}" for file in options.data]
    if options.model is None:
        await _prepare(config, view)
    settings = flat("dpo", config.dpo.model_dump()) | {"options": arguments}
    await asyncio.to_thread(hold_to, folder.path / "dpo.settings.json", settings)
    async with Launcher.guarded() as launcher:
        supervisor = Supervisor(launcher, config.supervision, view.say)
        stages = Stages(config, view, StageClock(folder))
        async with background(narrate(curve_of(folder, "dpo"), view)):
            await stages.stage(
                "dpo",
                folder.path / "dpo",
                lambda: supervisor.finish(roles.trainer(config, "dpo", arguments)),
            )


def _report(command: str, folder: RunDirectory, product: Path) -> None:
    """The newest numbers, where there are any, and where the model is."""
    curve = curve_of(folder, command)
    row = json.loads(curve.read_text().splitlines()[-1]) if curve.exists() else {}
    shown = [f"{name} {row[name]:.4f}" for name in ("loss", "margin", "accuracy") if name in row]
    if command == "dpo":
        print(f"pronghorn: dpo: {json.loads((folder.path / 'dpo.json').read_text())['found']}")
    told = f": {row['step']} steps, {', '.join(shown)}" if row else ""
    print(f"pronghorn: {command}{told}: {product}")
