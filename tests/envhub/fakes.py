"""Environments that misbehave in one way each, for tests of the hub."""

import os
import signal
import subprocess
import sys
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
