"""The outbox: finished trajectories that the learner has not acknowledged, on the disk of the actor's host.

    RUN/outbox/ACTOR/lock                       held by the one process that plays under this name
                     GROUP-MEMBER-ATTEMPT       one trajectory: mark, xxh3-64 of the rest, the packed record;
                                                before it the xxh3-64 of its ledger's name, if it has one
                     NAME.refused               what cannot be read back; for a person, never sent

A file appears whole (temporary file, flush, rename) or not at all. `DiskOutbox` blocks; the actor uses
`Outbox`, which does the work on a thread of its own, whatever has been asked for meanwhile in one go.
"""

import asyncio
import fcntl
import logging
import os
import re
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import IO

import xxhash

from common.aio import in_thread
from common.codec import pack, unpack
from common.errors import ConfigurationError, PreflightError, ProtocolError
from common.trajectory import Member, Trajectory

log = logging.getLogger(__name__)

MARK = b"pronghorn outbox 1\n"
LOCK_S = 5.0
"""How long a process that is just ending may keep the lock."""
RETRY_S = 2.0
"""How often a disk that refused a trajectory is asked again."""
NUM_WRITERS = 8
"""Threads that flush files at the same time: the file system makes one commit of what comes together."""
_HEAD = len(MARK) + 8
_NAME = re.compile(r"([0-9a-f]{16}-)?\d+-\d+-\d+")


def check_name(actor: str) -> str:
    """`actor`, when it can name a folder; ConfigurationError otherwise."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}", actor):
        raise ConfigurationError(
            f"--name={actor!r}: allowed: 1 to 200 letters, digits, dots, dashes and underscores, "
            "beginning with a letter or a digit"
        )
    return actor


class DiskOutbox:
    """The folder of one actor, locked between `open` and `close`; every method blocks."""

    def __init__(self, folder: Path, run: str) -> None:
        self._folder = folder
        self._run = run
        self._lock: IO[bytes] | None = None
        self.num_refused = 0
        """Files that could not be read back."""

    def open(self) -> list[Trajectory]:
        """Lock the folder and read what a former life has left, oldest first.

        Torn and corrupt files are set aside, counted and logged; those of another run are left alone.
        PreflightError when another process plays under this name or the folder cannot be made.
        """
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._lock = (self._folder / "lock").open("wb")
            self._take_lock(self._lock)
            found = sorted(self._folder.iterdir(), key=lambda path: path.stat().st_mtime_ns)
            for path in found:
                if path.suffix == ".draft":  # never finished; nobody was told of it
                    path.unlink()
            kept = [self._read(path) for path in found if _NAME.fullmatch(path.name)]
        except OSError as error:
            raise PreflightError(f"{self._folder}: cannot open the outbox: {error.strerror}") from error
        return [trajectory for trajectory in kept if trajectory is not None]

    def _take_lock(self, file: IO[bytes]) -> None:
        deadline = time.monotonic() + LOCK_S
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise PreflightError(
                        f"{self._folder}: another process plays under this name; give this one another --name"
                    ) from None
                time.sleep(0.05)

    def _read(self, path: Path) -> Trajectory | None:
        try:
            trajectory = unpack(_checked(path.read_bytes()), Trajectory)
        except (OSError, ProtocolError) as error:
            self.num_refused += 1
            log.warning("refused file=%s reason=%s", path, error)
            path.replace(path.with_name(f"{path.name}.refused"))
            return None
        if trajectory.identity.run != self._run:
            log.warning("ignored file=%s run=%s this=%s", path, trajectory.identity.run, self._run)
            return None
        return trajectory

    def write(self, identity: Member, content: bytes) -> None:
        """Keep what `packed` made: its bytes are on the disk, its name after `sync`. OSError otherwise."""
        path = self._path(identity)
        draft = path.with_suffix(".draft")
        try:
            with draft.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            draft.replace(path)
        except OSError:
            draft.unlink(missing_ok=True)
            raise

    def remove(self, identity: Member) -> None:
        """Forget a trajectory, if it is there."""
        self._path(identity).unlink(missing_ok=True)

    def sync(self) -> None:
        """All names written since the last time are on the disk."""
        descriptor = os.open(self._folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def close(self) -> None:
        """Let another process have the folder."""
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def _path(self, identity: Member) -> Path:
        # Two ledgers of one run count the same groups; the name of one may be anything.
        ledger = f"{xxhash.xxh3_64_hexdigest(identity.ledger.encode())}-" if identity.ledger else ""
        return self._folder / f"{ledger}{identity.group}-{identity.member}-{identity.attempt}"


def packed(trajectory: Trajectory) -> bytes:
    """The content of its file."""
    blob = pack(trajectory)
    return MARK + xxhash.xxh3_64_digest(blob) + blob


def _checked(content: bytes) -> memoryview:
    """The packed record in a file's content; ProtocolError when it is torn or damaged."""
    blob = memoryview(content)[_HEAD:]
    if not content.startswith(MARK):
        raise ProtocolError("torn, or no trajectory of an outbox")
    if content[len(MARK) : _HEAD] != xxhash.xxh3_64_digest(blob):
        raise ProtocolError("torn or damaged: the checksum does not match")
    return blob


