"""Many actors and thousands of sessions on one machine: memory flat, queues bounded, nothing lost?

Real: the hub in processes of its own, TCP bus, door, dispatcher, ledger, actors with outboxes on the disk.
Scripted: the engines, which answer at once, and the learner's step, which consumes without training. The
actors share a few processes, as many as `--processes`; the hub makes every step last `--latency` on average,
log-normal with a tail that stays below the client's deadline, so that whatever faults is a fault.

    python -m benchmarks.load --actors 64 --sessions 2000 --minutes 10
    python -m benchmarks.load --minutes 60        # the soak
"""

import asyncio
import multiprocessing
import sys
import tempfile
import time
from argparse import Namespace
from collections import defaultdict
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import psutil

from benchmarks.parts.hub_process import RunningHub, running_hub
from benchmarks.parts.load_actors import RUN, Crew, Diary, play
from benchmarks.parts.load_learner import ConsumingLearner, CountingBus
from benchmarks.report import Report, parse
from common.aio import background
from common.bus.config import BusConfig
from envhub.client import HubClient

SAMPLE_S = 1.0
MIB = 1 << 20
GROWTH_PER_MINUTE = 0.005
SLACK_MIB = 1.0
"""Flat: in the second half memory grows by less than half a percent and 1 MiB per minute."""
LAST_WORDS_S = 2.0
LOAD_S = 30.0
"""How long the hub may take to say how many sessions it has."""
SIGMA = 0.5
"""Of the logarithm of a step's seconds: one in 10^8 lasts longer than 120 s where the mean is 8."""


@dataclass
class Samples:
    """What was seen once a second."""

    at: list[float] = field(default_factory=list)
    memory: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    """Of each kind of process, in MiB: what it holds alone."""
    queues: dict[str, list[int]] = field(default_factory=lambda: defaultdict(list))

    def growth_per_minute(self, name: str) -> float:
        """Slope of the second half, MiB per minute."""
        half = len(self.at) // 2
        minutes = np.array(self.at[half:]) / 60
        return float(np.polyfit(minutes, self.memory[name][half:], 1)[0]) if len(minutes) > 2 else 0.0


@dataclass
class Load:
    """The result."""

    samples: Samples
    diary: Diary
    seconds: float
    trajectories: int
    heartbeats: int
    longest_gap_s: float
    totals: dict[str, int]
    cpu: dict[str, float]
    """Of each kind of process, in cores: when they add up to what the machine has, it was the limit."""

    def held_share(self, sessions: int) -> float:
        """Sessions that the hub had open on average, over those asked for."""
        return float(np.mean(self.samples.queues["hub sessions"])) / sessions


