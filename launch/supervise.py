"""Supervision: what must live is started again, what must succeed ends the run when it fails.

Nobody polls: every child is awaited, and its death wakes the coroutine that owns it.
"""

import asyncio
import logging
import re
import signal
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from common.errors import ConfigurationError, PronghornError
from launch.config import SupervisionConfig
from launch.processes import START_LINE, Command, Starter

log = logging.getLogger(__name__)

TAIL_BYTES = 64 << 10


class ProcessError(PronghornError):
    """A process died for good; names it, how it ended, the reason from its log and where the log is."""

    def __init__(self, command: Command, code: int, what: str = "failed") -> None:
        reason = reason_of(command.log)
        super().__init__(f"{command.name} {what} ({describe_exit(code)}): {reason} [{command.log}]")


class Supervisor:
    """Owns the children of one run and counts how often each was started again."""

    def __init__(
        self,
        launcher: Starter[Any],
        config: SupervisionConfig,
        notice: Callable[[str], None],
        restarts: Counter[str] | None = None,
    ) -> None:
        self._launcher = launcher
        self._config = config
        self._notice = notice
        self.restarts: Counter[str] = Counter() if restarts is None else restarts

    async def finish(self, command: Command) -> None:
        """Run it to its end; ProcessError when it ends badly. Cancelled: it is asked to stop, then killed."""
        code = await self._run(command)
        if code != 0:
            raise ProcessError(command, code)

    async def keep_running(self, command: Command, *, may_leave: bool = False) -> None:
        """Start it, and again whenever it dies, with growing pauses.

        Code 0 is a death like any other, except for a process that `may_leave`: then this ends quietly.
        Raises ProcessError when it has died more than `max_restarts` times without having lived
        `stable_s` in between, and at once when it left with the exit code of a wrong configuration.
        """
        deaths_in_a_row = 0
        while True:
            started = time.monotonic()
            code = await self._run(command)
            if code == 0 and may_leave:
                log.info("%s left", command.name)
                return
            deaths_in_a_row = 1 if time.monotonic() - started > self._config.stable_s else deaths_in_a_row + 1
            if code == ConfigurationError.exit_code:
                raise ProcessError(command, code)
            if deaths_in_a_row > self._config.max_restarts:
                raise ProcessError(command, code, f"died {deaths_in_a_row} times")
            pause_s = min(self._config.backoff_s * 2 ** (deaths_in_a_row - 1), self._config.max_backoff_s)
            self.restarts[command.name] += 1
            why = f"{command.name} died ({describe_exit(code)}): {reason_of(command.log)}"
            log.warning("%s pause_s=%g restarts=%d", why, pause_s, self.restarts[command.name])
            self._notice(f"{why}; starting it again, {self.restarts[command.name]}x")
            await asyncio.sleep(pause_s)

    async def _run(self, command: Command) -> int:
        process = await self._launcher.start(command)
        log.info("%s started: pid=%d log=%s", command.name, process.pid, command.log)
        try:
            code: int = await process.wait()
            return code
        finally:
            await self._launcher.stop(process, command)


def describe_exit(code: int) -> str:
    """`exit code 3`, or the name of the signal that ended it."""
    if code >= 0:
        return f"exit code {code}"
    try:
        return f"killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"killed by signal {-code}"


def reason_of(log_file: Path) -> str:
    """The line of a log that says why the process ended: its last error, else its last line."""
    try:
        with log_file.open("rb") as file:
            file.seek(max(0, file.seek(0, 2) - TAIL_BYTES))
            text = file.read().decode(errors="replace")
    except OSError:
        return "it left no log"
    # torchrun reports the death of its ranks after the rank has said why.
    said = [
        line.strip()
        for line in text.rpartition(START_LINE)[2].splitlines()
        if line.strip() and "torch.distributed.elastic" not in line
    ]
    patterns = (
        r"pronghorn( \w+)?: ",
        r"[\w.]*(Error|Exception|Fault|Interrupt|Failed)\b.*",
        r"traceback : Signal ",  # torchrun's word for a rank that was killed and could say nothing
        r"exitcode +: ",  # and for one that left without a word, as on a full disk
        r"\S",
    )
    for pattern in patterns:
        for line in reversed(said):
            if re.match(pattern, line):
                return re.sub(f"{patterns[0]}|traceback : ", "", line, count=1)[:400]
    return "it wrote nothing"
