"""Environments that misbehave in one way each, for tests of the hub."""

import json
import os
import resource
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

from common.errors import EnvironmentFault, PreflightError
from envhub.environment import Environment, Episode, StepResult
from envhub.functions import Function, Functions
from envhub.task import Split, Task


class HoardingEnvironment(Environment):
    """Takes memory when it is asked to."""

    name = "hoarding"
    horizon = 5
    functions = Functions(Function("wait", "wait", "nothing"))

    def tasks(self, split: Split) -> tuple[Task, ...]:
        return (Task(name="hoard", split="train"),) if split == "train" else ()

    def task(self, name: str) -> Task:
        return Task(name="hoard", split="train")

    def reset(self, task: str, seed: int) -> "HoardingEpisode":
        return HoardingEpisode()

    def instructions(self, action_format: str) -> str:
        return ""

    def vocabulary(self) -> tuple[str, ...]:
        return ()


class HoardingEpisode(Episode):
    """Two ways to hold too much."""

    observation = "I hold things."

    def __init__(self) -> None:
        self._held: list[object] = []

    def step(self, action: str) -> StepResult:
        if action == "a gibibyte":
            self._held.append(b"x" * (1 << 30))
        if action == "in a child":
            code = "held = b'x' * (120 << 20); print(flush=True); input()"
            child = subprocess.Popen(
                [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
            )
            assert child.stdout is not None
            child.stdout.readline()
            self._held.append(child)
        return StepResult(observation=self.observation)


class MisspeakingEnvironment(HoardingEnvironment):
    """Says what no wire can carry, and leaves things behind."""

    def reset(self, task: str, seed: int) -> "MisspeakingEpisode":
        if seed == 1:
            raise ValueError("/secret/path")
        return MisspeakingEpisode(5 if seed == 2 else "I speak.")


class MisspeakingEpisode(Episode):
    """What it says depends on what it is told; `closed` counts."""

    observation = ""
    closed = 0

    def __init__(self, observation: object) -> None:
        self.observation = observation  # type: ignore[assignment]

    def step(self, action: str) -> StepResult:
        if action == "leave a child":
            subprocess.Popen(["sleep", "300"], close_fds=False)
        if action == "break":
            raise EnvironmentFault("it broke\n" + "and broke " * 999)
        if action == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        said = {"half a pair": "cut \ud83d here", "too much": "x" * (65 << 20)}.get(action, action)
        return StepResult(observation=said)

    def actions(self) -> tuple[str, ...]:
        return {1: "left"}  # type: ignore[return-value]

    def render(self) -> str:
        raise ValueError("/secret/path")

    def detail(self) -> dict[str, object]:
        raise ValueError("/secret/path")

    def close(self) -> None:
        MisspeakingEpisode.closed += 1
        if mark := os.environ.get("CLOSED_MARK"):
            Path(mark).write_text("closed")


class MissingEnvironment(HoardingEnvironment):
    """Its package is not installed."""

    def __init__(self) -> None:
        raise PreflightError("environment imagined: the package imagined is missing; pip install imagined")


class VersionedEnvironment(HoardingEnvironment):
    """Its prompt is that of `WORLD_VERSION`."""

    def instructions(self, action_format: str) -> str:
        return os.environ.get("WORLD_VERSION", "")


class GreedyEnvironment(HoardingEnvironment):
    """Takes of a machine what it is told to take."""

    @property
    def source(self) -> str:
        """The network that it is described in."""
        return os.readlink("/proc/self/ns/net")

    def reset(self, task: str, seed: int) -> "GreedyEpisode":
        return GreedyEpisode()


class GreedyEpisode(HoardingEpisode):
    """An action is a method and its arguments, such as `children 3`; shown is what it returns."""

    def step(self, action: str) -> StepResult:
        what, _, rest = action.partition(" ")
        return StepResult(observation=str(getattr(self, f"_{what}")(*rest.split())))

    def _children(self, number: str) -> int:
        """Each in a session of its own, and its parent gone: its ancestry alone is left to find it by."""
        code = f"import os, time\nfor _ in range({number}):\n    os.fork() or (os.setsid(), time.sleep(600))"
        subprocess.run([sys.executable, "-c", code], check=True)
        return int(number)

    def _orphans(self, number: str) -> int:
        """They have ended, their parent too, and nobody waits for them."""
        code = f"import os\nfor _ in range({number}):\n    os.fork() or os._exit(0)\nos._exit(0)"
        subprocess.run([sys.executable, "-c", code], check=True)
        return int(number)

    def _terminate(self) -> int:
        child = subprocess.Popen(["sleep", "600"])
        child.terminate()
        return child.wait(10)

    def _speak(self, said: str) -> int:
        """To the hub, past all that keeps a worker's answers in form."""
        return os.write(json.loads(sys.argv[1])["pipe"], bytes.fromhex(said))

    def _deep(self, number: str) -> int:
        """One folder in the other, far beyond the longest path that there may be."""
        here = os.getcwd()
        os.chdir(tempfile.gettempdir())
        for _ in range(int(number)):
            os.mkdir("d")
            os.chdir("d")
        os.chdir(here)
        return int(number)

    def _files(self, number: str) -> int:
        self._held += [open(os.devnull) for _ in range(int(number))]  # noqa: SIM115
        return int(number)

    def _disk(self, number: str) -> int:
        for index in range(int(number)):
            Path(tempfile.gettempdir(), f"{index}").write_bytes(b"x" * (1 << 20))
        return int(number)

    def _file(self, mib: str) -> int:
        return Path(tempfile.gettempdir(), "large").write_bytes(b"x" * (int(mib) << 20))

    def _variable(self, name: str) -> str:
        return os.environ.get(name, "unset")

    def _folder(self) -> str:
        return tempfile.gettempdir()

    def _umask(self) -> str:
        return oct(os.stat(tempfile.mkdtemp()).st_mode & 0o777)

    def _status(self, name: str) -> str:
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(line.split()[1] for line in lines if line.startswith(f"{name}:"))

    def _core(self) -> int:
        return resource.getrlimit(resource.RLIMIT_CORE)[1]

    def _connect(self, host: str, port: str) -> str:
        try:
            socket.create_connection((host, int(port)), timeout=2).close()
        except OSError as error:
            return type(error).__name__
        return "connected"

    def _loopback(self) -> str:
        with socket.create_server(("127.0.0.1", 0)) as server:
            return self._connect("127.0.0.1", str(server.getsockname()[1]))

    def _parent(self) -> str:
        try:
            return str(len(Path(f"/proc/{os.getppid()}/environ").read_bytes()))
        except OSError as error:
            return type(error).__name__

    def _hang(self, port: str) -> None:
        self._connect("127.0.0.1", port)
        while True:
            pass
