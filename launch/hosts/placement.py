"""Who plays which part: the hosts file, a plain list of names, or the nodes of a Slurm allocation.

    # NAME [address=IP] [roles=ROLE,...] [ssh=USER@HOST] [root=PATH] [directory=PATH] [python=PATH]
    node1  address=10.0.0.1  roles=learner,hub
    node2  address=10.0.0.2  roles=learner,actors:4,relay
    node3

A line without roles gets those of a plain list: the first host has learner, hub and actors, every other one
actors and a relay. The first host with a learner leads: bus, ledger and checkpoints are there.
"""

import os
import subprocess
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from common.bus.keys import LEARNER, NAME_PATTERN
from common.errors import ConfigurationError, PreflightError

ROLES = ("learner", "hub", "actors", "relay")
FAN_OUT = 4
"""So many relays fetch from the learner, and so many from each relay."""


@dataclass(frozen=True)
class Host:
    """One line of a hosts file."""

    name: str
    roles: frozenset[str] = frozenset()
    num_actors: int = 0
    """0: as many as `actor.num_actors` says, where `actors` is among the roles."""
    address: str = ""
    """Where the others reach it; empty: what the name resolves to."""
    ssh: str = ""
    """What ssh is given; empty: the name."""
    root: str = ""
    """The checkout there; empty: the same path as here."""
    directory: str = ""
    """Replaces `run.directory` there."""
    python: str = ""
    """The interpreter there; empty: the one of the checkout."""

    @property
    def target(self) -> str:
        """What ssh is given."""
        return self.ssh or self.name


@dataclass(frozen=True)
class Placement:
    """All hosts of a run, in the order of the file."""

    hosts: tuple[Host, ...]

    @property
    def lead(self) -> Host:
        """Where the learner's rank 0 is."""
        return self.having("learner")[0]

    def having(self, role: str) -> tuple[Host, ...]:
        """The hosts with a role."""
        return tuple(host for host in self.hosts if role in host.roles)

    def parent(self, host: Host) -> Host | None:
        """The relay that a host's relay fetches from; None: the learner itself."""
        relays = self.having("relay")
        index = relays.index(host) // FAN_OUT
        return relays[index - 1] if index else None


def read_hosts(given: str) -> Placement:
    """A hosts file, or names separated by blanks; ConfigurationError names the line."""
    return parse_hosts(hosts_text(given), given if os.path.isfile(given) else "hosts")


def hosts_text(given: str) -> str:
    """The lines of a hosts file; of names separated by blanks, which may be many, one line each."""
    return Path(given).read_text() if os.path.isfile(given) else "\n".join(given.split())


def parse_hosts(text: str, source: str) -> Placement:
    """The placement that `text` describes; ConfigurationError with `source` and line where it is wrong."""
    hosts: list[Host] = []
    for number, line in enumerate(text.splitlines(), start=1):
        words = line.partition("#")[0].split()
        if words:
            host = _parse_line(words, f"{source}:{number}")
            if any(other.name == host.name for other in hosts):
                raise ConfigurationError(f"{source}:{number}: {host.name!r} is there twice")
            hosts.append(host if host.roles else _with_default_roles(host, is_first=not hosts))
    placement = Placement(tuple(hosts))
    for role in ROLES[:3]:
        if not placement.having(role):
            raise ConfigurationError(f"{source}: no host has the role {role!r}; give one roles={role}")
    if "relay" in placement.lead.roles:
        raise ConfigurationError(f"{source}: {placement.lead.name} leads the learner and needs no relay")
    return placement


def _with_default_roles(host: Host, *, is_first: bool) -> Host:
    roles = ("learner", "hub", "actors") if is_first else ("actors", "relay")
    return replace(host, roles=frozenset(roles))


def _parse_line(words: list[str], where: str) -> Host:
    name, *settings = words
    if not NAME_PATTERN.fullmatch(name) or name == LEARNER:
        raise ConfigurationError(
            f"{where}: {name!r} is no name of a host; allowed are letters, digits and ._-, at most 63, "
            f"and not {LEARNER!r}"
        )
    host = Host(name)
    for setting in settings:
        key, equals, value = setting.partition("=")
        if key == "roles" and value:
            host = _with_roles(host, value, where)
        elif equals and value and key in ("address", "ssh", "root", "directory", "python"):
            settings_of_text: dict[str, Any] = {key: value}
            host = replace(host, **settings_of_text)
        else:
            raise ConfigurationError(
                f"{where}: {setting!r}: allowed are address=, roles=, ssh=, root=, directory= and python="
            )
    if host.target.startswith("-"):
        raise ConfigurationError(f"{where}: ssh={host.ssh!r} begins with a dash")
    return host


def _with_roles(host: Host, text: str, where: str) -> Host:
    roles, num_actors = set(), 0
    for part in text.split(","):
        role, colon, number = part.partition(":")
        is_count = role == "actors" and number.isdecimal() and int(number) > 0
        if role not in ROLES or (colon and not is_count):
            raise ConfigurationError(
                f"{where}: roles={text}: {part!r}; allowed are learner, hub, actors, actors:NUMBER and relay"
            )
        roles.add(role)
        num_actors = int(number) if colon else num_actors
    return replace(host, roles=frozenset(roles), num_actors=num_actors)


def slurm_hosts() -> str:
    """The nodes of the allocation that this process is in; PreflightError outside of one."""
    nodes = os.environ.get("SLURM_JOB_NODELIST", "")
    if not os.environ.get("SLURM_JOB_ID") or not nodes:
        raise PreflightError("no hosts were given, and this is no Slurm allocation (SLURM_JOB_ID is not set)")
    try:
        told = subprocess.run(
            ["scontrol", "show", "hostnames", nodes], check=True, capture_output=True, text=True, timeout=60
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise PreflightError(f"scontrol show hostnames {nodes}: {error}") from None
    return " ".join(told.stdout.split())
