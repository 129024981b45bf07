"""`pronghorn plan`: how fast the system would be, and how stale, before anything is bought or started."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from common.errors import PreflightError
from common.run_directory import write_json
from launch.plan.arguments import SWEPT
from launch.plan.calibration import plan_from
from launch.plan.report import as_json, print_plan
from launch.plan.settings import results, settings_of

MAX_STEPS = 300
"""Simulated without being asked for more."""


def main(options: argparse.Namespace, overrides: Sequence[str]) -> int:
    """Calibrate, simulate every combination of what was swept, and print; the exit code."""
    if options.json is not None and options.json.is_dir():
        raise PreflightError(f"--json {options.json}: a folder; allowed is a file")
    plan = plan_from(options.sources, overrides)
    steps = options.steps or max(1, min(plan.config.learner.steps, MAX_STEPS))
    settings = settings_of(plan, {name: getattr(options, name) for name in SWEPT})
    found = results(plan, settings, steps=steps)
    print_plan(plan, found, steps=steps)
    if options.json is not None:
        _write(options.json, as_json(plan, found, steps=steps))
    return 0


def _write(path: Path, values: dict[str, Any]) -> None:
    try:
        write_json(path, values)
    except OSError as error:
        raise PreflightError(f"--json {path}: {error.strerror}") from None
