"""What is said of a fault: whose it is, where it would live here, and which tests notice it."""

from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Edit:
    """The smallest change of this code that puts a fault back."""

    file: str
    here: str
    """What the file says, once."""
    fault: str
    """What it would say."""

    def put_back(self, root: Path) -> None:
        """Change the file below `root`; ValueError unless it says `here` exactly once."""
        path = root / self.file
        text = path.read_text()
        if text.count(self.here) != 1:
            raise ValueError(
                f"{self.file} says {text.count(self.here)} times, instead of once:\n{self.here}\n"
                "say in tests/faults where the fault would live now"
            )
        path.write_text(text.replace(self.here, self.fault))


@dataclass(frozen=True)
class Fault:
    """Something that AgentGym-RL at 82402a9 gets wrong."""

    name: str
    theirs: str
    """What happens there."""
    edits: tuple[Edit, ...]
    guards: tuple[str, ...]
    """Tests, each of which fails with the fault: `FILE::TEST`, or with `[PARAMETERS]` one case of it."""


ALGORITHMS = "tests/learner/test_algorithms.py::"
BATCHES = "tests/learner/test_batch_builder.py::"
CREDIT = "tests/learner/test_multi_turn_credit.py::"
EPISODES = "tests/faults/test_episodes.py::"
EVALUATION = "tests/common/test_evaluation.py::"
KEYS = "tests/faults/test_dead_keys.py::"
LEARNING = "tests/faults/test_learning.py::"
ROLLOUT = "tests/actors/test_rollout.py::"
RUNS = "tests/faults/test_runs.py::"
TRAINER = "tests/learner/test_trainer.py::"
