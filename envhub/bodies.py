"""What clients send: validated before anything happens, and described at `/openapi.json`."""

from typing import Annotated, Any

from pydantic import AfterValidator, ConfigDict, FailFast, Field, field_validator, model_validator

from common.action_format import ActionFormat
from common.config import Section
from envhub.sendable import sendable
from envhub.task import Split

_MAX_SEED = 2**63 - 1
_MAX_NUMBER = 2**31 - 1
_MAX_FIELDS = 64


class Sent(Section):
    """A body or a query; the text below each field is its description.

    However much is wrong with what was sent, little of it is looked at: the first item of a list that is
    wrong is the last one, and an object of too many fields is refused for their number.
    """

    model_config = ConfigDict(use_attribute_docstrings=True)

    @model_validator(mode="before")
    @classmethod
    def _few_fields(cls, value: Any) -> Any:
        """Each unknown field would be a mistake of its own."""
        if isinstance(value, dict) and len(value) > _MAX_FIELDS:
            raise ValueError(f"{len(value)} fields: an object has at most {_MAX_FIELDS}")
        return value


class CreateBody(Sent):
    """Which task to play, and in which form actions will come."""

    environment: str = Field(min_length=1, max_length=200, examples=["textcraft"])
    """One of the served environments."""
    task: str = Field(min_length=1, max_length=200, examples=["textcraft_oak_boat"])
    """A task's name, or the id that AgentGym has for it."""
    seed: int = Field(default=0, ge=-_MAX_SEED, le=_MAX_SEED, examples=[0])
    """Same task and seed, same episode."""
    action_format: ActionFormat = Field(default="plain", examples=["react"])
    """Which instructions to answer with. Actions arrive parsed; in the call formats they are calls."""


class StepBody(Sent):
    """One action for the next turn."""

    index: int = Field(ge=0, le=1_000_000_000, examples=[0])
    """The turn, from 0; the same turn again is answered from memory and not played twice."""
    action: Annotated[str, AfterValidator(sendable)] = Field(examples=["get 2 oak logs"])
    """An action, already read from the policy's text; any other text gets an observation that says so.

    In the call formats it is a call as JSON, in both of them.
    """
    is_text: bool = False
    """The action is the policy's whole text, and the hub reads it in the session's format."""


class BatchStep(StepBody):
    """One of the steps of a batch."""

    session: str = Field(min_length=1, max_length=200, examples=["m3Xc0zq9ZcS8s7yUu1sTaw"])
    """Which session to step."""


class BatchBody(Sent):
    """Steps of many sessions, answered in the same order."""

    steps: Annotated[tuple[BatchStep, ...], FailFast()] = Field(
        min_length=1,
        max_length=4096,
        examples=[
            [
                {"session": "m3Xc0zq9ZcS8s7yUu1sTaw", "index": 0, "action": "get 2 oak logs"},
                {"session": "Zk2b9WQe7uS1pXo4vLr0hA", "index": 3, "action": "inventory"},
            ]
        ],
    )
    """Of different sessions side by side; several of one session one after the other, in their order here."""


class TaskQuery(Sent):
    """Which tasks to list."""

    split: Split = Field(default="train", examples=["test"])
    """A set of tasks; the sets share none."""
    depths: Annotated[tuple[Annotated[int, Field(ge=0, le=_MAX_NUMBER)], ...], FailFast()] = Field(
        default=(), max_length=1000, examples=[[3, 4]]
    )
    """Only tasks of these depths, separated by commas; none means all, and so does a split without depths."""
    limit: int = Field(default=0, ge=0, le=_MAX_NUMBER, examples=[2])
    """At most so many, from the first on; 0 means all."""

    @field_validator("depths", mode="before")
    @classmethod
    def _separated(cls, value: Any) -> Any:
        """In a query they are one text."""
        return [part for part in value.split(",") if part] if isinstance(value, str) else value
