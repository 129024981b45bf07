"""Which address and which interface this host reaches another with: where names of hosts do not resolve."""

import socket

import psutil

from common.errors import PreflightError


def resolve(host: str, setting: str) -> str:
    """`host` as a numeric address; PreflightError, naming the setting, when it has none."""
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except OSError as error:
        raise PreflightError(f"{setting} = {host!r}: no such host: {error.strerror}") from None
    return str(found[0][4][0])


def own_address(towards: str, setting: str) -> str:
    """The address of this host that packets to `towards` leave from; its own when `towards` is this host.

    Sends nothing. PreflightError, naming the setting, when there is no such host or no way to it.
    """
    address = resolve(towards, setting)
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((address, 9))
        except OSError as error:
            raise PreflightError(f"{setting} = {towards!r}: no way there: {error.strerror}") from None
        return str(probe.getsockname()[0])


def interface_of(address: str) -> str | None:
    """The name of the network interface that has this address; None when none has."""
    for name, addresses in psutil.net_if_addrs().items():
        if any(entry.address.partition("%")[0] == address for entry in addresses):
            return str(name)
    return None
