"""What each host of a run is told: the run's configuration with its own folder, addresses, ports and keys."""

import socket
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from common.config import validate
from common.errors import ConfigurationError, PreflightError
from launch.config import RunConfig
from launch.hosts.placement import Host, Placement

BUS_PORTS = ("ledger_port", "policy_port", "weights_port")


@dataclass
class Network:
    """Where everything listens; ports by (host, what)."""

    addresses: dict[str, str] = field(default_factory=dict)
    ports: dict[tuple[str, str], int] = field(default_factory=dict)

    def url(self, host: Host) -> str:
        """Of the hub on a host."""
        address = self.addresses[host.name]
        shown = f"[{address}]" if ":" in address else address
        return f"http://{shown}:{self.ports[host.name, 'hub']}"

    def endpoint(self, host: Host, what: str) -> str:
        """`ADDRESS:PORT`."""
        address = self.addresses[host.name]
        return f"{f'[{address}]' if ':' in address else address}:{self.ports[host.name, what]}"


def resolved_address(host: Host, *, is_alone: bool) -> str:
    """Where others reach a host; PreflightError when that is unknown or is the loopback interface."""
    name = host.address or ("127.0.0.1" if host.target == "localhost" else host.target.rpartition("@")[2])
    try:
        address = str(socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)[0][4][0])
    except OSError as error:
        raise PreflightError(
            f"{host.name}: no address is known ({error.strerror}); give address=IP in the hosts file"
        ) from None
    if not is_alone and (address.startswith("127.") or address == "::1"):
        raise PreflightError(
            f"{host.name}: its address is {address}, which no other host reaches; give address=IP"
        )
    return address


def wanted_ports(config: RunConfig, placement: Placement, host: Host) -> dict[str, int]:
    """What listens on a host, with the port that the configuration fixes; 0: any that is free there."""
    ports: dict[str, int] = {}
    if host == placement.lead:
        ports |= {name: getattr(config.bus, name) for name in BUS_PORTS}
        if len(placement.having("learner")) > 1:
            given = config.learner.rendezvous
            ports["rendezvous"] = config.learner.rendezvous_address[1] if given else 0
    if "hub" in host.roles:
        ports["hub"] = config.hub.port
    if "relay" in host.roles:
        ports["relay"] = config.relay.port
    return ports


def peers(placement: Placement, host: Host) -> list[tuple[Host, str]]:
    """What a host connects to: (host, what)."""
    lead, found = placement.lead, []
    if {"actors", "relay"} & host.roles:
        found += [(lead, port) for port in BUS_PORTS]
    if "actors" in host.roles or host == lead:
        found += [(hub, "hub") for hub in placement.having("hub")]
    if "relay" in host.roles and (parent := placement.parent(host)):
        found.append((parent, "relay"))
    if "learner" in host.roles and host != lead:
        found.append((lead, "rendezvous"))
    return found


def refuse_impossible(config: RunConfig, placement: Placement) -> None:
    """ConfigurationError for settings that the placement decides otherwise."""
    learners = placement.having("learner")
    if config.learner.num_hosts not in (1, len(learners)):
        raise ConfigurationError(
            f"learner.num_hosts = {config.learner.num_hosts}: the hosts have {len(learners)} with a learner; "
            "leave it out"
        )


def host_config(
    config: RunConfig, placement: Placement, network: Network, host: Host, directory: str
) -> RunConfig:
    """The configuration that the roles of one host read."""
    lead = placement.lead
    hub = host if "hub" in host.roles else placement.having("hub")[0]
    values: dict[str, Any] = config.model_dump()
    values["run"]["directory"] = directory
    keys = Path(directory) / config.run.name / "keys"
    values["bus"] |= {name: network.ports[lead.name, name] for name in BUS_PORTS}
    values["bus"] |= {"host": network.addresses[lead.name], "keys": str(keys / "hosts" / host.name)}
    values["hub"] |= {
        "host": network.addresses[hub.name],
        "port": network.ports[hub.name, "hub"],
        "urls": tuple(network.url(each) for each in placement.having("hub")),
    }
    if len(learners := placement.having("learner")) > 1:
        values["learner"] |= {"num_hosts": len(learners), "rendezvous": network.endpoint(lead, "rendezvous")}
    if host.num_actors:
        values["actor"]["num_actors"] = host.num_actors
    if "relay" in host.roles:
        parent = placement.parent(host)
        values["relay"] |= {
            "host": network.addresses[host.name],
            "port": network.ports[host.name, "relay"],
            "parent": f"{parent.name}@{network.endpoint(parent, 'relay')}" if parent else "",
        }
    return validate(RunConfig, values)


def learner_keys(config: RunConfig) -> str:
    """The override with which the learner's rank 0 uses the learner's own keys."""
    return f"--bus.keys={Path(config.run.directory) / config.run.name / 'keys' / 'learner'}"
