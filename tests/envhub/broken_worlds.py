"""Environments that break one promise each, which the contract must find."""

from collections.abc import Callable
from itertools import count
from random import Random
from typing import Any

from docs.environment_template import MyWorld
from docs.sort_letters import SortingEpisode, SortLetters
from envhub.environment import Environment, ExpertMove, StepResult
from envhub.functions import Function, Functions, Parameter
from envhub.task import Split, Task


class Doubled(SortLetters):
    """The test split lists what the training split has."""

    def tasks(self, split: Split) -> tuple[Task, ...]:
        return super().tasks("train")


class Copied(SortLetters):
    """The test split has the training tasks under other names."""

    def tasks(self, split: Split) -> tuple[Task, ...]:
        names = (task.name for task in super().tasks("train"))
        return super().tasks("train") if split == "train" else tuple(map(self.task, (f"{n}+" for n in names)))

    def task(self, name: str) -> Task:
        found = super().task(name.removesuffix("+"))
        return Task(name=name, split="test") if name.endswith("+") else found

    def reset(self, task: str, seed: int) -> SortingEpisode:
        return super().reset(task.removesuffix("+"), seed)


class Renamed(SortLetters):
    """A name finds another task than the listed one."""

    def task(self, name: str) -> Task:
        return super().task(name).model_copy(update={"kind": "other"})


class Yielding(SortLetters):
    """Any name is a task."""

    def task(self, name: str) -> Task:
        return Task(name="sort-dacbe", split="train")


class Unranged(SortLetters):
    """A negative index counts from the end."""

    def indexed(self, index: int) -> Task:
        return self.tasks("train")[index % 10]


class Unfair(SortLetters):
    """The hard tasks come last."""

    def tasks(self, split: Split) -> tuple[Task, ...]:
        return tuple(
            Task(name=f"{split}-{n}", split=split, kind="hard" if n > 150 else "easy") for n in range(200)
        )


class Silent(SortLetters):
    """No prompt tells how to call a function."""

    def instructions(self, action_format: str) -> str:
        super().instructions(action_format)
        return ""


class Misnamed(SortLetters):
    """A template that leaves a parameter out."""

    functions = Functions(Function("swap", "swap", "swap", (Parameter("position", "integer"),)))


class Unwritable(SortLetters):
    """Functions that do not have what the expert does."""

    functions = Functions(Function("exchange", "exchange {position}", "swap", (Parameter("position"),)))


class Wordless(SortLetters):
    """A vocabulary without the letters."""

    def vocabulary(self) -> tuple[str, ...]:
        return tuple(word for word in super().vocabulary() if word != "c")


class Altered(SortLetters):
    """An environment whose episodes are made by `episode`."""

    episode: Callable[[str], SortingEpisode] = SortingEpisode

    def reset(self, task: str, seed: int) -> SortingEpisode:
        return type(self).episode(super().reset(task, seed).observation.replace(" ", ""))


class Stubborn(Altered):
    """The expert always does the same."""

    class episode(SortingEpisode):  # noqa: N801
        def expert(self) -> ExpertMove:
            return ExpertMove(action="swap 1")


class Overpaying(Altered):
    """Every turn is worth a point."""

    class episode(SortingEpisode):  # noqa: N801
        def step(self, action: str) -> StepResult:
            return super().step(action).model_copy(update={"reward": 1.0})


class Restless(Altered):
    """Goes on counting after the end."""

    class episode(SortingEpisode):  # noqa: N801
        _turns = 0.0

        def step(self, action: str) -> StepResult:
            self._turns += 1
            return super().step(action).model_copy(update={"score": self._turns})


class Moody(SortLetters):
    """Begins differently every time."""

    def __init__(self) -> None:
        self._moods = count()

    def reset(self, task: str, seed: int) -> SortingEpisode:
        return SortingEpisode("".join(Random(next(self._moods)).sample("abcde", 5)))


class Shared(SortLetters):
    """All episodes of a task that are open are one."""

    def __init__(self) -> None:
        self._open: dict[str, SortingEpisode] = {}

    def reset(self, task: str, seed: int) -> SortingEpisode:
        if task not in self._open or self._open[task].observation == "a b c d e":
            self._open[task] = super().reset(task, seed)
        return self._open[task]


class Echoing(Altered):
    """Repeats whatever it is told."""

    class episode(SortingEpisode):  # noqa: N801
        def step(self, action: str) -> StepResult:
            result = super().step(action)
            self.observation = action if result.is_malformed else result.observation
            return result.model_copy(update={"observation": self.observation})


class Greedy(Altered):
    """Takes a swap for anything."""

    class episode(SortingEpisode):  # noqa: N801
        def step(self, action: str) -> StepResult:
            return super().step(action if action.startswith("swap") else "swap 1")


class Misleading(Altered):
    """Hints at what is no action."""

    class episode(SortingEpisode):  # noqa: N801
        def actions(self) -> tuple[str, ...]:
            return ("swap 9",)


class Unspeakable(Altered):
    """Details that JSON cannot say."""

    class episode(SortingEpisode):  # noqa: N801
        def detail(self) -> dict[str, Any]:
            return {"letters": {1, 2}}


class Telling(MyWorld):
    """Details with the answer in them."""

    def reset(self, task: str, seed: int) -> Any:
        episode = super().reset(task, seed)
        episode.detail = lambda: {"box": [episode.expert().action.split()[1]]}  # type: ignore[method-assign]
        return episode


class Hashing(SortLetters):
    """Seeded by `hash`, which every process salts anew."""

    def reset(self, task: str, seed: int) -> SortingEpisode:
        return SortingEpisode("".join(Random(hash(task)).sample("abcde", 5)))


BROKEN: list[tuple[type[Environment], str, str]] = [
    (Doubled, "names_are_unique_and_portable", "appear twice"),
    (Copied, "splits_share_no_task_under_another_name", "of test is sort-"),
    (Renamed, "tasks_are_found_by_their_names", "finds name="),
    (Yielding, "unknown_tasks_are_refused_with_a_name_that_exists", "is played"),
    (Unranged, "indices_are_tasks_or_refused_with_the_range", "index -1 is a task"),
    (Unfair, "every_prefix_is_a_fair_sample", "'hard'"),
    (Silent, "instructions_exist_in_every_format_and_no_other", "does not name"),
    (Misnamed, "functions_are_well_formed", "takes"),
    (Unwritable, "actions_survive_every_format", "no function has such a template"),
    (Wordless, "the_vocabulary_has_what_is_said", "lacks"),
    (Stubborn, "the_expert_wins_within_the_horizon", "not won within 20 turns"),
    (Overpaying, "the_expert_wins_within_the_horizon", "add up to"),
    (Restless, "after_the_end_nothing_changes", "after the end"),
    (Moody, "same_task_and_seed_are_the_same_episode", "begins differently"),
    (Shared, "sessions_of_one_task_keep_apart", "is not alone"),
    (Echoing, "no_text_does_harm", "cannot be sent"),
    (Greedy, "no_text_does_harm", "is not malformed"),
    (Misleading, "hints_are_actions_and_the_expert_recovers", "'swap 9' is malformed"),
    (Unspeakable, "facts_and_views_are_as_promised", "is not JSON"),
    (Telling, "facts_and_views_are_as_promised", "tells the answer"),
    (Hashing, "episodes_are_the_same_in_every_process", "PYTHONHASHSEED"),
]
