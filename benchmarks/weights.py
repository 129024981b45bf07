"""A weight update, end to end: how long until the new policy samples, and what generation loses by it.

A learner (the publisher over a real trainer, store and TCP bus) updates an actor in another process (TCP
bus, weight sync, vLLM) whose engine always holds 32 requests: 31 sessions that play group after group of
invented episodes, as long as those of a run of the configuration, and a probe that asks for single tokens.

One update, by `time.monotonic`, which the processes of one machine share; medians over all updates:
  write        the optimizer step has ended -> gathered and in shared memory, about to be announced
  hear         -> the announcement has come out of the actor's bus
  verify       -> every checksum of the file has been compared, the engine is asked to load it
  load         -> loaded and resumed; `paused` is the part of it in which generation stood still
  first_token  -> a request has come back that the new version sampled. The probe waits inside the engine
               while that is paused, so this is the end of the first engine step on the new weights.

Lost time: windows with one update and with none take turns; each begins with an optimizer step on one tiny
batch. The tokens that are missing, as seconds of generation without updates, cover the pause and all that is
slower before and after it, such as prefixes that are computed anew. The share is of the time from one update
to the next: `--cadence` seconds, by default what a step of that run takes on two cores. `by_cpu` counts
tokens per processor second of the engine instead: on a busy machine the steadier of the two.
"""

import asyncio
import itertools
import multiprocessing
import statistics
import tempfile
import time
import timeit
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import psutil

from benchmarks.parts.busy_actor import ACTOR, STAGES, Diary, Episodes, act, words
from benchmarks.report import Report, parse
from common.aio import background
from common.bus.config import BusConfig
from common.bus.tcp import TcpLearnerBus
from common.config import load
from common.messages import Hello, PolicyAnnouncement, Sampling, Stop
from common.weights.store import WeightStore
from envhub.envs.textcraft.workshop import WorkshopTextCraft
from learner.batch import TrainingSequence
from learner.config import LearnerRoleConfig
from learner.model_source import make_small
from learner.packing import pack
from learner.publisher import Publisher
from learner.ranks import TrainerThread, open_trainer
from learner.smollm2 import smollm2_folder

SETTLE_S = 5.0
GOAL = 0.05
CONFIGS = Path(__file__).parent.parent / "configs"


@dataclass(frozen=True)
class Subject:
    """A configuration and how it is measured."""

    episodes: Episodes
    cadence_s: float
    """From one optimizer step to the next in a run."""
    window_s: float
    """At least as long as an update is felt."""
    num_pairs: int


SUBJECTS = {
    "quickstart": Subject(Episodes(CONFIGS / "quickstart.toml", 45, 7, 10, 5), 3.0, 3.0, 12),
    "smollm2": Subject(Episodes(CONFIGS / "textcraft_smollm2.toml", 345, 11, 15, 6), 100.0, 20.0, 3),
}


@dataclass
class Lead:
    """The learner's side: a window is with an update or not, with its begin, end and engine seconds."""

    subject: Subject
    trainer: TrainerThread
    publisher: Publisher
    steps_ended: dict[int, float] = field(default_factory=dict)
    windows: list[tuple[bool, float, float, float]] = field(default_factory=list)

    async def measure(self) -> None:
        """Two updates to warm up, then all windows; which one of a pair comes first alternates."""
        orders = itertools.cycle([(False, True), (True, False)])
        order = itertools.chain.from_iterable(itertools.islice(orders, self.subject.num_pairs))
        for version, is_updated in enumerate([True, True, *order], 1):
            begin, cpu_s = time.monotonic(), _engine_cpu_s()
            await self.trainer.step(pack([_sequence()], microbatch_tokens=64), version, 1.0)
            if is_updated:
                self.steps_ended[version] = time.monotonic()
                await self.publisher.publish(version, horizon=10, finished_at=time.time())
            length = SETTLE_S if version <= 2 else self.subject.window_s
            await asyncio.sleep(begin + length - time.monotonic())
            self.windows.append((is_updated, begin, time.monotonic(), _engine_cpu_s() - cpu_s))
        del self.windows[:2], self.steps_ended[1], self.steps_ended[2]
        # What is in flight at the end of the last window must return to be counted.
        await asyncio.sleep(SETTLE_S)


def _engine_cpu_s() -> float:
    """Processor seconds of vLLM's own process, which the actor's process has started."""
    engines = (engine for actor in psutil.Process().children() for engine in actor.children(recursive=True))
    return float(sum(sum(engine.cpu_times()[:2]) for engine in engines))


def _sequence() -> TrainingSequence:
    is_action = np.arange(32) >= 16
    return TrainingSequence.of(
        tokens=words(np.random.default_rng(0), 32),
        is_action=is_action,
        is_trained=is_action,
        behaviour_logprobs=np.where(is_action, -5, 0).astype(np.float32),
        advantages=is_action.astype(np.float32),
        versions=np.where(is_action, 0, -1).astype(np.int32),
    )


class NotingLearnerBus(TcpLearnerBus):
    """Notes when the weights are written and their announcement goes out."""

    diary: Diary
    num_bytes = 0

    async def announce(self, announcement: PolicyAnnouncement) -> None:
        """As `LearnerBus.announce`."""
        self.diary.note("write", announcement.version)
        self.num_bytes = announcement.manifest.num_bytes if announcement.manifest else 0
        await super().announce(announcement)


