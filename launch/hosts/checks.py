"""What a host must have before a run over several hosts begins, and whether the hosts reach each other."""

import asyncio
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

from common.config import validate
from common.errors import PronghornError
from launch import preflight
from launch.config import RunConfig

GREETING = b"pronghorn\n"
REACH_S = 5.0

CHECKS: dict[str, tuple[Callable[[RunConfig], None], ...]] = {
    "lead": (preflight.check_tasks, preflight.check_model, preflight.check_monitor, preflight.check_space),
    "learner": (preflight.check_gpu,),
    "hub": (preflight.check_tasks,),
    "": (preflight.check_packages, preflight.check_cores, preflight.check_folder),
}
"""By role; those of the empty name are for every host."""


def problems(config: dict[str, Any], roles: list[str]) -> list[str]:
    """One line for each check of these roles that fails here."""
    settings = validate(RunConfig, config)
    found: list[str] = []
    for check in dict.fromkeys(check for role in ["", *roles] for check in CHECKS.get(role, ())):
        try:
            check(settings)
        except PronghornError as error:
            found.append(str(error))
    return found


def sees(file: Path, text: str) -> bool:
    """Whether a file is here and has this text in it."""
    try:
        return text in file.read_text(errors="replace")
    except OSError:
        return False


class Listeners:
    """Ports that are held, and greet, until all hosts have tried to reach them."""

    def __init__(self) -> None:
        self._servers: list[asyncio.Server] = []

    async def listen(self, address: str, ports: list[int]) -> list[int]:
        """The ports that are held now, a free one for each 0; OSError when one is taken."""
        held = []
        for port in ports:
            server = await asyncio.start_server(self._greet, address, port, family=socket.AF_UNSPEC)
            self._servers.append(server)
            held.append(int(server.sockets[0].getsockname()[1]))
        return held

    def close(self) -> None:
        """Free them all."""
        for server in self._servers:
            server.close()
        self._servers.clear()

    @staticmethod
    async def _greet(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(GREETING)
        writer.close()


async def reach(address: str, port: int) -> str:
    """Why the listener at this address is not reached; empty when it is."""
    try:
        async with asyncio.timeout(REACH_S):
            reader, writer = await asyncio.open_connection(address, port)
            said = await reader.readline()
            writer.close()
    except TimeoutError:
        return f"no answer within {REACH_S:g} s"
    except OSError as error:
        return str(error.strerror or error)
    return "" if said == GREETING else "somebody else answers there"
