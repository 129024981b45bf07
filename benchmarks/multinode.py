"""A run over hosts that are lost and come back: what was done to it, and how long until it went on.

The hosts are network namespaces of this machine, each with an ssh server, an address and a /dev/shm of its
own; `multinode.sh` reaches them over the cables that are cut (`tests/multinode/world.py`). h1 and h2 hold a
rank of the learner each, h2, h3 and h4 an actor, h3 and h4 a relay. At the end `fsck` finds nothing, and no
process and no shared memory is left. Needs root and iproute2.
"""

import os
import signal
import sqlite3
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

import psutil

from benchmarks.report import Report, parse
from common.role import INTERRUPTED
from learner.fsck.examine import examine
from tests.multinode.namespaces import why_not
from tests.multinode.world import Run, World

NUM_BLINKS = 4
BLINK_S = 2.0
"""Shorter than `supervision.host_silence_s`: nobody is to be taken for gone."""
BETWEEN_S = 4.0
"""Longer than TCP waits before it sends again what was lost: else several blinks are one long cut."""
AWAY_S = 8.0
"""`supervision.learner_host_s` of the run whose learner's host does not come back."""
SECOND_CTRL_C_S = 0.5
"""After the first; the learner is then ending its step or writing its checkpoint."""
GOES_ON = "goes on from its checkpoint"


class Scenario:
    """What is done to one live run, one thing after the other; each waits until the run has gone on."""

    def __init__(self, world: World, report: Report) -> None:
        self.world = world
        self.report = report

    def late_host(self, run: Run) -> None:
        """h4 joins."""
        began = time.time()
        self.world.join("h4", "actors:1,relay")
        self._first_trajectory(run, "h4", "host_joins", began)

    def blinking_link(self, run: Run) -> None:
        """The link of h3 is cut again and again, each time shortly."""
        agent = self.world.agent("h3")
        for _ in range(NUM_BLINKS):
            with self.world.hosts.cut("h3"):
                time.sleep(BLINK_S)
            time.sleep(BETWEEN_S)
            self._plays_on(run, "h3", time.time())
        _expect(agent == self.world.agent("h3"), "a link that blinked", run)
        self._first_trajectory(run, "h3", "link_blinked", time.time())

    def killed_agent(self, run: Run) -> None:
        """kill -9 of the agent of a host with an actor."""
        began = time.time()
        os.kill(self.world.agent("h3"), signal.SIGKILL)
        run.until_said("h3 is away")
        self._first_trajectory(run, "h3", "agent_killed", began)

    def cut_host(self, run: Run) -> None:
        """The link of a host with an actor is cut until the agent there has ended all that it started."""
        began = time.time()
        with self.world.hosts.cut("h3"):
            run.until_said("h3 is away")
            self.emptied("h3", "link_cut_host_emptied", began)
            run.until_step()
            back = time.time()
        self._first_trajectory(run, "h3", "link_back", back)

    def killed_learner_agent(self, run: Run) -> None:
        """kill -9 of the agent of a host with a rank of the learner."""
        began = time.time()
        os.kill(self.world.agent("h2"), signal.SIGKILL)
        run.until_said(GOES_ON)
        self._next_step(run, "learner_agent_killed", began)

    def killed_rank(self, run: Run) -> None:
        """kill -9 of one rank."""
        began = time.time()
        (rank,) = (pid for pid in self.world.hosts.processes("h2") if _is_rank(pid))
        os.kill(rank, signal.SIGKILL)
        run.until_said(GOES_ON)
        self._next_step(run, "rank_killed", began)

    def cut_learner(self, run: Run) -> None:
        """The link of a host with a rank of the learner is cut until the agent there has ended it."""
        began = time.time()
        with self.world.hosts.cut("h2"):
            run.until_said("h2 is away")
            self.emptied("h2", "learner_link_cut_host_emptied", began)
            back = time.time()
        run.until_said(GOES_ON)
        self._next_step(run, "learner_link_back", back)

    @contextmanager
    def resumed(self, lines: list[str], settings: Sequence[str], what: str) -> Iterator[Run]:
        """The same command again."""
        began = time.time()
        with self.world.run(lines, *settings) as run:
            self._next_step(run, f"{what}_and_resumed", began)
            yield run

    def _plays_on(self, run: Run, host: str, since: float) -> None:
        run.until_step(lambda: f"{host}-actor-0" in self.world.played(since))

    def _first_trajectory(self, run: Run, host: str, name: str, began: float) -> None:
        self._plays_on(run, host, began)
        query = "SELECT MIN(received_at) FROM trajectories WHERE actor = ? AND received_at > ?"
        self._measured(name, query, (f"{host}-actor-0", began), began)

    def _next_step(self, run: Run, name: str, began: float) -> None:
        again = time.time()
        query = "SELECT MIN(finished_at) FROM steps WHERE finished_at > ?"
        run.until_step(lambda: self._found(query, (again,)) is not None)
        self._measured(name, query, (again,), began)

    def emptied(self, host: str, name: str, began: float) -> None:
        """Nothing of the run lives on a host any more."""
        living = [psutil.Process(pid) for pid in self.world.pids(host)]
        _, alive = psutil.wait_procs(living, timeout=120)
        if alive:
            raise AssertionError(f"{host} is cut off, and {alive} live on")
        self._add(name, time.time() - began)

    def _measured(self, name: str, query: str, values: tuple[object, ...], began: float) -> None:
        found = self._found(query, values)
        assert found is not None
        self._add(name, found - began)

    def _add(self, name: str, seconds: float) -> None:
        print(f"{name} {seconds:.1f} s", flush=True)
        self.report.add(f"{name}_s", seconds, "s")

    def _found(self, query: str, values: tuple[object, ...]) -> float | None:
        with sqlite3.connect(f"file:{self.world.led.ledger}?mode=ro", uri=True) as database:
            (found,) = database.execute(query, values).fetchone()
            return None if found is None else float(found)


