"""How many trajectories per second the bus delivers, from submission to an acknowledgement that is true.

Two processes: an actor that keeps `WINDOW` trajectories unacknowledged, and a learner that validates each,
commits it to the ledger (SQLite, write-ahead log, synchronous = FULL: flushed to the disk) and acknowledges
it. What queued up meanwhile shares a transaction, as in `learner/door.py`. In the same run the same bytes go
through bare pyzmq sockets, acknowledged but neither validated nor stored: the floor that the machine sets.
"""

import asyncio
import multiprocessing
import statistics
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import zmq

from benchmarks.report import Report, parse
from common import codec
from common.aio import background
from common.bus.config import BusConfig
from common.bus.tcp import TcpLearnerBus
from common.bus.tcp_actor import TcpActorBus
from common.messages import Ack, FromActor, Goodbye, Hello, Submit
from common.trajectory import Member, TaskReference, Trajectory, Turn, VersionSpan
from learner.ledger import Ledger

RUN = "benchmark"
TASK = TaskReference(environment="textcraft", task="craft.1")
HORIZON = 20
GROUP_SIZE = 8
WINDOW = 64
"""Unacknowledged trajectories; also the most that share a transaction."""
NUM_LATENCIES = 100


def make_trajectory(number: int, num_turns: int, num_prompt: int = 160, num_actions: int = 40) -> Trajectory:
    """Member `number` of the run: `num_turns` turns of 200 tokens."""
    turn = Turn(
        prompt_tokens=np.arange(num_prompt, dtype=np.int32),
        action_tokens=np.arange(num_actions, dtype=np.int32),
        behaviour_logprobs=np.linspace(-3, 0, num_actions, dtype=np.float32),
        versions=(VersionSpan(version=0, num_tokens=num_actions),),
        is_stopped=True,
        observation="Inventory: [oak log] (2) " * 8,
        action="Thought: I need planks.\nAction: craft 4 oak planks using 1 oak log",
    )
    return Trajectory(
        identity=Member(run=RUN, group=number // GROUP_SIZE, member=number % GROUP_SIZE),
        task=TASK,
        horizon=HORIZON,
        turns=(turn,) * num_turns,
        outcome="terminated",
        actor="actor",
    )


# --- the actor's process ---------------------------------------------------------------------


def play(config: BusConfig, num: int, num_turns: int) -> tuple[float, list[float]]:
    """Submit `num` trajectories; (seconds from the first submission to the last ack, latencies alone)."""
    return asyncio.run(_play(config, num, num_turns))


async def _play(config: BusConfig, num: int, num_turns: int) -> tuple[float, list[float]]:
    trajectories = [make_trajectory(number, num_turns) for number in range(num + NUM_LATENCIES)]
    bus = TcpActorBus(config, "actor")
    await bus.start()
    try:
        credits = asyncio.Semaphore(WINDOW)
        async with background(_collect(bus, credits, num)):
            began = time.perf_counter()
            for trajectory in trajectories[:num]:
                await credits.acquire()
                await bus.send(Submit(trajectory=trajectory))
            for _ in range(WINDOW):
                await credits.acquire()
            seconds = time.perf_counter() - began
        latencies = []
        for trajectory in trajectories[num:]:
            sent = time.perf_counter()
            await bus.send(Submit(trajectory=trajectory))
            await bus.receive()
            latencies.append(time.perf_counter() - sent)
    finally:
        await bus.close()
    return seconds, latencies


async def _collect(bus: TcpActorBus, credits: asyncio.Semaphore, num: int) -> None:
    for _ in range(num):
        ack = await bus.receive()
        assert isinstance(ack, Ack), ack
        assert not ack.is_duplicate
        credits.release()


def push(port: int, num: int, num_turns: int) -> float:
    """The same bytes over a bare DEALER; seconds from the first to the last acknowledgement."""
    frames = codec.encode(Submit(trajectory=make_trajectory(0, num_turns)))
    with zmq.Context() as context, context.socket(zmq.DEALER) as socket:
        socket.connect(f"tcp://127.0.0.1:{port}")
        socket.send(b"")
        socket.recv()
        began = time.perf_counter()
        for number in range(num + WINDOW):
            if number >= WINDOW:
                socket.recv()
            if number < num:
                socket.send_multipart(frames, copy=False)
        return time.perf_counter() - began


# --- the learner's process -------------------------------------------------------------------


class Receiver:
    """Commits and acknowledges whatever arrives, until the actor says Goodbye."""

    def __init__(self, bus: TcpLearnerBus, ledger: Ledger) -> None:
        self._bus = bus
        self._ledger = ledger
        self._inbox: asyncio.Queue[tuple[str, FromActor]] = asyncio.Queue(WINDOW)

    async def run(self) -> None:
        """Until Goodbye: receive and commit side by side."""
        async with background(self._receive()):
            while True:
                batch = [await self._inbox.get()]
                while not self._inbox.empty():
                    batch.append(self._inbox.get_nowait())
                submitted = [m.trajectory for _, m in batch if isinstance(m, Submit)]
                arrivals = await asyncio.to_thread(self._ledger.commit_submissions, submitted, 0)
                for arrival in arrivals:
                    assert arrival.verdict == "stored", arrival.verdict
                    await self._bus.send("actor", Ack(identity=arrival.trajectory.identity))
                if any(isinstance(m, Goodbye) for _, m in batch):
                    return

    async def _receive(self) -> None:
        while True:
            actor, message = await self._bus.receive()
            if not isinstance(message, Hello):
                await self._inbox.put((actor, message))


async def measure_bus(
    processes: ProcessPoolExecutor, directory: Path, num: int, num_turns: int
) -> tuple[float, list[float]]:
    """As `play`, with the ledger in `directory`."""
    ledger = Ledger(directory / "ledger.sqlite", RUN)
    num_groups = -(-(num + NUM_LATENCIES) // GROUP_SIZE)
    ledger.open_groups(
        [TASK] * num_groups, purpose="training", label="", horizon=HORIZON, size=GROUP_SIZE, version=0
    )
    bus = TcpLearnerBus(BusConfig(), RUN)
    await bus.start()
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(Receiver(bus, ledger).run())
            played = asyncio.get_running_loop().run_in_executor(processes, play, bus.config, num, num_turns)
            return await played
    finally:
        await bus.close()
        ledger.close()


def measure_pyzmq(processes: ProcessPoolExecutor, num: int, num_turns: int) -> float:
    """As `push`, answered by a bare ROUTER in this process."""
    with zmq.Context() as context, context.socket(zmq.ROUTER) as socket:
        port = socket.bind_to_random_port("tcp://127.0.0.1")

        def answer() -> None:
            for _ in range(num + 1):
                identity = socket.recv_multipart()[0]
                socket.send_multipart([identity, b"ack"])

        thread = threading.Thread(target=answer)
        thread.start()
        seconds = processes.submit(push, port, num, num_turns).result()
        thread.join()
    return seconds


def measure_codec(num_turns: int, repeats: int = 200) -> tuple[float, float]:
    """Seconds to (encode, decode and validate) one trajectory, median."""
    message = Submit(trajectory=make_trajectory(0, num_turns))
    frames = codec.encode(message)
    encoding = [_timed(lambda: codec.encode(message)) for _ in range(repeats)]
    decoding = [_timed(lambda: codec.decode(frames, Submit)) for _ in range(repeats)]
    return statistics.median(encoding), statistics.median(decoding)


def _timed(call: Callable[[], object]) -> float:
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def main() -> None:
    """Measure and report."""
    arguments = parse(
        __doc__,
        ("--trajectories", {"type": int, "default": 4000, "help": "how many are sent"}),
        ("--turns", {"type": int, "default": 10, "help": "turns of 200 tokens each"}),
        ("--directory", {"type": Path, "help": "where the ledger lies; the temporary folder by default"}),
    )
    num, num_turns = arguments.trajectories, arguments.turns
    num_bytes = sum(len(f) for f in codec.encode(Submit(trajectory=make_trajectory(0, num_turns))))
    context = multiprocessing.get_context("spawn")
    with (
        ProcessPoolExecutor(1, mp_context=context) as processes,
        tempfile.TemporaryDirectory(dir=arguments.directory) as folder,
    ):
        raw = measure_pyzmq(processes, num, num_turns)
        seconds, latencies = asyncio.run(measure_bus(processes, Path(folder), num, num_turns))
    encode_s, decode_s = measure_codec(num_turns=40)
    report = Report("bus")
    report.add("bus_trajectories_per_s", num / seconds, "1/s")
    report.add("bus_bytes_per_s", num * num_bytes / seconds, "B/s")
    report.add("bus_ack_latency_ms", statistics.median(latencies) * 1e3, "ms")
    report.add("pyzmq_trajectories_per_s", num / raw, "1/s")
    report.add("pyzmq_bytes_per_s", num * num_bytes / raw, "B/s")
    report.add("bus_over_pyzmq", raw / seconds, "ratio")
    report.add("bus_trajectory_bytes", num_bytes, "B")
    report.add("codec_encode_8000_tokens_us", encode_s * 1e6, "us", at_most=1000)
    report.add("codec_decode_8000_tokens_us", decode_s * 1e6, "us")
    report.finish(arguments.json)


if __name__ == "__main__":
    main()
