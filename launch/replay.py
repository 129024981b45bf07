"""`pronghorn replay RUN`: does a fresh learner, fed the recorded batches, reach the recorded numbers?

The learner's part is `learner/replay.py`; here it is started as the run's own was, on as many ranks, and what
it found is told.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from common.config import load
from common.errors import ConfigurationError, PreflightError
from common.run_directory import RunDirectory, write_json
from launch.config import RunConfig
from launch.roles import trainer_arguments


def main(options: argparse.Namespace, overrides: Sequence[str]) -> int:
    """Replay and tell; 0 when every statistic of every step is the recorded one, else 1."""
    run = RunDirectory(options.run.resolve())
    if not run.config.exists():
        raise ConfigurationError(f"{options.run}: not a run (no config.toml)")
    first, last = steps_of(options.steps)
    config = load(RunConfig, [run.config], overrides)
    with tempfile.TemporaryDirectory() as scratch:
        report_file = Path(scratch) / "report.json"
        settings = [f"--replay.first={first}", f"--replay.last={last}", f"--replay.report={report_file}"]
        _replay(config, run, [*overrides, *settings])
        report = json.loads(report_file.read_text())
    if options.json is not None:
        write_json(options.json, report)
    for line in told(report):
        print(line)
    return 0 if is_identical(report) else 1


def steps_of(text: str) -> tuple[int, int]:
    """First and last of `A:B`, `A:`, `:B` or `A`; a last of 0 is the last recorded one."""
    a, colon, b = text.partition(":")
    try:
        first = int(a) if a else 1
        last = int(b) if b else (0 if colon or not a else first)
    except ValueError:
        first, last = 0, 0
    if first < 1 or last < 0 or 0 < last < first:
        raise ConfigurationError(f"--steps={text}: allowed are A:B, A:, :B and A with 1 <= A <= B")
    return first, last


def _replay(config: RunConfig, run: RunDirectory, settings: list[str]) -> None:
    """Run all ranks to their end on this machine; PreflightError with what they said when they fail."""
    learner = config.learner
    ranks = [f"--learner.num_ranks={learner.world_size}", "--learner.num_hosts=1", "--learner.rendezvous="]
    where = [f"--run.directory={run.path.parent}", f"--run.name={run.path.name}"]
    python = trainer_arguments("learner.replay", learner.world_size, config.supervision.learner_stop_s)
    done = subprocess.run(
        [sys.executable, *python, str(run.config), *where, *ranks, *settings],
        env=os.environ | {"OMP_NUM_THREADS": str(learner.num_threads)},
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    if done.returncode:
        lines = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        own = [line for line in lines if line.startswith("pronghorn replay: ")]
        raise PreflightError((own or lines)[-1].removeprefix("pronghorn replay: "))


def is_identical(report: dict[str, Any]) -> bool:
    """Whether something was compared and nothing differed."""
    return bool(report["steps"]) and not any(step["differences"] for step in report["steps"])


def told(report: dict[str, Any]) -> list[str]:
    """The result for a person."""
    steps = report["steps"]
    differing = [step for step in steps if step["differences"]]
    lines = [
        f"{len(steps) - len(differing)} of {len(steps)} steps identical in all of "
        f"{steps[0]['num_compared']} statistics, begun with {report['began_with']}"
    ]
    if differing:
        first = differing[0]["differences"][0]
        lines.append(
            f"first difference: step {differing[0]['step']}, {first['name']}: {first['recorded']!r} "
            f"recorded, {first['replayed']!r} replayed; largest relative difference "
            f"{float(report['largest_relative_difference']):.3g}"
        )
    lines += [f"not as it was: {phrase}" for phrase in report["differing_conditions"]]
    if report["differing_conditions"]:
        lines.append(
            "under other conditions sums are rounded otherwise: equality bit for bit is not to be had"
        )
    if not report["is_known_under_which_conditions"]:
        lines.append("the run did not record under which conditions it computed")
    if report["conditions"]["device"] != "cpu":
        lines.append("a GPU adds in no fixed order: the largest relative difference is what counts here")
    return lines
