"""What a worker process may do, set in the process itself before it imports any environment.

Limits of memory, files and file sizes, no core dumps, no new privileges, an end when the hub ends, a folder
of its own for what it writes, no secrets among its variables and, if asked for, no network. What the kernel
cannot limit for a whole family of processes (resident memory, processes, bytes on disk), the hub watches
(`envhub/holdings.py`): it kills the family that holds too much.

It is no prison: a worker is the hub's own user and reads what that user may read. `network="none"` puts it
into a user namespace of its own, from where it can read no other process's memory or variables.
"""

import ctypes
import fcntl
import os
import re
import resource
import signal
import socket
import struct
import subprocess
import sys
from collections.abc import Collection, Mapping
from typing import Final

from common.config import Section
from common.errors import PreflightError
from envhub.config import Network

_LIBC: Final = ctypes.CDLL(None, use_errno=True)
_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER, _PR_SET_NO_NEW_PRIVS = 1, 36, 38
_CLONE_NEWUSER, _CLONE_NEWNET = 0x10000000, 0x40000000
_CAPABILITY_VERSION: Final = 0x20080522
_SIOCGIFFLAGS, _SIOCSIFFLAGS, _IFF_UP = 0x8913, 0x8914, 0x1
_GONE_SIGNAL: Final = signal.SIGQUIT
"""Sent by the kernel when the hub is gone. Its number, 3, is the seconds that the worker then has."""

_SECRET_NAME: Final = re.compile(
    r"passw|passphrase|secret|credential|_pwd(?![a-z])|(?:token|apikey)s?(?![a-z])"
    r"|(?<![a-z])(?:keys?|auth|cookie|pat|private)(?![a-z])"
)
"""What is not for environments: some words wherever they stand, others (PATH, KEYBOARD) only alone."""
_SECRET_PREFIXES: Final = ("AWS_", "AZURE_", "GOOGLE_", "GCP_", "WANDB_", "KUBE", "GITHUB_", "CI_")
_PASSWORD_IN_URL: Final = re.compile(r"://[^/\s]*:[^/\s]*@")
PROBE_S: Final = 20.0


def variables(inherited: Mapping[str, str], kept: Collection[str] = ()) -> dict[str, str]:
    """The environment variables of a worker: those of the hub without what looks like a secret.

    A name that says so, one of a cloud's, or a URL with a password; `kept` stay.
    """
    return {name: value for name, value in inherited.items() if name in kept or not _is_secret(name, value)}


def _is_secret(name: str, value: str) -> bool:
    return (
        _SECRET_NAME.search(name.lower()) is not None
        or name.upper().startswith(_SECRET_PREFIXES)
        or _PASSWORD_IN_URL.search(value) is not None
    )


class WorkerOrders(Section):
    """What the hub tells a worker on its command line, as JSON."""

    pipe: int
    """The number of the inherited socket."""
    hub: int
    """The process to end with."""
    folder: str
    """Its own, for what it writes; removed with it."""
    max_bytes: int
    """Of memory that one process writes to."""
    max_file_bytes: int
    max_files: int
    network: Network


def confine(orders: WorkerOrders) -> None:
    """Put the limits on this process and all that it will start.

    Call it before there is a second thread. PreflightError when the kernel does not allow `network`.
    """
    os.umask(0o077)
    # Of one process, at once; the hub looks at the sum with what it starts, such as a Java machine.
    _limit(resource.RLIMIT_DATA, orders.max_bytes)
    _limit(resource.RLIMIT_FSIZE, orders.max_file_bytes)
    _limit(resource.RLIMIT_NOFILE, orders.max_files)
    _limit(resource.RLIMIT_CORE, 0)
    _call("prctl", _PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    # What it starts and then loses stays below it, where it is found.
    _call("prctl", _PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    if orders.network == "none":
        leave_network()
    # Last: new credentials would make the kernel forget it.
    _end_with(orders.hub)


def leave_network() -> None:
    """Into a network with nothing but loopback, for this process and all that it starts.

    PreflightError when the kernel does not allow it. The process must have one thread.
    """
    user, group = os.getuid(), os.getgid()
    try:
        _call("unshare", _CLONE_NEWUSER | _CLONE_NEWNET)
        for file, text in (
            ("setgroups", "deny"),
            ("uid_map", f"{user} {user} 1"),
            ("gid_map", f"{group} {group} 1"),
        ):
            with open(f"/proc/self/{file}", "w") as written:
                written.write(text)
        _raise_loopback()
        _drop_capabilities()
    except OSError as error:
        raise PreflightError(
            f"hub.sandbox_network = 'none': the kernel does not allow it here ({error.strerror}); "
            "allowed is 'host'"
        ) from error


def why_no_own_network() -> str:
    """Tried in a process of its own: why workers cannot be cut off from the network; empty when they can."""
    code = "from envhub.sandbox import leave_network; leave_network()"
    try:
        tried = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, timeout=PROBE_S, check=False
        )
    except subprocess.TimeoutExpired:
        return (
            f"hub.sandbox_network = 'none': not known after {PROBE_S:g} s whether the kernel allows it here"
        )
    if tried.returncode == 0:
        return ""
    lines = tried.stderr.strip().splitlines()
    return (
        lines[-1].partition("PreflightError: ")[2] or lines[-1] if lines else f"exit code {tried.returncode}"
    )


def _limit(which: int, most: int) -> None:
    """Never above what this process may have."""
    _, hard = resource.getrlimit(which)
    most = most if hard == resource.RLIM_INFINITY else min(most, hard)
    resource.setrlimit(which, (most, most))


def _end_with(hub: int) -> None:
    """When the hub is gone: time to close what is open, then the end, whatever this process is doing.

    The kernel's signal is handled by the C library's `alarm` itself, which takes the signal's number for
    seconds: no line of Python has to run, and a worker that hangs in C is ended as well.
    """
    _LIBC.signal.argtypes = (ctypes.c_int, ctypes.c_void_p)
    _LIBC.signal(int(_GONE_SIGNAL), ctypes.cast(_LIBC.alarm, ctypes.c_void_p))
    _call("prctl", _PR_SET_PDEATHSIG, int(_GONE_SIGNAL), 0, 0, 0)
    if os.getppid() != hub:
        raise SystemExit("the hub is gone")


def _raise_loopback() -> None:
    """What talks to itself over 127.0.0.1, as SciWorld does to its Java machine, still can."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asked:
        request = struct.pack("16sh22x", b"lo", 0)
        flags = struct.unpack("16sh22x", fcntl.ioctl(asked, _SIOCGIFFLAGS, request))[1]
        fcntl.ioctl(asked, _SIOCSIFFLAGS, struct.pack("16sh22x", b"lo", flags | _IFF_UP))


def _drop_capabilities() -> None:
    """Those that the first process of a user namespace has; without new privileges they do not return."""
    header = struct.pack("Ii", _CAPABILITY_VERSION, 0)
    _call("capset", ctypes.c_char_p(header), ctypes.c_char_p(bytes(24)))


def _call(name: str, *arguments: object) -> None:
    if getattr(_LIBC, name)(*arguments) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
