"""Who is evaluated: a model folder, a checkpoint, the latest weights of a run, or a model behind an API."""

import argparse
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from common.config import load
from common.errors import CheckpointError, ConfigurationError, PreflightError
from common.run_directory import RunDirectory
from common.weights.adapter import fingerprint
from common.weights.store import newest_version
from launch.config import RunConfig
from learner.checkpoint_manifest import read_manifest

EXPORT_S = 3600.0
"""Deadline of writing a checkpoint as a model folder."""


@dataclass(frozen=True)
class Evaluated:
    """What plays, and how it is told from others."""

    kind: Literal["model", "checkpoint", "live", "api"]
    name: str
    """For people, and for the folder of the results."""
    path: Path = Path()
    """The model folder, the checkpoint, or the weight file of a live learner."""
    version: int = 0
    """Policy version, where it is known."""
    identity: str = ""
    """Of the weights: a checksum, where one can be had."""
    run: RunDirectory | None = None
    """Of a checkpoint or a live learner."""

    def described(self) -> dict[str, Any]:
        """As it stands in the results; the same for the same weights."""
        where = {"path": str(self.path.resolve())} if self.kind != "api" else {}
        told = {"kind": self.kind, "name": self.name, **where, "version": self.version}
        return told | ({"identity": self.identity} if self.identity else {})


def choose(options: argparse.Namespace, config: RunConfig) -> Evaluated:
    """What the command asks for; without any, the run's own model.

    ConfigurationError, naming the option, for what is not there.
    """
    if config.api.url:
        if not config.api.model:
            raise ConfigurationError("--api-model: say which model of the API plays")
        return Evaluated("api", config.api.model, identity=config.api.url)
    if options.checkpoint:
        return _checkpoint(Path(options.checkpoint), "--checkpoint")
    if options.latest:
        return latest(RunDirectory(Path(options.latest)))
    model = Path(options.model) if options.model else model_of_run(config)
    if not (model / "config.json").exists():
        raise ConfigurationError(f"--model={model}: not a model folder (no config.json)")
    return Evaluated("model", model.resolve().name, model, identity=fingerprint(model))


def model_of_run(config: RunConfig) -> Path:
    """The run's final model, else its warm start, else its first model; ConfigurationError without any."""
    folder = config.run.folder
    for candidate in (folder.final_model, folder.policy_zero):
        if candidate.exists():
            return candidate
    raise ConfigurationError(f"{folder.path}: the run has no model yet; give --model=FOLDER")


def latest(run: RunDirectory) -> Evaluated:
    """The newest weights of a run: of its living learner on this host, else its newest checkpoint.

    Before the first step it is the model that the run began with. ConfigurationError when there is no run.
    """
    if not run.config.exists():
        raise ConfigurationError(f"--latest={run.path}: not a run (no config.toml)")
    checkpoints = sorted(run.checkpoints.glob("step-*/manifest.json"), key=lambda file: _step(file.parent))
    newest = _checkpoint(checkpoints[-1].parent, "--latest") if checkpoints else None
    live = None if _is_adapted(run) else newest_version(run.path)
    if live is not None and live[0] > (newest.version if newest else 0):
        version, file = live
        return Evaluated("live", f"{run.path.resolve().name}-version-{version}", file, version, run=run)
    if newest is not None:
        return newest
    if not (run.policy_zero / "config.json").exists():
        raise ConfigurationError(f"--latest={run.path}: the run has no weights yet")
    model = run.policy_zero
    return Evaluated("model", f"{run.path.resolve().name}-version-0", model, identity=fingerprint(model))


def _is_adapted(run: RunDirectory) -> bool:
    """Whether what the learner publishes are adapters alone, which only its own engines can use."""
    return load(RunConfig, [run.config]).model.lora.is_on


def _checkpoint(path: Path, option: str) -> Evaluated:
    run = RunDirectory(path.parent.parent)
    try:
        manifest = read_manifest(path)
    except CheckpointError as error:
        raise ConfigurationError(f"{option}={path}: not a whole checkpoint: {error}") from None
    if not run.config.exists():
        raise ConfigurationError(f"{option}={path}: not inside a run (no {run.config})")
    name = f"{run.path.resolve().name}-{path.name}"
    return Evaluated("checkpoint", name, path, manifest.step, manifest.identity, run)


def _step(checkpoint: Path) -> int:
    number = checkpoint.name.rpartition("-")[2]
    return int(number) if number.isdigit() else -1


@contextmanager
def model_folder(evaluated: Evaluated, scratch: Path) -> Iterator[Path]:
    """A folder that an engine can play with; what must be written for it lies in `scratch` meanwhile.

    Raises PreflightError when the weights cannot be read, or a live learner's are gone already.
    """
    if evaluated.kind == "model":
        yield evaluated.path
        return
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    try:
        source = evaluated.path
        if evaluated.kind == "live":
            source = _copied(evaluated, scratch / "weights.safetensors")
        _export(evaluated, source, scratch / "model")
        yield scratch / "model"
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _copied(evaluated: Evaluated, target: Path) -> Path:
    try:
        shutil.copyfile(evaluated.path, target)
    except OSError as error:
        raise PreflightError(
            f"version {evaluated.version} is gone, the learner has newer ones; start again ({error.strerror})"
        ) from None
    return target


def _export(evaluated: Evaluated, source: Path, target: Path) -> None:
    """Write the weights as a model folder, in a process that may import torch."""
    assert evaluated.run is not None
    run = evaluated.run.path.resolve()
    command = [
        *(sys.executable, "-m", "learner.export", str(run / "config.toml")),
        *(f"--run.directory={run.parent}", f"--run.name={run.name}"),
        *(f"--export.source={source.resolve()}", f"--export.target={target.resolve()}"),
    ]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=EXPORT_S, check=False)
    except subprocess.TimeoutExpired:
        raise PreflightError(f"{source}: not written as a model within {EXPORT_S:g} s") from None
    if done.returncode:
        said = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        raise PreflightError(said[-1].removeprefix("pronghorn export: "))
