"""What encryption costs the bus: the same trajectories and weights with keys and without, turn by turn.

Two processes: an actor that keeps 64 trajectories unacknowledged and then fetches a file of weights; a
learner that validates, acknowledges and serves, and stores nothing, so that only the bus is measured. Every
round measures both ways, one after the other; figures are medians, ratios medians of the rounds' ratios.
"""

import asyncio
import multiprocessing
import statistics
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from benchmarks.bus import RUN, make_trajectory, play
from benchmarks.report import Report, parse
from common import codec
from common.aio import background
from common.bus.config import BusConfig
from common.bus.tcp import TcpLearnerBus
from common.bus.tcp_actor import TcpActorBus
from common.messages import Ack, ChunkRequest, Submit, WeightManifest
from launch.keys import make
from tests.contracts.nets import manifest_of

HOST = "actor-host"


class OneFile:
    """A `WeightSource` of one version."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def find(self, request: ChunkRequest) -> Path:
        """The file, whichever version is asked for."""
        return self._file


def fetch(config: BusConfig, weights: Path, into: Path) -> float:
    """Seconds that one fetch of the file `weights` takes."""
    return asyncio.run(_fetch(config, manifest_of(0, weights.stat().st_size), into))


async def _fetch(config: BusConfig, manifest: WeightManifest, into: Path) -> float:
    bus = TcpActorBus(config, "actor")
    await bus.start()
    began = time.perf_counter()
    await bus.fetch_weights(manifest, into)
    seconds = time.perf_counter() - began
    await bus.close()
    await asyncio.to_thread(into.unlink)
    return seconds


async def measure(
    processes: ProcessPoolExecutor, folder: Path, keys: bool, num: int, num_turns: int
) -> tuple[float, float]:
    """Seconds for `num` trajectories and for the file of weights."""
    config = BusConfig(keys=str(folder / "keys" / "learner") if keys else "")
    bus = TcpLearnerBus(config, RUN, OneFile(folder / "weights"))
    await bus.start()
    theirs = bus.config.model_copy(update={"keys": str(folder / "keys" / "hosts" / HOST) if keys else ""})
    loop = asyncio.get_running_loop()
    async with background(_acknowledge(bus)):
        seconds, _ = await loop.run_in_executor(processes, play, theirs, num, num_turns)
        fetched = await loop.run_in_executor(processes, fetch, theirs, folder / "weights", folder / "copy")
    assert bus.refused == 0, bus.refused
    await bus.close()
    return seconds, fetched


async def _acknowledge(bus: TcpLearnerBus) -> None:
    while True:
        actor, message = await bus.receive()
        if isinstance(message, Submit):
            await bus.send(actor, Ack(identity=message.trajectory.identity))


def main() -> None:
    """Measure and report."""
    arguments = parse(
        __doc__,
        ("--trajectories", {"type": int, "default": 3000, "help": "how many are sent each time"}),
        ("--turns", {"type": int, "default": 10, "help": "turns of 200 tokens each"}),
        ("--weights-mb", {"type": int, "default": 256, "help": "size of the file that is fetched"}),
        ("--rounds", {"type": int, "default": 3, "help": "with and without keys, so many times"}),
    )
    num, num_turns, size = arguments.trajectories, arguments.turns, arguments.weights_mb * 1_000_000
    num_bytes = sum(map(len, codec.encode(Submit(trajectory=make_trajectory(0, num_turns)))))
    found: dict[bool, list[tuple[float, float]]] = {False: [], True: []}
    context = multiprocessing.get_context("spawn")
    with (
        ProcessPoolExecutor(1, mp_context=context) as processes,
        # In memory, so that the disk is not what is measured.
        tempfile.TemporaryDirectory(dir="/dev/shm", prefix="pronghorn-benchmark-") as name,
    ):
        folder = Path(name)
        make(folder / "keys", [HOST])
        (folder / "weights").write_bytes(bytes(size))
        for _ in range(arguments.rounds):
            for keys in (False, True):
                found[keys].append(asyncio.run(measure(processes, folder, keys, num, num_turns)))
    report = Report("encryption")
    for keys, name in ((False, "plain"), (True, "encrypted")):
        report.add(f"{name}_trajectories_per_s", statistics.median(num / s for s, _ in found[keys]), "1/s")
        report.add(
            f"{name}_weights_mb_per_s", statistics.median(size / 1e6 / s for _, s in found[keys]), "MB/s"
        )
    pairs = list(zip(found[False], found[True], strict=True))
    report.add("trajectories_ratio", statistics.median(p[0] / e[0] for p, e in pairs), "ratio")
    report.add("weights_ratio", statistics.median(p[1] / e[1] for p, e in pairs), "ratio")
    report.add("trajectory_bytes", num_bytes, "B")
    report.finish(arguments.json)


if __name__ == "__main__":
    main()
