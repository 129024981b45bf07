"""A run over hosts that are network namespaces, begun as a person begins it: multinode.sh, ssh, a hosts file.

Each host has an ssh server, an address, a name and a /dev/shm of its own; the coordinator is on none of them
and reaches them over the same cables that its commands travel on, so that a cut link cuts everything.
"""

import os
import queue
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import asyncssh
import psutil

from common.run_directory import RunDirectory
from launch.hosts.joining import join
from learner.checkpoint import CheckpointStore
from learner.checkpoint_manifest import read_manifest
from tests.multinode.namespaces import Hosts
from tests.multinode.sshd import READY

ROOT = Path(__file__).parents[2]
DEADLINE_S = float(os.environ.get("PRONGHORN_MULTINODE_S", "240"))

HOST = """
hostname "$1"
mount -t tmpfs tmpfs /dev/shm
mount --bind "$4/resolv.conf" /etc/resolv.conf
exec "$2" -m tests.multinode.sshd "$3" "$4"
"""
SSH_CONFIG = """
Host *
    User somebody
    IdentityFile {folder}/id
    IdentitiesOnly yes
    UserKnownHostsFile {folder}/known_hosts
    StrictHostKeyChecking yes
    BatchMode yes
    ConnectTimeout 10
    LogLevel ERROR
"""
TINY = """
[run]
name = "tiny"
[tasks]
environment = "guess_number"
action_format = "plain"
[sampling]
max_action_tokens = 8
max_episode_tokens = 256
[model]
source = "small"
[sft]
num_demonstrations = 0
[evaluation]
num_tasks = 0
[learner.staleness]
max_staleness = 1
[supervision]
host_silence_s = 6.0
backoff_s = 0.2
"""


