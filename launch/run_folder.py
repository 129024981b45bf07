"""The folder of a run as the launcher sees it: locked, its configuration settled, its stages timed."""

import fcntl
import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Any

import tomli_w

from common.config import load
from common.errors import ConfigurationError, PreflightError
from common.run_directory import RunDirectory, write_json
from launch.config import RunConfig

FIXED = (
    "run.name", "run.seed", "model", "tasks", "sft", "horizon", "sampling",
    "learner.group_size", "learner.groups_per_step", "learner.advantage", "learner.critic.kind",
    "evaluation.num_tasks", "evaluation.samples", "evaluation.horizon", "evaluation.temperature",
)  # fmt: skip
"""What a resumed run must share with its beginning: otherwise its numbers would mean two things."""

PORTS = (("hub", "port"), ("bus", "ledger_port"), ("bus", "policy_port"), ("bus", "weights_port"))


def has_reached(folder: RunDirectory, steps: int) -> bool:
    """Whether the folder holds a finished run of at least so many steps."""
    if not folder.summary.exists() or not folder.final_model.exists():
        return False
    return int(json.loads(folder.summary.read_text()).get("steps", -1)) >= steps


@contextmanager
def locked(folder: RunDirectory) -> Iterator[None]:
    """Hold the run for this process; PreflightError with the pid of the process that already does.

    The lock is the kernel's: it is gone with the process, however that ends.
    """
    folder.path.mkdir(parents=True, exist_ok=True)
    with (folder.path / "lock").open("a+") as file:
        _take(file, folder)
        file.truncate(0)
        file.write(f"{os.getpid()}\n")
        file.flush()
        yield


def refuse_live(folder: RunDirectory) -> None:
    """PreflightError with the pid when another process holds the run now; makes nothing."""
    lock = folder.path / "lock"
    if lock.exists():
        with lock.open("r+") as file:
            _take(file, folder)


def _take(file: IO[str], folder: RunDirectory) -> None:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.seek(0)
        holder = file.read().strip() or "unknown"
        raise PreflightError(
            f"run {folder.path} is live already (pid {holder}); stop it, or give another --run.name"
        ) from None


def settle(config: RunConfig) -> RunConfig:
    """Choose the free ports, make paths absolute, and write `config.toml`, which every role of the run reads.

    ConfigurationError, naming the field, when the folder holds a run that this configuration cannot resume.
    """
    resolved = with_ports(absolute(config))
    keep_config(resolved)
    return resolved


def keep_config(config: RunConfig) -> None:
    """Write `config.toml`; ConfigurationError when the folder holds a run that it cannot resume."""
    folder = config.run.folder
    if folder.config.exists():
        refuse_another_run(load(RunConfig, [folder.config]), config)
    temporary = folder.config.with_suffix(".tmp")
    temporary.write_text(tomli_w.dumps(config.model_dump(mode="json", exclude_none=True)))
    temporary.replace(folder.config)


def refuse_another_run(before: RunConfig, now: RunConfig) -> None:
    """ConfigurationError when a field that shapes the run differs from what it began with."""
    old, new = before.model_dump(mode="json"), now.model_dump(mode="json")
    for name, was, given in _differences("", old, new):
        if any(name == fixed or name.startswith(f"{fixed}.") for fixed in FIXED):
            raise ConfigurationError(
                f"{name} = {given!r}: the run in {now.run.folder.path} began with {was!r}; "
                "resume with that, or give another --run.name"
            )


def _differences(prefix: str, old: Any, new: Any) -> Iterator[tuple[str, Any, Any]]:
    if isinstance(old, dict) and isinstance(new, dict):
        for key in old.keys() | new.keys():
            yield from _differences(f"{prefix}.{key}".lstrip("."), old.get(key), new.get(key))
    elif old != new:
        yield prefix, old, new


def absolute(config: RunConfig) -> RunConfig:
    """The same configuration with absolute paths."""
    run = config.run.model_copy(update={"directory": str(Path(config.run.directory).resolve())})
    model = config.model
    if model.source == "path" and Path(model.path).exists():
        model = model.model_copy(update={"path": str(Path(model.path).resolve())})
    return config.model_copy(update={"run": run, "model": model})


def with_ports(config: RunConfig) -> RunConfig:
    """The same configuration with every port 0 replaced by a free one, no two alike."""
    with ExitStack() as stack:
        for section_name, field in PORTS:
            section = getattr(config, section_name)
            if getattr(section, field) != 0:
                continue
            # All are held until the last is chosen, so that none is chosen twice.
            holder = stack.enter_context(socket.socket())
            holder.bind((section.host, 0))
            chosen = section.model_copy(update={field: holder.getsockname()[1]})
            config = config.model_copy(update={section_name: chosen})
    return config


class StageClock:
    """Seconds per stage, kept in the run folder and summed over resumes."""

    def __init__(self, folder: RunDirectory) -> None:
        self._file = folder.path / "stages.json"
        self.seconds: dict[str, float] = json.loads(self._file.read_text()) if self._file.exists() else {}

    @contextmanager
    def measure(self, stage: str) -> Iterator[None]:
        """Add the duration of the body to the stage, also when it fails: that time was spent."""
        began = time.monotonic()
        try:
            yield
        finally:
            self.seconds[stage] = self.seconds.get(stage, 0.0) + time.monotonic() - began
            write_json(self._file, self.seconds)
