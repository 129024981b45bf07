"""`python -m tests.multinode.sshd ADDRESS FOLDER`: an ssh server without terminals, for one test host.

Whoever has the key of `FOLDER/id.pub` may run commands. Like OpenSSH's server as it is installed it asks no
client whether it lives: of a cut line it learns nothing, and a command whose client has left reads the end of
its input and is not killed.
"""

import asyncio
import sys
from contextlib import suppress
from pathlib import Path

import asyncssh

PORT = 22
READY = "serving"
CHUNK_BYTES = 1 << 16


async def run_command(session: "asyncssh.SSHServerProcess[bytes]") -> None:
    """One command line, to its end."""
    child = await asyncio.create_subprocess_shell(
        session.command or "exit 1",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,
    )
    assert child.stdin
    assert child.stdout
    assert child.stderr
    feeding = asyncio.ensure_future(feed(session, child.stdin))
    async with asyncio.TaskGroup() as group:
        group.create_task(drain(child.stdout, session.stdout))
        group.create_task(drain(child.stderr, session.stderr))
    code = await child.wait()
    feeding.cancel()
    session.exit(code if code >= 0 else 255)


async def feed(session: "asyncssh.SSHServerProcess[bytes]", stdin: asyncio.StreamWriter) -> None:
    """What the client says, until it leaves."""
    try:
        while data := await session.stdin.read(CHUNK_BYTES):
            stdin.write(data)
            await stdin.drain()
    except (OSError, asyncssh.Error):
        return
    finally:
        stdin.close()


async def drain(source: asyncio.StreamReader, out: "asyncssh.SSHWriter[bytes]") -> None:
    """What the command says; read on, and thrown away, when the client has left."""
    while data := await source.read(CHUNK_BYTES):
        with suppress(OSError, asyncssh.Error):
            out.write(data)
            await out.drain()


async def serve(address: str, folder: Path) -> None:
    """For ever."""
    key = asyncssh.generate_private_key("ssh-ed25519")
    server = await asyncssh.listen(
        address,
        PORT,
        server_host_keys=[key],
        authorized_client_keys=str(folder / "id.pub"),
        process_factory=run_command,
        encoding=None,
        line_editor=False,
        keepalive_interval=0,
    )
    sys.stdout.write(f"{READY} {key.export_public_key().decode().strip()}\n")
    sys.stdout.flush()
    await server.wait_closed()


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1], Path(sys.argv[2])))
