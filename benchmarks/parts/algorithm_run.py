"""One run of `benchmarks/algorithms.py` in a process of its own, on one core: `pronghorn local`, perhaps with
its staleness forced."""

import argparse
import os
import sys
from functools import partial
from pathlib import Path

from benchmarks.parts.algorithm_dispatcher import FullQueueDispatcher
from common.config import load
from common.errors import PronghornError
from launch.cli import split_overrides
from launch.config import RunConfig
from launch.local import run_in_one_loop
from launch.pipeline import conduct
from learner.dispatcher import Dispatcher


def main(arguments: list[str]) -> int:
    """Run to the end, or on from where the run folder is; the exit code."""
    ordinary, overrides = split_overrides(arguments)
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("config", type=Path)
    parser.add_argument("--core", type=int, required=True, help="this process and its children keep to it")
    parser.add_argument("--forced", action="store_true", help="tokens are as old as max_staleness allows")
    options = parser.parse_args(ordinary)
    os.sched_setaffinity(0, {options.core})
    dispatcher = FullQueueDispatcher if options.forced else Dispatcher
    try:
        config = load(RunConfig, [options.config], overrides)
        return conduct(config, partial(run_in_one_loop, dispatcher=dispatcher))
    except PronghornError as error:
        print(f"pronghorn: {error}", file=sys.stderr)
        return error.exit_code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
