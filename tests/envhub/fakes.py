"""Environments that misbehave in one way each, for tests of the hub."""

import subprocess
import sys

from common.errors import PreflightError
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


class MissingEnvironment(HoardingEnvironment):
    """Its package is not installed."""

    def __init__(self) -> None:
        raise PreflightError("environment imagined: the package imagined is missing; pip install imagined")