class Outbox:
    """The outbox of one actor without blocking its event loop, bounded by number and bytes.

        waiting = await outbox.open()
        async with background(outbox.serve()):
            await outbox.keep(trajectory)        # then submit
            outbox.forget(trajectory.identity)   # acknowledged
        await outbox.close()

    What the disk refuses is kept in memory and written as soon as the disk takes it: nothing is lost while
    the process lives, and until then there is no room. `on_room` is called when there may be room again.
    """

    def __init__(
        self, disk: DiskOutbox, *, max_number: int, max_bytes: int, on_room: Callable[[], None]
    ) -> None:
        self._disk = disk
        self._max_number = max_number
        self._max_bytes = max_bytes
        self._on_room = on_room
        self._sizes: dict[Member, int] = {}
        """Bytes of every trajectory that is kept, wherever."""
        self._unwritten: dict[Member, Trajectory] = {}
        self._waiting: dict[Member, asyncio.Future[None]] = {}
        """Of those in `unwritten` that have not been tried yet: who waits for it."""
        self._acknowledged: set[Member] = set()
        """To be removed."""
        self._is_failing = False
        self._writers = ThreadPoolExecutor(NUM_WRITERS, thread_name_prefix="outbox")
        self._wake = asyncio.Event()

    @property
    def has_room(self) -> bool:
        """Whether more trajectories may be on their way: neither full nor refused by the disk."""
        is_full = len(self._sizes) >= self._max_number or sum(self._sizes.values()) >= self._max_bytes
        return not is_full and not self._is_failing

    async def open(self) -> list[Trajectory]:
        """As `DiskOutbox.open`."""
        found = await in_thread(self._disk.open)
        self._sizes = {trajectory.identity: _num_bytes(trajectory) for trajectory in found}
        return found

    async def keep(self, trajectory: Trajectory) -> None:
        """Returns when the trajectory is on the disk, or the disk has refused it."""
        identity = trajectory.identity
        self._sizes[identity] = _num_bytes(trajectory)
        self._unwritten[identity] = trajectory
        tried = self._waiting[identity] = asyncio.get_running_loop().create_future()
        self._wake.set()
        await tried

    def forget(self, identity: Member) -> None:
        """The trajectory is acknowledged; its file is removed in time."""
        if self._sizes.pop(identity, None) is not None:
            self._acknowledged.add(identity)
            self._wake.set()
            self._on_room()

    async def serve(self) -> None:
        """Endless: write what is to be kept, together, and remove what is acknowledged."""
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(RETRY_S if self._is_failing else None):
                    await self._wake.wait()
            self._wake.clear()
            await self._round()

    async def close(self) -> None:
        """Write what is left and let another process have the folder."""
        await self._round()
        self._writers.shutdown()
        await asyncio.to_thread(self._disk.close)

    async def _round(self) -> None:
        """Bring the disk up to date with what was asked for so far; whoever waits for it goes on."""
        writes, removals = list(self._unwritten.values()), set(self._acknowledged)
        waiting, self._waiting = self._waiting, {}
        written, error = await in_thread(partial(self._update, writes, removals))
        for identity in written:
            del self._unwritten[identity]
        if error is None:  # otherwise they are tried again, which shows when the disk works
            self._acknowledged -= removals
        for tried in waiting.values():
            if not tried.done():
                tried.set_result(None)
        if error is not None and not self._is_failing:
            log.warning(
                "the outbox cannot be written; no leases until it can reason=%s unwritten=%d",
                error,
                len(self._unwritten),
            )
        if error is None and self._is_failing:
            log.info("the outbox is written again")
            self._on_room()
        self._is_failing = error is not None

    def _update(
        self, writes: Sequence[Trajectory], removals: set[Member]
    ) -> tuple[set[Member], OSError | None]:
        """On the thread: what has been written, and the first error, if any."""
        errors = list(self._writers.map(self._write, writes))
        written = {t.identity for t, error in zip(writes, errors, strict=True) if error is None}
        first = next((error for error in errors if error is not None), None)
        try:
            if written:
                self._disk.sync()
            for identity in removals - ({trajectory.identity for trajectory in writes} - written):
                self._disk.remove(identity)
        except OSError as error:
            first = first or error
        return written, first

    def _write(self, trajectory: Trajectory) -> OSError | None:
        try:
            self._disk.write(trajectory.identity, packed(trajectory))
        except OSError as error:
            return error
        return None


def _num_bytes(trajectory: Trajectory) -> int:
    """About what its file takes: 4 bytes a token and 4 a logprob, text is text."""
    texts = sum(len(turn.observation) + len(turn.action) for turn in trajectory.turns)
    return 512 + 4 * (trajectory.num_tokens + trajectory.num_action_tokens) + texts
