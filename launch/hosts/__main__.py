"""`python -m launch.hosts [HOSTS] CONFIG.toml ... [--section.field=value ...]`: what multinode.sh becomes."""

import argparse
import asyncio
import os
import secrets
import sys
from collections.abc import Sequence
from pathlib import Path

from common.aio import first_leaf
from common.config import load
from common.errors import ConfigurationError, PronghornError
from common.log import configure_logging
from common.role import INTERRUPTED
from common.run_directory import RunDirectory
from envhub.config import TOKEN_VARIABLE
from launch.cli import split_overrides
from launch.config import RunConfig
from launch.hosts.coordinator import Coordinator
from launch.hosts.joining import hosts_file, join
from launch.hosts.placement import Placement, hosts_text, read_hosts, slurm_hosts
from launch.hosts.settings import refuse_impossible
from launch.pipeline import until_signal
from launch.report import report
from launch.run_folder import absolute, keep_config, locked
from launch.view import View


def main(arguments: Sequence[str] | None = None) -> int:
    """Run, or join a run; the exit code."""
    files, overrides = split_overrides(sys.argv[1:] if arguments is None else arguments)
    parser = argparse.ArgumentParser(prog="multinode.sh", description=__doc__)
    parser.add_argument(
        "--join", metavar="HOST", help="a line of a hosts file; CONFIG is then the run folder"
    )
    parser.add_argument("given", nargs="+", metavar="[HOSTS] CONFIG.toml")
    options = parser.parse_args(files)
    try:
        if options.join:
            if more := [*options.given[1:], *overrides]:
                raise ConfigurationError(f"{more[0]}: --join takes one host and one run folder")
            join(options.join, RunDirectory(Path(options.given[0])))
            return 0
        is_slurm = options.given[0].endswith(".toml")
        names = slurm_hosts() if is_slurm else options.given.pop(0)
        return run(
            load(RunConfig, [Path(file) for file in options.given], overrides), names, is_slurm=is_slurm
        )
    except (PronghornError, BaseExceptionGroup) as error:
        told = first_leaf(error)
        if not isinstance(told, PronghornError):
            raise
        sys.stderr.write(f"pronghorn: {told}\n")
        return told.exit_code


def run(config: RunConfig, hosts: str, *, is_slurm: bool) -> int:
    """Train over `hosts`; the exit code, `INTERRUPTED` when it was stopped before the end."""
    placement = read_hosts(hosts)
    refuse_impossible(config, placement)
    config = absolute(config)
    folder = config.run.folder
    with locked(folder):
        keep_config(config)
        _keep_hosts(folder, hosts)
        configure_logging("launch", folder.logs / "launch.log")
        finished = asyncio.run(
            until_signal(config, lambda _, view: _train(config, placement, view, is_slurm))
        )
    if not finished:
        print(f"pronghorn: stopped; the same command resumes {folder.path}")
        return INTERRUPTED
    report(config)
    return 0


async def _train(config: RunConfig, placement: Placement, view: View, is_slurm: bool) -> None:
    token = os.environ.get(TOKEN_VARIABLE) or secrets.token_urlsafe(32)
    await Coordinator(config, placement, token, view, is_slurm=is_slurm).run()


def _keep_hosts(folder: RunDirectory, hosts: str) -> None:
    """The placement of this start, which hosts may be added to."""
    file = hosts_file(folder.path)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(hosts_text(hosts).rstrip() + "\n")


if __name__ == "__main__":
    sys.exit(main())
