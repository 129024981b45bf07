"""One worker process as the hub sees it: started confined, asked, killed when it hangs or takes too much.

`read_answers` reads its answers and hands each to the caller that waits for it. A caller waits until the
answer comes, until the worker dies, or until the worker has been silent for `silence_s`: then it is killed,
and every caller that waits for it is refused. What is asked in one turn of the event loop is sent together.
"""

import asyncio
import itertools
import logging
import os
import signal
import socket
import sys
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from typing import Any, Self, cast

from common.aio import background, within
from common.errors import PreflightError
from envhub.config import PoolLimits
from envhub.frames import GREETING, NONSENSE, Inbox, encode
from envhub.holdings import kill_family
from envhub.refusal import STATUS, Code, HubRefusal
from envhub.sandbox import WorkerOrders, variables
from envhub.scratch import remove, worker_folder

START_S = 60.0
"""A worker must have imported the environments within this long."""
DOUBT_S = 0.1
"""A worker that seems to hang is looked at once more after so long."""
LAST_WORDS_S = 0.1
"""So long what a dead worker said last may take to arrive."""
EXIT_S = 2.0
"""A worker that was hung up on must be gone within this long; past it, it is killed."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Asked:
    answer: asyncio.Future[Any]
    at: float


class Worker:
    """One process and the requests it has not answered yet."""

    def __init__(
        self,
        process: asyncio.subprocess.Process,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        silence_s: float,
        folder: str,
    ) -> None:
        self.sessions: set[str] = set()
        """Who lives here; kept by the session table."""
        self.death: HubRefusal | None = None
        """Why every call is refused from now on; None while it lives."""
        self._process, self._reader, self._writer = process, reader, writer
        self._silence_s = silence_s
        self.folder = folder
        """For what it writes; removed with it."""
        self._loop = asyncio.get_running_loop()
        self._numbers = itertools.count(1)
        self._inbox, self._outgoing = Inbox(), list[bytes]()
        self._pending: dict[int, _Asked] = {}
        self._heard_at = self._loop.time()
        self._alarm: asyncio.TimerHandle | None = None
        self._is_doubted = False

    @classmethod
    async def start(cls, limits: PoolLimits) -> Self:
        """A worker that is ready for calls; PreflightError when it does not come up.

        Of the hub it has the socket and its output, no other open file and no secret; `envhub/sandbox.py`.
        """
        async with AsyncExitStack() as undo:
            folder = await asyncio.to_thread(worker_folder)
            undo.push_async_callback(asyncio.to_thread, remove, folder)
            ours, theirs = socket.socketpair()
            with theirs:
                reader, writer = await asyncio.open_connection(sock=ours)
                undo.callback(writer.close)
                orders = WorkerOrders(
                    pipe=theirs.fileno(),
                    hub=os.getpid(),
                    folder=folder,
                    max_bytes=limits.max_worker_bytes,
                    max_file_bytes=limits.max_disk_bytes,
                    max_files=limits.max_files,
                    network=limits.network,
                )
                process = await asyncio.create_subprocess_exec(
                    sys.executable,
                    *("-m", "envhub.confined", orders.model_dump_json()),
                    pass_fds=[theirs.fileno()],
                    stdin=asyncio.subprocess.DEVNULL,
                    env=variables(os.environ, limits.kept_variables) | {"TMPDIR": folder},
                    # A signal to the hub's group is the hub's; and what a worker starts ends with its group.
                    start_new_session=True,
                )
            worker = cls(process, reader, writer, limits.step_timeout_s, folder)
            undo.push_async_callback(worker.end)
            greeting = await within(
                START_S, worker._inbox.read(reader), "a new environment worker", PreflightError
            )
            if greeting != [GREETING]:
                raise PreflightError("an environment worker ended while it started; see the lines above")
            undo.pop_all()
        return worker

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    async def call(self, operation: str, *arguments: Any) -> Any:
        """The worker's answer; HubRefusal when it refuses, dies or hangs."""
        return await self.ask(operation, *arguments)

    def ask(self, operation: str, *arguments: Any) -> asyncio.Future[Any]:
        """Send a request; the answer, or the HubRefusal, comes later. Whoever asks awaits or cancels it."""
        answer = self._loop.create_future()
        if self.death is not None:
            answer.set_exception(HubRefusal(self.death.code, self.death.message))
            return answer
        number, now = next(self._numbers), self._loop.time()
        self._send(encode([number, operation, arguments]))
        self._pending[number] = _Asked(answer, now)
        if self._alarm is None:
            self._alarm = self._loop.call_at(now + self._silence_s, self._listen)
        return answer

    def _send(self, frame: bytes) -> None:
        if not self._outgoing:
            self._loop.call_soon(self._flush)
        self._outgoing.append(frame)

    def _flush(self) -> None:
        self._writer.write(b"".join(self._outgoing))
        self._outgoing.clear()

    def _listen(self) -> None:
        """Kill it when whoever waits longest has heard nothing for too long; it plays one at a time."""
        self._alarm = None
        if not self._pending or self.death is not None:
            return
        oldest = next(iter(self._pending.values()))
        deadline = max(oldest.at, self._heard_at) + self._silence_s
        is_late, was_doubted = deadline <= self._loop.time(), self._is_doubted
        self._is_doubted = is_late
        if not is_late or not was_doubted:
            # If it was this loop that stood still, what the worker said has not been read yet.
            again = deadline if not is_late else self._loop.time() + DOUBT_S
            self._alarm = self._loop.call_at(again, self._listen)
            return
        self.kill("worker_hung", f"its worker was silent for {self._silence_s:g} s and was replaced")

    async def read_answers(self) -> None:
        """Hand out answers until the process is gone; then refuse whoever still waits."""
        async with background(self._end_with_process()):
            try:
                while messages := await self._inbox.read(self._reader):
                    self._heard_at = self._loop.time()
                    for number, code, result in messages:
                        self._hand_out(number, code, result)
            except NONSENSE:
                # Worlds share its process, and can write to its socket.
                self.kill("worker_died", "its worker spoke nonsense and was replaced")
        self._die("worker_died", "its worker died and was replaced")

    async def _end_with_process(self) -> None:
        """Stop reading when the process is gone, even if something that it started still holds its socket."""
        await self._process.wait()
        await asyncio.sleep(LAST_WORDS_S)
        self._reader.feed_eof()

    def _hand_out(self, number: int, code: str, result: Any) -> None:
        if code and code not in STATUS:
            raise ValueError(f"code = {code!r}")
        asked = self._pending.pop(number, None)
        if asked is None or asked.answer.done():
            return  # refused or gone meanwhile
        if code:
            asked.answer.set_exception(HubRefusal(cast(Code, code), result))
        else:
            asked.answer.set_result(result)

    def kill(self, code: Code, message: str) -> None:
        """End the process and refuse everyone with this reason from now on."""
        self._die(code, message)
        self._end_process()

    def _die(self, code: Code, message: str) -> None:
        """From now on refuse everyone, those who wait first; only the first cause counts."""
        if self.death is None:
            _log.error("worker lost pid=%d code=%s sessions=%d", self.pid, code, len(self.sessions))
            self.death = HubRefusal(code, f"the session is lost: {message}")
        while self._pending:
            answer = self._pending.popitem()[1].answer
            if not answer.done():
                answer.set_exception(HubRefusal(self.death.code, self.death.message))

    async def end(self) -> None:
        """Hang up, which ends a healthy worker at once; kill it when it has not gone `EXIT_S` later.

        After as long again it is left to the kernel, which holds it.
        """
        if self._alarm is not None:
            self._alarm.cancel()
        for end in (self._writer.close, self._end_process):
            end()
            with suppress(TimeoutError):
                async with asyncio.timeout(EXIT_S):
                    await self._process.wait()
                    break
        else:
            _log.error("worker does not end pid=%d", self.pid)
        self._end_group()
        await asyncio.to_thread(remove, self.folder)

    def _end_process(self) -> None:
        """Kill it with all that it started, such as a Java machine."""
        if self._process.returncode is None:
            kill_family(self.pid)
        self._end_group()

    def _end_group(self) -> None:
        """Kill what it started and left behind."""
        with suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
