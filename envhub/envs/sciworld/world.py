"""One world of the simulator: a variation of a task, being played."""

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from envhub.envs.sciworld.jvm import Jvm, SimulatorError


@dataclass(frozen=True)
class Outcome:
    """What one action did."""

    text: str
    score: int
    """From 0 to 100, or -100 when the task is lost."""
    is_completed: bool


class World:
    """One play of one variation of one task."""

    def __init__(
        self, jvm: Jvm, task: str, variation: int, *, has_gold: bool = False, is_lean: bool = True
    ) -> None:
        self._jvm, self._task = jvm, task
        self.next_id = 0
        """The number of the next object, while another world is played."""
        with jvm.entered():
            self.random = jvm.new_random()
        # Even making the interface draws random numbers and ids: none of another world's.
        with jvm.entered(self):
            self._interface = jvm.new_interface()
            if has_gold:
                jvm.forget_searches()
            mistake = self._interface.load(task, variation, "", has_gold)
            if is_lean:
                # All tasks of the simulator, 11 MB, which only loading and the sets of variations look at.
                getattr(self._interface, "taskMaker_$eq")(None)
        if mistake:
            self.release()
            raise SimulatorError(f"{task} variation {variation}: {mistake}")

    def step(self, action: str) -> Outcome:
        """Take one action."""
        with self._jvm.entered(self):
            text = self._interface.step(action)
            score, is_completed = self._interface.getScore(), self._interface.getCompleted()
        return Outcome(text, round(100 * score), is_completed or score < 0)

    def is_broken(self) -> bool:
        """Whether an action made the simulator fail; then this world answers nothing else."""
        with self._jvm.entered(self):
            option = self._interface.agentInterface()
            engine = option.get()
            is_broken = bool(engine.isInErrorState())
            self._jvm.detach(option, engine)
        return is_broken

    def description(self) -> str:
        """The task in words."""
        return self._text("getTaskDescription")

    def look(self) -> str:
        """What `look around` shows, at no cost."""
        return self._text("freeActionLook")

    def inventory(self) -> str:
        """What is carried, at no cost."""
        return self._text("freeActionInventory")

    def goals(self) -> str:
        """The simulator's own table of sub-goals; it gives answers away."""
        return self._text("getGoalProgressStr")

    def moves(self) -> int:
        """Ticks of the world so far: waiting takes many, looking none."""
        with self._jvm.entered(self):
            return int(self._interface.getNumMoves())

    def templates(self) -> list[str]:
        """The kinds of action, such as `open OBJ`."""
        return self._list("getPossibleActions")

    def objects(self) -> list[str]:
        """What `OBJ` may be here."""
        return self._list("getPossibleObjects")

    def valid_actions(self) -> list[str]:
        """Every action that the simulator would take now; takes a tenth of a second."""
        return self._list("getValidActionObjectCombinations")

    def gold(self) -> list[str]:
        """Actions from the beginning to a score of 100, of a world that was loaded with them."""
        return self._list("getGoldActionSequence")

    def num_variations(self) -> int:
        """How many variations its task has."""
        with self._jvm.entered(self):
            return int(self._interface.getTaskMaxVariations(self._task))

    def variations(self, part: Literal["Train", "Test"]) -> list[int]:
        """The variations of its task that are in one of the simulator's own sets."""
        with self._jvm.entered(self):
            return self._jvm.numbers(getattr(self._interface, f"getVariations{part}")())

    def tree(self) -> str:
        """Every object of the world and what it is in, as JSON."""
        with tempfile.TemporaryDirectory() as folder, self._jvm.entered(self):
            self._interface.getObjectTree(folder)
            return (Path(folder) / "objectTree.json").read_text()

    def release(self) -> None:
        """Let go of it; a JVM that is gone needs nothing."""
        self._jvm.release(self, self._interface, self.random)

    def _text(self, method: str) -> str:
        with self._jvm.entered(self):
            return str(getattr(self._interface, method)())

    def _list(self, method: str) -> list[str]:
        with self._jvm.entered(self):
            return self._jvm.joined(getattr(self._interface, method)())
