"""`sciworld`: ScienceWorld's thirty kinds of experiment, 7,207 tasks, on the real simulator."""

from envhub.environment import Environment, out_of_range, prompt_words, unknown_task
from envhub.envs.sciworld.episode import SciWorldEpisode
from envhub.envs.sciworld.expert import THOUGHTS
from envhub.envs.sciworld.jvm import jar
from envhub.envs.sciworld.tasks import at, find, kinds, listed, num_indices
from envhub.envs.sciworld.texts import BROKEN, FUNCTIONS, MAX_NUMBER, NO_MATCH, RULES, simulator_words
from envhub.instructions import instructions
from envhub.task import Split, Task


class SciWorld(Environment):
    """The task fixes the episode; the seed is not used."""

    name = "sciworld"
    horizon = 200
    functions = FUNCTIONS
    source = "PyPI's scienceworld 1.2.3 (Apache-2.0), which needs Java"

    def __init__(self) -> None:
        # Only looks whether everything is there: the first episode starts the JVM.
        jar()

    def tasks(self, split: Split) -> tuple[Task, ...]:
        """The simulator's own train and test sets of the 23 kinds that AgentGym has; kinds take turns."""
        return listed(split)

    def task(self, name: str) -> Task:
        """By name, `boil-var7`, all 30 kinds; or by AgentGym's index, `sciworld_7`."""
        found = find(name)
        if found is None:
            near = (f"{kind.name}-var0" for kind in kinds().values())
            raise unknown_task(self.name, name, "boil-var7", near)
        kind, variation = found
        return kind.task(variation)

    def indexed(self, index: int) -> Task:
        """AgentGym's games: every variation of every kind but seven, in the package's order."""
        found = at(index)
        if found is None:
            raise out_of_range(self.name, index, num_indices())
        kind, variation = found
        return kind.task(variation)

    def reset(self, task: str, seed: int) -> SciWorldEpisode:
        """The task in words and a look around; SimulatorError when the JVM does not come up."""
        name, _, variation = self.task(task).name.rpartition("-var")
        return SciWorldEpisode(name, int(variation))

    def instructions(self, action_format: str) -> str:
        """The rules of the building and the form of an answer."""
        return instructions(RULES, FUNCTIONS, action_format)

    def vocabulary(self) -> tuple[str, ...]:
        """The words of the simulator, frozen, and the numbers that its instruments show."""
        numbers = {str(number) for number in range(MAX_NUMBER + 1)}
        texts = (NO_MATCH, BROKEN, *THOUGHTS)
        return tuple(sorted(numbers | set(simulator_words()) | prompt_words(self, texts)))
