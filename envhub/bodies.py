"""What clients send: validated before anything happens."""

from pydantic import Field

from common.action_format import ActionFormat
from common.config import Section

_MAX_SEED = 2**63 - 1


class CreateBody(Section):
    """POST /v1/sessions."""

    environment: str = Field(min_length=1, max_length=200)
    task: str = Field(min_length=1, max_length=200)
    seed: int = Field(default=0, ge=-_MAX_SEED, le=_MAX_SEED)
    action_format: ActionFormat = "plain"
    """Which instructions to answer with; actions arrive already parsed."""


class StepBody(Section):
    """POST /v1/sessions/{id}/step."""

    index: int = Field(ge=0, le=1_000_000_000)
    """The turn, from 0; the same turn again is answered from memory."""
    action: str


class BatchStep(StepBody):
    """One of the steps of a batch."""

    session: str = Field(min_length=1, max_length=200)


class BatchBody(Section):
    """POST /v1/step."""

    steps: tuple[BatchStep, ...] = Field(min_length=1, max_length=4096)


class TaskQuery(Section):
    """The query of GET /v1/environments/{name}/tasks."""

    split: str = "train"
    depths: tuple[int, ...] = ()
    limit: int = Field(default=0, ge=0)
