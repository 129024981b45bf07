"""`python:tests.chaos.world:World`: a world in which every action has another reward, so that what is trained
depends on each of them: one episode lost, repeated or changed, and the parameters are others.
"""

from hashlib import blake2b

from envhub.environment import Environment, Episode, ExpertMove, StepResult, prompt_words, unknown_task
from envhub.functions import Function, Functions, Parameter
from envhub.instructions import instructions
from envhub.task import Split, Task

NUM_TASKS = 40
FUNCTIONS = Functions(
    Function("say", "say {number}", "say a number", (Parameter("number", "integer"),)),
)


class World(Environment):
    """Forty tasks; the reward of an action is a hash of task, seed, turn and action, from 0 to 1."""

    name, horizon, functions = "chaos", 8, FUNCTIONS

    def tasks(self, split: Split) -> tuple[Task, ...]:
        """Numbered; every fifth one is for the test split."""
        every = (Task(name=f"chaos-{i}", split="train" if i % 5 else "test") for i in range(NUM_TASKS))
        return tuple(task for task in every if task.split == split)

    def task(self, name: str) -> Task:
        """By name, `chaos-7`."""
        found = {task.name: task for split in ("train", "test") for task in self.tasks(split)}
        if name not in found:
            raise unknown_task(self.name, name, "chaos-7", found)
        return found[name]

    def reset(self, task: str, seed: int) -> "Told":
        """Begin; the seed changes the rewards."""
        return Told(self.task(task).name, seed)

    def instructions(self, action_format: str) -> str:
        """One sentence."""
        return instructions("Say numbers.", FUNCTIONS, action_format)

    def vocabulary(self) -> tuple[str, ...]:
        """What is said to the policy."""
        return tuple(sorted(prompt_words(self, ["0 1 2 3 4 5 6 7 8 9 heard turn say"])))


class Told(Episode):
    """Every action is answered, none ends the episode."""

    observation = ""

    def __init__(self, task: str, seed: int) -> None:
        self._place = f"{task}/{seed}"
        self._score = 0.0
        self._turn = 0
        self.observation = "turn 0"

    def step(self, action: str) -> StepResult:
        """Reward whatever was said."""
        self._turn += 1
        self.observation = f"heard turn {self._turn}"
        digest = blake2b(f"{self._place}/{self._turn}/{action}".encode(), digest_size=4).digest()
        reward = int.from_bytes(digest, "big") / 2**32
        self._score += reward
        return StepResult(observation=self.observation, reward=reward, score=self._score)

    def actions(self) -> tuple[str, ...]:
        """A few of the many."""
        return tuple(f"say {number}" for number in range(10))

    def expert(self) -> ExpertMove:
        """Nothing is better than anything else by a rule."""
        return ExpertMove(action="say 1")
