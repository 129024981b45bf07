"""The learner over its hosts: torchrun on each, all of them together or none.

With several hosts, ranks that die are started again from the newest checkpoint on all hosts, as often in a
row as `supervision.max_restarts` says. A host that goes away takes the others' ranks along: they are started
again when it is back, within `supervision.learner_host_s`.
"""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from common.errors import ConfigurationError
from launch.config import SupervisionConfig
from launch.hosts.link import HostLost, Link, RemoteChild, RemoteLauncher
from launch.hosts.member import Member
from launch.processes import Command
from launch.supervise import ProcessError, describe_exit, reason_of

log = logging.getLogger(__name__)

FOLLOW_S = 30.0
"""What the other hosts' ranks have to leave once the leading host's have, and the other way round."""
KILL_S = 20.0


@dataclass(frozen=True)
class Learners:
    """Every rank of the learner; the first of `members` leads."""

    members: list[Member]
    commands: Mapping[str, Command]
    """By host."""
    prepare: Callable[[Link], Awaitable[None]]
    """Brings what the ranks need to a host."""
    launcher: Callable[[Link], RemoteLauncher]
    supervision: SupervisionConfig
    notice: Callable[[str], None]
    restarts: Counter[str]

    async def train(self) -> None:
        """To the last step. Cancelled: to the end of the step, with a checkpoint; cancelled again: killed.

        ProcessError when ranks die for good, PreflightError when a host stays away.
        """
        limits, deaths_in_a_row = self.supervision, 0
        while True:
            links = [await member.back(limits.learner_host_s) for member in self.members]
            began = time.monotonic()
            try:
                for link in links:
                    await self.prepare(link)
                failed = await self._once(links)
            except HostLost as lost:
                why = str(lost)
            else:
                if failed is None:
                    return
                command, code = failed
                is_young = time.monotonic() - began < limits.stable_s
                deaths_in_a_row = deaths_in_a_row + 1 if is_young else 1
                is_hopeless = len(links) == 1 or code == ConfigurationError.exit_code
                if is_hopeless or deaths_in_a_row > limits.max_restarts:
                    raise ProcessError(command, code)
                why = f"{command.name} died ({describe_exit(code)}): {reason_of(command.log)}"
                pause_s = min(limits.backoff_s * 2 ** (deaths_in_a_row - 1), limits.max_backoff_s)
                await asyncio.sleep(pause_s)
            self.restarts["learner"] += 1
            log.warning("%s restarts=%d", why, self.restarts["learner"])
            self.notice(f"{why}; the learner goes on from its checkpoint, {self.restarts['learner']}x")

    async def _once(self, links: list[Link]) -> tuple[Command, int] | None:
        """All ranks from start to end; None when they trained to the last step, else who died, and how."""
        running: list[tuple[RemoteLauncher, Command, RemoteChild]] = []
        try:
            for link in links:
                launcher, command = self.launcher(link), self.commands[link.host.name]
                running.append((launcher, command, await launcher.start(command)))
            return await _outcome([(command, child) for _, command, child in running])
        except asyncio.CancelledError:
            # Rank 0 decides when to stop; the others leave when it tells them to.
            launcher, command, child = running[0]
            await launcher.stop(child, command)
            await _ended([child for _, _, child in running], FOLLOW_S)
            raise
        finally:
            for launcher, command, child in running:
                launcher.kill(child, command)
            await _ended([child for _, _, child in running], KILL_S)


async def blind_hosts(links: list[Link], folder: Path) -> list[str]:
    """A line for each host that does not see the first one's run folder, where all ranks keep checkpoints."""
    lead, *others = links
    file = folder / "hosts" / f"{lead.host.name}.lock"
    return [
        f"{link.host.name}: {folder} of {lead.host.name} is not there; with ranks of the learner on several "
        "hosts run.directory must be on a file system that they share, at the same path"
        for link in others
        if not await link.request("sees", file=str(file), text=lead.mark)
    ]


async def _outcome(running: list[tuple[Command, RemoteChild]]) -> tuple[Command, int] | None:
    ends = {child.end: command for command, child in running}
    await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
    if all(end.done() is False or (not end.exception() and end.result() == 0) for end in ends):
        # They leave one after the other.
        await asyncio.wait(ends, timeout=FOLLOW_S)
    lead, *_ = ends
    if lead.done() and not lead.exception() and lead.result() == 0:
        return None
    for end, command in ends.items():
        if end.done() and (code := end.result()) != 0:
            return command, code
    return next((command, 0) for end, command in ends.items() if end.done())


async def _ended(children: list[RemoteChild], seconds: float) -> None:
    if children:
        await asyncio.wait([child.end for child in children], timeout=seconds)
        for child in children:
            if child.end.done():
                child.end.exception()  # whoever is lost has been told of before
