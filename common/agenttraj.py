"""AgentTraj: expert trajectories as JSON, the format of AgentGym's published demonstrations.

    [{"conversations": [{"from": "human", "loss": null,  "value": instructions},
                        {"from": "gpt",   "loss": false, "value": "OK."},
                        {"from": "human", "loss": null,  "value": observation},
                        {"from": "gpt",   "loss": true,  "value": action}, ...],
      "item_id": "textcraft_oak_boat"}, ...]

Without instructions the first pair is absent. `loss` says which texts are learnt. Files are a JSON array or
JSON lines. What AgentGym's evaluation writes are such rows with `reward` and `success` besides.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, model_validator

from common import json_rows
from common.json_rows import Kept, Layout, OnError
from common.trajectory import Record

ACKNOWLEDGEMENT = "OK."
"""What the model is taken to have answered to the instructions; never learnt."""


class Utterance(Record):
    """One text of a conversation."""

    speaker: Literal["human", "gpt"] = Field(alias="from")
    loss: bool | None = None
    """gpt: whether it is learnt; true when absent. human: nothing is."""
    value: str

    @property
    def is_learnt(self) -> bool:
        """A gpt text that is not marked `loss: false`."""
        return self.speaker == "gpt" and self.loss is not False


class Demonstration(Record):
    """One conversation: human and gpt in turn, from a human text to a gpt text."""

    conversations: tuple[Utterance, ...] = Field(min_length=2)
    item_id: str = Field(min_length=1)
    reward: float | None = None
    """What the play brought, on the environment's own scale, where somebody wrote it beside the texts."""
    success: bool | None = None
    """What whoever wrote it took for success; the environment's own predicate decides."""

    @model_validator(mode="after")
    def _speakers_alternate(self) -> "Demonstration":
        expected = ("human", "gpt") * (len(self.conversations) // 2)
        if tuple(part.speaker for part in self.conversations) != expected:
            raise ValueError("human and gpt must take turns, from a human text to a gpt text")
        return self

    @property
    def instructions(self) -> str:
        """The first text, when a text that is not learnt acknowledges it; otherwise empty."""
        return self.conversations[0].value if self._is_introduced else ""

    @property
    def turns(self) -> tuple[tuple[str, str, bool], ...]:
        """(observation, action, whether the action is learnt), in order; without the instructions."""
        texts = self.conversations[2 * self._is_introduced :]
        pairs = zip(texts[::2], texts[1::2], strict=True)
        return tuple((shown.value, said.value, said.is_learnt) for shown, said in pairs)

    @property
    def _is_introduced(self) -> bool:
        return len(self.conversations) > 2 and not self.conversations[1].is_learnt


def demonstration(item_id: str, instructions: str, exchanges: Iterable[tuple[str, str]]) -> Demonstration:
    """A row from the instructions (may be empty) and pairs of observation and action text."""
    parts: list[dict[str, Any]] = []
    if instructions:
        parts = [
            {"from": "human", "loss": None, "value": instructions},
            {"from": "gpt", "loss": False, "value": ACKNOWLEDGEMENT},
        ]
    for observation, action in exchanges:
        parts.append({"from": "human", "loss": None, "value": observation})
        parts.append({"from": "gpt", "loss": True, "value": action})
    return Demonstration.model_validate({"conversations": parts, "item_id": item_id})


def row_of(row: Demonstration) -> dict[str, Any]:
    """The row as the format has it: every text with its `loss`, other keys only when they are set."""
    values = row.model_dump(by_alias=True)
    return {key: value for key, value in values.items() if value is not None}


def write(path: Path, rows: Iterable[Demonstration], layout: Layout = "array") -> int:
    """Write all rows, atomically, one per line; how many."""
    return json_rows.write(path, map(row_of, rows), layout)


def read(path: Path) -> list[Demonstration]:
    """Every row; ConfigurationError with file, line, row (from 0) and reason when one of them is broken."""
    return list(read_rows(path).rows)


def read_rows(path: Path, on_error: OnError = "refuse") -> Kept[Demonstration]:
    """Every whole row, and why others were left out; with `refuse` ConfigurationError for the first one."""
    return json_rows.read(path, Demonstration.model_validate, on_error)