async def load(arguments: Namespace, folder: Path) -> Load:
    """Start everything, let it run for the time asked for, and stop it in good order."""
    sessions = -(-arguments.sessions // arguments.actors)
    settings = (
        f"latency_mean_s = {arguments.latency}\nlatency_sigma = {SIGMA}\n"
        f"max_sessions = {2 * arguments.sessions}\nnum_workers = 1"
    )
    async with running_hub(settings) as hub:
        bus = CountingBus(BusConfig())
        await bus.start()
        learner = ConsumingLearner(
            bus, bus.config, folder, sessions=sessions * arguments.actors, turns=arguments.turns
        )
        names = [f"actor-{i}" for i in range(arguments.actors)]
        crews = [
            Crew(tuple(names[i :: arguments.processes]), sessions, hub.url, bus.config, folder)
            for i in range(arguments.processes)
        ]
        context = multiprocessing.get_context("spawn")
        try:
            pool = ProcessPoolExecutor(len(crews), mp_context=context)
            with pool as processes, ExitStack() as failed:
                failed.callback(_kill, processes)  # nobody would tell these actors to stop any more
                found = await _run(arguments, hub, bus, learner, crews, processes)
                failed.pop_all()
                return found
        finally:
            learner.close()
            await bus.close()


def _kill(processes: ProcessPoolExecutor) -> None:
    for process in processes._processes.values():
        process.kill()


async def _run(
    arguments: Namespace,
    hub: RunningHub,
    bus: CountingBus,
    learner: ConsumingLearner,
    crews: list[Crew],
    processes: ProcessPoolExecutor,
) -> Load:
    samples, door, loop = Samples(), learner.door, asyncio.get_running_loop()
    await learner.announce(0)
    async with (
        HubClient(hub.url, deadline_s=60, calls_per_s=100, max_retries=3) as client,
        background(door.receive(), door.serve(), door.watch(), learner.consume()),
    ):
        playing = [loop.run_in_executor(processes, play, crew) for crew in crews]
        while len(learner.dispatcher.book.actors) < arguments.actors:
            await _still(playing)
        await _still(playing, arguments.warmup * 60)
        began, before, used = time.monotonic(), learner.trajectories, _cpu_s(hub, processes)
        while (seconds := time.monotonic() - began) < arguments.minutes * 60:
            await _still(playing)
            _sample(samples, seconds, hub, processes, learner)
            samples.queues["hub sessions"].append((await client.load(LOAD_S)).sessions)
        trajectories, totals = learner.trajectories - before, dict(learner.dispatcher.tally.totals)
        cpu = {name: (now - used[name]) / seconds for name, now in _cpu_s(hub, processes).items()}
        await door.stop("the time is over")
        diaries = await asyncio.gather(*playing)
        await asyncio.sleep(LAST_WORDS_S)  # what they said last is still being read
    return Load(
        samples,
        sum(diaries, Diary()),
        seconds,
        trajectories,
        bus.heartbeats,
        bus.longest_gap_s,
        totals,
        cpu,
    )


async def _still(playing: list[asyncio.Future[Diary]], seconds: float = SAMPLE_S) -> None:
    """A pause; raises what ended a process of actors that should still play."""
    done, _ = await asyncio.wait(playing, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    for future in done:
        raise RuntimeError(f"actors left early: {future.result()}")


def _sample(
    samples: Samples,
    seconds: float,
    hub: RunningHub,
    processes: ProcessPoolExecutor,
    learner: ConsumingLearner,
) -> None:
    samples.at.append(seconds)
    samples.memory["learner"].append(_alone(psutil.Process()))
    samples.memory["hub"].append(_alone(psutil.Process(hub.pid)))
    samples.memory["workers"].append(sum(_alone(process) for process in hub.descendants()))
    for index, pid in enumerate(sorted(processes._processes)):
        samples.memory[f"actors {index}"].append(_alone(psutil.Process(pid)))
    for name, number in learner.queues().items():
        samples.queues[name].append(number)


def _cpu_s(hub: RunningHub, processes: ProcessPoolExecutor) -> dict[str, float]:
    """Seconds that each kind of process has computed so far."""
    of_hub = hub.cpu()
    actors = sum(sum(psutil.Process(pid).cpu_times()[:2]) for pid in processes._processes)
    return {"learner": time.process_time(), "hub": of_hub.hub, "workers": of_hub.workers, "actors": actors}


def _alone(process: psutil.Process) -> float:
    """MiB that are this process's own."""
    with suppress(psutil.NoSuchProcess):
        return float(process.memory_full_info().uss) / MIB
    return 0.0


def report_of(found: Load, arguments: Namespace) -> Report:
    """The figures, with what they must keep."""
    report = Report("load")
    report.add("load_seconds", found.seconds, "s")
    report.add("load_trajectories_per_s", found.trajectories / found.seconds, "1/s")
    report.add("load_submit_to_ack_p50", found.diary.latency_s(0.5) * 1e3, "ms")
    report.add("load_submit_to_ack_p99", found.diary.latency_s(0.99) * 1e3, "ms")
    report.add("load_submissions_repeated", found.diary.repeated, "")
    report.add("load_faults", found.totals.get("faults", 0), "", at_most=0)
    report.add("load_leases_returned", found.totals.get("returned_leases", 0), "", at_most=0)
    report.add("load_dropped_stale", found.totals.get("dropped_stale", 0), "")
    report.add("load_heartbeats", found.heartbeats, "")
    lost = found.diary.heartbeats - found.heartbeats
    report.add("load_heartbeats_lost", lost, "", at_most=0)
    report.add("load_heartbeat_longest_gap", found.longest_gap_s, "s", at_most=BusConfig().actor_timeout_s)
    for name, cores in found.cpu.items():
        report.add(f"load_{name}_cpu", cores, "cores")
    report.add("load_held_share", found.held_share(arguments.sessions), "", at_least=0.9)
    for name, numbers in found.samples.queues.items():
        report.add(f"load_{name.replace(' ', '_')}_mean", float(np.mean(numbers)), "")
        report.add(f"load_{name.replace(' ', '_')}_max", max(numbers), "")
    for name, held in found.samples.memory.items():
        label = f"load_{name.replace(' ', '_')}"
        report.add(f"{label}_mib", held[-1], "MiB")
        limit = max(SLACK_MIB, GROWTH_PER_MINUTE * held[-1])
        growth = found.samples.growth_per_minute(name)
        report.add(f"{label}_growth", growth, "MiB/min", at_most=limit)
    return report


def main() -> int:
    """Measure, report; 1 when something was lost or grew."""
    arguments = parse(
        __doc__,
        ("--actors", {"type": int, "default": 64}),
        ("--sessions", {"type": int, "default": 2000, "help": "at a time, of all actors together"}),
        ("--minutes", {"type": float, "default": 10.0}),
        ("--warmup", {"type": float, "default": 2.0, "help": "minutes after all have joined, not measured"}),
        ("--processes", {"type": int, "default": 2, "help": "that the actors share"}),
        ("--latency", {"type": float, "default": 8.0, "help": "mean seconds of a step, log-normal"}),
        ("--turns", {"type": int, "default": 5, "help": "of an episode"}),
        ("--directory", {"type": Path, "help": "for ledger and outboxes; the temporary folder by default"}),
    )
    with tempfile.TemporaryDirectory(dir=arguments.directory) as folder:
        found = asyncio.run(load(arguments, Path(folder)))
    report = report_of(found, arguments)
    report.finish(arguments.json)
    missed = [name for name, figure in report.figures.items() if figure.holds is False]
    print("verdict: " + (f"missed {', '.join(missed)}" if missed else f"run {RUN}: all held"))
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