def _is_rank(pid: int) -> bool:
    arguments = psutil.Process(pid).cmdline()
    return ("-m", "learner") in pairwise(arguments) and "torch.distributed.run" not in arguments


def play(world: World, report: Report) -> None:
    """Two runs of one folder, the second resumed, with everything done to them."""
    scenario = Scenario(world, report)
    lines = [
        world.line("h1", "learner,hub"),
        world.line("h2", "learner,actors:1"),
        world.line("h3", "actors:1,relay"),
    ]
    acts: list[Callable[[Run], None]] = [
        scenario.killed_rank, scenario.killed_learner_agent, scenario.cut_learner,
        scenario.late_host, scenario.blinking_link, scenario.killed_agent, scenario.cut_host,
    ]  # fmt: skip
    settings = ("--learner.steps=100000", f"--supervision.learner_host_s={AWAY_S}")
    with world.run(lines, *settings[:1]) as run:
        run.until_step()
        for act in acts:
            act(run)
        began = time.time()
        run.process.kill()
        for host in ("h1", "h2", "h3", "h4"):
            scenario.emptied(host, f"coordinator_killed_{host}_emptied", began)
    with scenario.resumed(lines, settings, "killed") as run:
        began = time.time()
        code = run.interrupt()
        report.add("interrupted_s", time.time() - began, "s")
        _expect(code == INTERRUPTED, "Ctrl-C", run)
    for host, what, before in (
        ("h2", "learner_host_lost_for_good", "interrupted"),
        ("h1", "leading_host_lost_for_good", "lost"),
    ):
        with scenario.resumed(lines, settings, before) as run:
            began = time.time()
            with world.hosts.cut(host):
                code = run.end()
                report.add(f"{what}_s", time.time() - began, "s")
            told = f"{host}, which holds ranks of the learner, is away and did not answer within 8 s"
            _expect(code == 1 and told in run.said[-1], f"the loss of {host}", run)
        for name in ("h1", "h2", "h3"):
            scenario.emptied(name, f"{what}_{name}_emptied", began)
    with scenario.resumed(lines, settings, "leading_host_lost") as run:
        began = time.time()
        run.process.send_signal(signal.SIGINT)
        time.sleep(SECOND_CTRL_C_S)
        code = run.interrupt()
        report.add("interrupted_twice_s", time.time() - began, "s")
        _expect(code == INTERRUPTED, "the second Ctrl-C", run)
        for name in ("h1", "h2", "h3"):
            scenario.emptied(name, f"interrupted_twice_{name}_emptied", began)
    with scenario.resumed(lines, settings, "interrupted_twice") as run:
        _expect(run.interrupt() == INTERRUPTED, "the last Ctrl-C", run)


def _expect(holds: bool, what: str, run: Run) -> None:
    if not holds:
        raise AssertionError(f"{what} did not end as it should:\n" + "\n".join(run.said[-40:]))


def main() -> int:
    """Play, examine, report; 1 when something was left or counted twice."""
    arguments = parse(__doc__)
    if reason := why_not():
        sys.stderr.write(f"pronghorn: {reason}\n")
        return 1
    report = Report("several hosts")
    with tempfile.TemporaryDirectory() as folder, World.made(Path(folder), 4) as world:
        play(world, report)
        found = [*examine(world.led).violations, *world.left()]
    for line in found:
        sys.stderr.write(f"pronghorn: {line}\n")
    report.finish(arguments.json)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