async def run(subject: Subject, model: Path, folder: Path) -> tuple[Lead, Diary, int]:
    """Learner and actor from start to stop: what both saw, and the bytes of one update."""
    config = load(LearnerRoleConfig, [subject.episodes.config])
    loop, spawn = asyncio.get_running_loop(), multiprocessing.get_context("spawn")
    with WeightStore(folder) as store, ProcessPoolExecutor(1, mp_context=spawn) as processes:
        bus = NotingLearnerBus(BusConfig(), "benchmark", store)
        bus.diary = Diary()
        await bus.start()
        acting = loop.run_in_executor(processes, act, subject.episodes, model, bus.config)
        try:
            async with TrainerThread(lambda: open_trainer(model, config.learner, config.model)) as trainer:
                publisher = Publisher(bus, store, trainer, Sampling(), config.model.dtype)
                lead = Lead(subject, trainer, publisher)
                async with background(_watch(acting)):
                    while not isinstance((await bus.receive())[1], Hello):
                        pass
                    await lead.measure()
            await bus.send(ACTOR, Stop())
            diary = await acting
        finally:
            await bus.close()
    diary.ended["write"] = bus.diary.ended["write"]
    return lead, diary, bus.num_bytes


async def _watch(acting: "asyncio.Future[Diary]") -> None:
    """Fail as soon as the actor's process does."""
    await asyncio.shield(acting)


def add_seconds(report: Report, name: str, lead: Lead, diary: Diary, num_bytes: int) -> None:
    """Seconds of one update, of its stages, and their ratio to a plain copy of as many bytes, cache warm."""
    kept = [v for v in lead.steps_ended if all(v in ended for ended in diary.ended.values())]
    instants = [[lead.steps_ended[v], *(diary.ended[stage][v] for stage in STAGES)] for v in kept]
    source, target = np.ones(num_bytes, np.uint8), np.zeros(num_bytes, np.uint8)
    copy_s = statistics.median(timeit.repeat(lambda: np.copyto(target, source), number=1, repeat=9))
    whole_s = statistics.median(at[-1] - at[0] for at in instants)
    report.add(f"weights_{name}_bytes", num_bytes, "B")
    report.add(f"weights_{name}_plain_copy_s", copy_s, "s")
    report.add(f"weights_{name}_step_to_first_token_s", whole_s, "s")
    report.add(f"weights_{name}_over_plain_copy", whole_s / copy_s, "ratio")
    for number, stage in enumerate(STAGES):
        stage_s = statistics.median(at[number + 1] - at[number] for at in instants)
        report.add(f"weights_{name}_{stage}_s", stage_s, "s")
    report.add(f"weights_{name}_paused_s", statistics.median(diary.paused_s[v] for v in kept), "s")


def add_losses(report: Report, name: str, lead: Lead, diary: Diary, cadence_s: float) -> None:
    """The time lost by the wall clock and by the engine's processor time, with its standard error."""
    window_s = lead.subject.window_s
    windows = [(w, diary.tokens(begin, end), end - begin, cpu_s) for w, begin, end, cpu_s in lead.windows]
    for clock, column in (("", 2), ("_by_cpu", 3)):
        rates = [(window[0], window[1] / window[column]) for window in windows]
        pairs = [dict(rates[i : i + 2]) for i in range(0, len(rates), 2)]
        free = statistics.mean(pair[False] for pair in pairs)
        lost_s = window_s * (1 - statistics.mean(pair[True] for pair in pairs) / free)
        error_s = window_s * statistics.stdev(pair[True] / pair[False] for pair in pairs) / len(pairs) ** 0.5
        report.add(f"weights_{name}_tokens_per_s{clock}", free, "1/s")
        report.add(f"weights_{name}_lost_s{clock}", lost_s, "s")
        report.add(f"weights_{name}_lost_error_s{clock}", error_s, "s")
        report.add(
            f"weights_{name}_share_lost{clock}", lost_s / cadence_s, "", at_most=None if clock else GOAL
        )


def main() -> None:
    """Measure the models asked for."""
    choices = {"choices": tuple(SUBJECTS), "nargs": "+", "default": list(SUBJECTS)}
    cadence = {"type": float, "help": "seconds from one update to the next, for all models"}
    arguments = parse(__doc__, ("--models", choices), ("--cadence", cadence))
    report = Report("weights")
    for name in arguments.models:
        subject = SUBJECTS[name]
        config = load(LearnerRoleConfig, [subject.episodes.config]).model
        with tempfile.TemporaryDirectory() as folder:
            model = Path(folder) / "model" if config.source == "small" else smollm2_folder()
            if config.source == "small":
                make_small(model, config.small, WorkshopTextCraft().vocabulary(), dtype=config.dtype, seed=0)
            lead, diary, num_bytes = asyncio.run(run(subject, model, Path(folder)))
        add_seconds(report, name, lead, diary, num_bytes)
        add_losses(report, name, lead, diary, arguments.cadence or subject.cadence_s)
    report.finish(arguments.json)


if __name__ == "__main__":
    main()
