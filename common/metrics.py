"""Curves: one line of `metrics.jsonl` per learner step or evaluation, and the same to wandb.

Names and what they mean stand in `common/metric_names.py`.
"""

import json
import logging
import math
import os
import time
import uuid
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, Literal

from common.errors import PreflightError
from common.run_directory import RunDirectory

log = logging.getLogger(__name__)

WandbMode = Literal["auto", "online", "offline", "off"]

STEP = "learner_step"
"""The x axis in wandb: a step of its own, because wandb's never goes back and a resumed learner does."""


class MetricsWriter:
    """Appends metrics to the run's file and to wandb; opened again in the same run it continues both.

    `metrics.jsonl` is complete up to the last `write` whatever happens to the process. wandb is a copy:
    its absence or failure is logged and never stops a run.
    """

    def __init__(
        self, run: RunDirectory, *, wandb_mode: WandbMode, project: str, name: str, config: Mapping[str, Any]
    ) -> None:
        run.path.mkdir(parents=True, exist_ok=True)
        _end_torn_line(run.metrics)
        self._path = run.metrics
        # Unbuffered: what a full disk refused is not tried again when the file is closed.
        self._file = run.metrics.open("ab", buffering=0)
        self._wandb = _open_wandb(run, effective_mode(wandb_mode), project, name, dict(config))

    def write(self, values: Mapping[str, float], step: int) -> None:
        """Record `values` under their metric names at a learner step; what is not finite becomes null.

        Raises PreflightError when the disk refuses: curves with holes would be silent.
        """
        finite = {name: float(value) if math.isfinite(value) else None for name, value in values.items()}
        self._append(json.dumps({"step": step, "time": time.time(), **finite}).encode() + b"\n")
        if self._wandb is not None:
            self._wandb.log({STEP: step, **finite})

    def _append(self, line: bytes) -> None:
        try:
            while line:
                line = line[self._file.write(line) :]
        except OSError as error:
            raise PreflightError(f"{self._path}: the metrics cannot be written: {error.strerror}") from error

    def close(self) -> None:
        """Flush both; nothing may be written afterwards."""
        self._file.close()
        if self._wandb is not None:
            self._wandb.finish()
            self._wandb = None


def effective_mode(mode: WandbMode) -> WandbMode:
    """What `auto` means here: online with a key in the environment, offline without."""
    if mode != "auto":
        return mode
    return "online" if os.environ.get("WANDB_API_KEY") else "offline"


def read_metrics(file: Path) -> list[dict[str, Any]]:
    """Every complete line of a metrics file, oldest first; [] when there is none yet.

    After a resume a step can occur twice: the later line is what happened.
    """
    if not file.exists():
        return []
    rows = []
    for line in file.read_text().splitlines():
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError:
            continue  # torn by a crash, or still being written
    return rows


def _end_torn_line(file: Path) -> None:
    """A crash may have cut the last line; the next one must not continue it."""
    if file.exists() and (content := file.read_bytes()) and not content.endswith(b"\n"):
        with file.open("ab") as tail:
            tail.write(b"\n")


def _open_wandb(run: RunDirectory, mode: WandbMode, project: str, name: str, config: dict[str, Any]) -> Any:
    """A wandb run inside the run directory, or None when it is off or cannot be had."""
    if mode == "off":
        return None
    # Otherwise it prints an advertisement as soon as vLLM's dependencies are imported, silent or not.
    os.environ.setdefault("WANDB_DISABLE_WEAVE", "true")
    _leave_inherited_service()
    import wandb  # a second of import time that only the process with the curves pays
    from wandb.sdk.mailbox.mailbox_handle import ServerResponseError

    settings = wandb.Settings(
        silent=True, console="off", disable_git=True, x_disable_stats=True, init_timeout=60
    )
    try:
        opened = wandb.init(
            project=project,
            name=name,
            config=config,
            mode="online" if mode == "online" else "offline",
            dir=str(run.path),
            id=_wandb_id(run),
            resume="allow",
            settings=settings,
        )
    except (wandb.errors.Error, ServerResponseError, OSError) as error:
        log.warning("wandb could not be opened, metrics.jsonl alone keeps the curves: reason=%s", error)
        return None
    opened.define_metric("*", step_metric=STEP)
    return opened


@cache
def _leave_inherited_service() -> None:
    """Once: the service of another process would still hold the run of a learner that was killed."""
    os.environ.pop("WANDB_SERVICE", None)


def _wandb_id(run: RunDirectory) -> str:
    """The run's identity in wandb: made once, kept in the run directory."""
    file = run.path / "wandb_id"
    if not file.exists():
        file.write_text(uuid.uuid4().hex[:12] + "\n")
    return file.read_text().strip()