class World:
    """Hosts with ssh, and the folder where their files are: `FOLDER/NAME`; `h1` leads."""

    def __init__(self, folder: Path, hosts: Hosts) -> None:
        self.folder = folder
        self.hosts = hosts
        self._servers: dict[str, subprocess.Popen[str]] = {}

    @classmethod
    @contextmanager
    def made(cls, folder: Path, number: int) -> "Iterator[World]":
        """Make them; nothing is left afterwards."""
        folder.mkdir(parents=True, exist_ok=True)
        key = asyncssh.generate_private_key("ssh-ed25519")
        (folder / "id").touch(0o600)
        key.write_private_key(str(folder / "id"))
        key.write_public_key(str(folder / "id.pub"))
        (folder / "resolv.conf").touch()  # no name resolves, and nobody waits long to learn that
        with Hosts.made(number) as hosts, ExitStack() as stack:
            world = cls(folder, hosts)
            known, config = [], [SSH_CONFIG.format(folder=folder)]
            for name in hosts.names:
                server = stack.enter_context(world._server(name))
                assert server.stdout
                word, _, public = server.stdout.readline().strip().partition(" ")
                assert word == READY, f"{name}: no ssh server"
                known.append(f"{hosts.address(name)} {public}\n")
                config.append(f"Host {name}\n    HostName {hosts.address(name)}\n")
            (folder / "known_hosts").write_text("".join(known))
            (folder / "ssh_config").write_text("".join(config[1:] + config[:1]))
            yield world

    @contextmanager
    def _server(self, name: str) -> "Iterator[subprocess.Popen[str]]":
        arguments = [self.hosts.namespace(name), sys.executable, self.hosts.address(name), str(self.folder)]
        command = [
            *self.hosts.within(name),
            "unshare",
            "--mount",
            "--uts",
            "sh",
            "-c",
            HOST,
            "sh",
            *arguments,
        ]
        server = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
        self._servers[name] = server
        try:
            yield server
        finally:
            server.kill()
            server.communicate()

    def line(self, name: str, roles: str, directory: str = "") -> str:
        """Of a hosts file."""
        directory = directory or str(self.folder / name)
        return f"{name} address={self.hosts.address(name)} roles={roles} directory={directory}"

    @contextmanager
    def run(self, lines: Sequence[str], *settings: str) -> "Iterator[Run]":
        """`multinode.sh` with these hosts; killed at the end if it is still there."""
        (self.folder / "hosts").write_text("\n".join(lines))
        (self.folder / "world.toml").write_text(TINY)
        files = [self.folder / "hosts", ROOT / "tests" / "tiny.toml", self.folder / "world.toml"]
        command = [str(ROOT / "launch" / "multinode.sh"), *map(str, files)]
        command += [f"--run.directory={self.folder / 'main'}", *settings]
        ssh = f"ssh -F {self.folder / 'ssh_config'}"
        environment = os.environ | {"PRONGHORN_SSH": ssh, "OMP_NUM_THREADS": "1", "COLUMNS": "1000"}
        process = subprocess.Popen(
            command, cwd=ROOT, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        run = Run(process)
        try:
            yield run
        finally:
            if process.poll() is None:
                process.kill()
            run.rest()

    @property
    def here(self) -> RunDirectory:
        """The run as the coordinator has it."""
        return RunDirectory(self.folder / "main" / "tiny")

    @property
    def led(self) -> RunDirectory:
        """The run on the learner's first host, with ledger and checkpoints."""
        return RunDirectory(self.folder / "h1" / "tiny")

    def played(self, since: float = 0.0) -> set[str]:
        """The actors of which the ledger has a trajectory that arrived after this time."""
        if not self.led.ledger.exists():
            return set()
        with sqlite3.connect(f"file:{self.led.ledger}?mode=ro", uri=True) as database:
            found = database.execute(
                "SELECT DISTINCT actor FROM trajectories WHERE received_at > ?", (since,)
            )
            return {row[0] for row in found}

    def pids(self, name: str) -> list[int]:
        """All processes on a host that are not its ssh server."""
        return [pid for pid in self.hosts.processes(name) if pid != self._servers[name].pid]

    def left(self) -> list[str]:
        """Processes and pieces of shared memory that a run left on the hosts."""
        found = []
        for name, server in self._servers.items():
            for pid in self.pids(name):
                with suppress(psutil.NoSuchProcess):
                    found.append(f"{name}: process {pid} {' '.join(psutil.Process(pid).cmdline())}")
            shared = Path("/proc", str(server.pid), "root", "dev", "shm")
            found += [f"{name}: /dev/shm/{file.name}" for file in shared.iterdir()]
        return found

    def newest_checkpoint_ranks(self) -> int:
        """How many ranks wrote the newest whole checkpoint; 0 without one."""
        path = CheckpointStore(self.led.checkpoints).latest()
        return read_manifest(path).num_ranks if path else 0

    def join(self, name: str, roles: str) -> None:
        """One more host for the run that goes on, as `multinode.sh --join` takes it in."""
        join(self.line(name, roles), self.here)

    def agent(self, name: str) -> int:
        """The process of a host's agent."""
        return int((self.folder / name / "tiny" / "hosts" / f"{name}.lock").read_text().split()[0])


class Run:
    """One `multinode.sh`, by the lines that it prints."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self.process = process
        self.said: list[str] = []
        self._lines: queue.Queue[str | None] = queue.Queue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def until(self, is_it: Callable[[str], bool], deadline_s: float = DEADLINE_S) -> str:
        """The next line for which this holds; AssertionError with all that it said when there is none."""
        deadline = time.monotonic() + deadline_s
        while True:
            try:
                line = self._lines.get(timeout=max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                raise AssertionError("not within the deadline:\n" + "\n".join(self.said[-60:])) from None
            if line is None:
                raise AssertionError("it ended:\n" + "\n".join(self.said[-60:]))
            self.said.append(line)
            if is_it(line):
                return line

    def until_said(self, text: str, deadline_s: float = DEADLINE_S) -> str:
        """The next line with this text."""
        return self.until(lambda line: text in line, deadline_s)

    def until_step(
        self, condition: Callable[[], bool] = lambda: True, deadline_s: float = DEADLINE_S
    ) -> None:
        """The next step after which the condition holds."""
        self.until(lambda line: line.startswith("step ") and condition(), deadline_s)

    def interrupt(self) -> int:
        """Ctrl-C; the exit code."""
        self.process.send_signal(signal.SIGINT)
        return self.end()

    def end(self) -> int:
        """Its exit code, once it ended by itself."""
        code = self.process.wait(DEADLINE_S)
        self.rest()
        return code

    def rest(self) -> None:
        """Read what it said last."""
        self.process.wait(DEADLINE_S)
        self._reader.join(DEADLINE_S)
        while not self._lines.empty():
            if (line := self._lines.get()) is not None:
                self.said.append(line)

    def _read(self) -> None:
        assert self.process.stdout
        for line in self.process.stdout:
            self._lines.put(line.rstrip())
        self._lines.put(None)
