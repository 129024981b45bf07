"""Hosts made of network namespaces: each with an address of its own on one bridge, cut off from all else.

with Hosts.made(3) as hosts:
    subprocess.run([*hosts.within("h1"), "ping", hosts.address("h2")])
    with hosts.cut("h2"): ...
"""

import os
import secrets
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import lru_cache


@lru_cache
def why_not() -> str:
    """Why namespaces cannot be made here; empty when they can."""
    missing = [program for program in ("ip", "unshare", "ssh") if shutil.which(program) is None]
    if missing:
        return f"the program {missing[0]} is not installed (iproute2, util-linux, openssh-client)"
    if os.geteuid() != 0:
        return "only root makes network namespaces"
    try:
        name = f"pg{secrets.token_hex(3)}"
        ip("netns", "add", name)
        ip("netns", "del", name)
        return ""
    except subprocess.CalledProcessError as error:
        return f"network namespaces are not allowed here: {error.stderr.strip()}"


@dataclass(frozen=True)
class Hosts:
    """Namespaces `TAG-h1`, `TAG-h2`, ... on the bridge `TAG`, where this machine has the address .254."""

    tag: str
    network: str
    """The first three numbers of all addresses."""
    names: tuple[str, ...]

    @classmethod
    @contextmanager
    def made(cls, number: int) -> "Iterator[Hosts]":
        """Make them; whatever happens, nothing of them is left afterwards, processes included."""
        names = tuple(f"h{index}" for index in range(1, number + 1))
        hosts = cls(f"pg{secrets.token_hex(3)}", f"10.213.{secrets.randbelow(256)}", names)
        try:
            ip("link", "add", hosts.tag, "type", "bridge")
            ip("addr", "add", f"{hosts.network}.254/24", "dev", hosts.tag)
            ip("link", "set", hosts.tag, "up")
            for name in hosts.names:
                hosts._add(name)
            yield hosts
        finally:
            hosts._remove()

    def namespace(self, name: str) -> str:
        """What `ip netns` calls it."""
        return f"{self.tag}-{name}"

    def address(self, name: str) -> str:
        """Its address, which all others reach."""
        return f"{self.network}.{self.names.index(name) + 1}"

    def within(self, name: str) -> list[str]:
        """What goes before a command that is to run there."""
        return ["ip", "netns", "exec", self.namespace(name)]

    @contextmanager
    def cut(self, name: str) -> Iterator[None]:
        """Its cable is pulled for as long as the body runs."""
        ip("link", "set", self._port(name), "down")
        try:
            yield
        finally:
            ip("link", "set", self._port(name), "up")

    def processes(self, name: str) -> list[int]:
        """The ids of all processes that live there."""
        found = run("ip", "netns", "pids", self.namespace(name))
        return [int(line) for line in found.split()]

    def _port(self, name: str) -> str:
        """The bridge's end of the cable; at most 15 characters."""
        return f"{self.tag}{name}"

    def _add(self, name: str) -> None:
        space = self.namespace(name)
        ip("netns", "add", space)
        ip("link", "add", self._port(name), "type", "veth", "peer", "name", "eth0", "netns", space)
        ip("link", "set", self._port(name), "master", self.tag, "up")
        ip("-n", space, "addr", "add", f"{self.address(name)}/24", "dev", "eth0")
        ip("-n", space, "link", "set", "lo", "up")
        ip("-n", space, "link", "set", "eth0", "up")

    def _remove(self) -> None:
        for name in self.names:
            with suppress(subprocess.CalledProcessError):
                for pid in self.processes(name):
                    with suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
                ip("netns", "del", self.namespace(name))
            with suppress(subprocess.CalledProcessError):
                ip("link", "del", self._port(name))
        with suppress(subprocess.CalledProcessError):
            ip("link", "del", self.tag)


def ip(*arguments: str) -> str:
    """What `ip` says; CalledProcessError when it fails."""
    return run("ip", *arguments)


def run(*command: str) -> str:
    """What a command says; CalledProcessError when it fails."""
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=20).stdout
