"""A template to copy: an environment that runs, with a note wherever yours will differ.

    cp docs/environment_template.py my_world.py
    python -m envhub.contract python:my_world:MyWorld

What is not overridden here has a sensible default in `envhub.environment`: `indexed`, `has_expert`, and of an
episode `picture` and `close`.
"""

from functools import cache
from random import Random
from typing import Any

from envhub.environment import Environment, Episode, ExpertMove, StepResult, prompt_words, unknown_task
from envhub.functions import Function, Functions, Parameter
from envhub.instructions import instructions
from envhub.task import Split, Task

COLOURS = ("red", "green", "blue")
# What the policy is told once. How an answer is written is added by `instructions`, for each format.
RULES = "One of three boxes holds a coin. Name the colour that the note tells, and open that box."
# What is said of a text that is no action: short, and with an example of what would be one.
REFUSAL = "Not an action. Write: open red"
MAX_TURNS = 5
# Every action that the expert takes or `actions` hints at fits one of these templates.
FUNCTIONS = Functions(
    Function("open", "open {colour}", "open a box", (Parameter("colour", "string", "its colour"),)),
    Function("read_note", "read note", "read the note again"),
)


class MyWorld(Environment):
    """What a task is, and what the seed of an episode changes."""

    name = "my_world"
    # Turns that are enough for the longest task, with room for mistakes.
    horizon = 8
    functions = FUNCTIONS
    # What backs it, and under which licence.
    source = "the template of Pronghorn"

    # A constructor, where there is one, is cheap. When a package or a program is missing it raises
    # `common.errors.PreflightError` with the one command that helps; it never plays an imitation.

    def tasks(self, split: Split) -> tuple[Task, ...]:
        """In a frozen order in which every prefix is a fair sample; () for a split that there is not."""
        return tuple(task for task in _tasks().values() if task.split == split)

    def task(self, name: str) -> Task:
        """By name; names that no split lists, such as an id of another program, may be accepted too."""
        if name not in _tasks():
            raise unknown_task(self.name, name, "box-000", _tasks())
        return _tasks()[name]

    def reset(self, task: str, seed: int) -> "MyEpisode":
        """Same task and seed, same episode: on every machine, whatever PYTHONHASHSEED is."""
        # Random seeded with text hashes it by SHA-512. Never `hash()`, never the order of a set or a folder.
        random = Random(f"{self.name}:{self.task(task).name}:{seed}")
        return MyEpisode(random.choice(COLOURS))

    def instructions(self, action_format: str) -> str:
        """The system prompt in each of the four action formats."""
        return instructions(RULES, FUNCTIONS, action_format)

    def vocabulary(self) -> tuple[str, ...]:
        """Every word that can be said: small models are given a tokenizer made of these."""
        said = [
            REFUSAL,
            *COLOURS,
            "The note says: . The box is empty. You found the coin. No turns are left.",
        ]
        return tuple(sorted(prompt_words(self, said)))


class MyEpisode(Episode):
    """What is rewarded, and when it is over. Its state is small: thousands share a process."""

    def __init__(self, colour: str) -> None:
        self._colour = colour
        self._num_turns = 0
        self._is_found = False
        self._observation = self._note()

    @property
    def observation(self) -> str:
        """What was shown last."""
        return self._observation

    def step(self, action: str) -> StepResult:
        """Any text gets an answer; rewards add up to at most 1; after the end nothing changes."""
        meant = action.strip().lower()
        is_malformed = meant not in self.actions()
        was_over = self._is_found or self._num_turns >= MAX_TURNS
        if not was_over:
            # A text that is no action changes nothing in the world. Whether it costs a turn is yours to say.
            self._num_turns += not is_malformed
            self._observation = REFUSAL if is_malformed else self._answer(meant)
        return StepResult(
            observation=self._observation,
            reward=float(self._is_found and not was_over),
            is_terminated=self._is_found,
            # Its own limit of turns, which says nothing about the task.
            is_truncated=not self._is_found and self._num_turns >= MAX_TURNS,
            is_success=self._is_found,
            # On your own scale, so far.
            score=float(self._is_found),
            is_malformed=is_malformed,
        )

    def actions(self) -> tuple[str, ...]:
        """Hints: some actions of the grammar, best those that are possible now."""
        return (*(f"open {colour}" for colour in COLOURS), "read note")

    def expert(self) -> ExpertMove:
        """From any state the next move, with a thought of one line. Without one: `has_expert = False`."""
        return ExpertMove(action=f"open {self._colour}", thought=f"The note says {self._colour}.")

    def render(self) -> str:
        """For people; may show what the policy cannot see."""
        return f"The coin is in the {self._colour} box.\n{self._observation}"

    def detail(self) -> dict[str, Any]:
        """For programs, as JSON values; never the answer where the world hides one."""
        return {"num_turns": self._num_turns, "is_found": self._is_found}

    def _answer(self, action: str) -> str:
        self._is_found = action == f"open {self._colour}"
        if self._is_found:
            return "You found the coin."
        if self._num_turns >= MAX_TURNS:
            return "No turns are left."
        return self._note() if action == "read note" else "The box is empty."

    def _note(self) -> str:
        return f"The note says: {self._colour}."


@cache
def _tasks() -> dict[str, Task]:
    # The split belongs to the name and never changes: add tasks at the end, rename none.
    numbers = range(100)
    return {
        f"box-{n:03d}": Task(name=f"box-{n:03d}", split="test" if n % 5 == 4 else "train") for n in numbers
    }
