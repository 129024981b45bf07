"""Hosts that join a run which goes on: lines that its own hosts file, `RUN/hosts/hosts`, gains.

A line that is taken out changes nothing before the next start, which writes the file anew from the hosts that
its command names.
"""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

from common.errors import ConfigurationError, PreflightError, PronghornError
from common.run_directory import RunDirectory
from launch.hosts.placement import Host, Placement, parse_hosts

LOOK_S = 1.0


def hosts_file(folder: Path) -> Path:
    """The placement of a run, as it goes on."""
    return folder / "hosts" / "hosts"


def join(line: str, folder: RunDirectory) -> None:
    """Add one line to the hosts of a run; ConfigurationError when it is wrong, PreflightError without one."""
    file = hosts_file(folder.path)
    if not file.exists():
        raise PreflightError(f"{folder.path}: no run over several hosts; launch/multinode.sh starts one")
    text = f"{file.read_text().rstrip()}\n{line.strip()}\n"
    refuse_learner(parse_hosts(text, str(file)).hosts[-1])
    temporary = file.with_suffix(".tmp")
    temporary.write_text(text)
    temporary.replace(file)


def refuse_learner(host: Host) -> None:
    """ConfigurationError when a host cannot join while the learner runs."""
    if {"learner", "hub"} & host.roles:
        raise ConfigurationError(
            f"{host.name}: roles={','.join(sorted(host.roles))}: only actors and relay may join a run that "
            "goes on, the others at its next start"
        )


async def follow_hosts(
    folder: Path,
    placement: Placement,
    take_in: Callable[[Host], Awaitable[None]],
    notice: Callable[[str], None],
) -> None:
    """Endless: take in every host that the run's hosts file gains; what cannot be done is told once."""
    file = hosts_file(folder)
    known, seen = {host.name for host in placement.hosts}, file.stat().st_mtime_ns
    while True:
        await asyncio.sleep(LOOK_S)
        if not file.exists() or (now := file.stat().st_mtime_ns) == seen:
            continue
        seen = now
        try:
            hosts = parse_hosts(file.read_text(), str(file)).hosts
            if gone := sorted(known - {host.name for host in hosts}):
                notice(f"{file}: {', '.join(gone)} stays until the run is started again without it")
            for host in hosts:
                if host.name not in known:
                    refuse_learner(host)
                    await take_in(host)
                    known.add(host.name)
                    notice(f"{host.name} joins")
        except PronghornError as error:
            notice(str(error))
