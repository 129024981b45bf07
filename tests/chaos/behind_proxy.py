"""`pronghorn run`, but its actors find the learner at other ports: where the bad network listens.

python -m tests.chaos.behind_proxy CONFIG.toml [--section.field=value ...] \\
    --actors=bus.ledger_port=1,bus.policy_port=2,bus.weights_port=3
"""

import argparse
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

from common.config import load
from common.errors import PronghornError
from launch.config import RunConfig
from launch.pipeline import ProcessWork, conduct, run_in_processes
from launch.processes import Command
from launch.supervise import Supervisor


class Rerouted(ProcessWork):
    """Work whose actors are told something else than the learner."""

    def __init__(self, config: RunConfig, supervisor: Supervisor, *, settings: tuple[str, ...]) -> None:
        super().__init__(config, supervisor)
        self._settings = settings

    def actors(self) -> list[Command]:
        """As usual, with the settings behind."""
        return [replace(a, arguments=(*a.arguments, *self._settings)) for a in super().actors()]


def main() -> int:
    """As `pronghorn run`; the exit code."""
    parser = argparse.ArgumentParser()
    parser.add_argument("config", nargs="+", type=Path)
    parser.add_argument("--actors", required=True)
    options, overrides = parser.parse_known_args()
    settings = tuple(f"--{setting}" for setting in options.actors.split(","))
    try:
        config = load(RunConfig, options.config, overrides)
        return conduct(config, partial(run_in_processes, work_of=partial(Rerouted, settings=settings)))
    except PronghornError as error:
        print(f"pronghorn: {error}", file=sys.stderr)  # noqa: T201
        return error.exit_code


if __name__ == "__main__":
    sys.exit(main())
