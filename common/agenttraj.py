"""AgentTraj: expert trajectories as JSON, the format of AgentGym's published demonstrations.

    [{"conversations": [{"from": "human", "loss": null,  "value": instructions},
                        {"from": "gpt",   "loss": false, "value": "OK."},
                        {"from": "human", "loss": null,  "value": observation},
                        {"from": "gpt",   "loss": true,  "value": action}, ...],
      "item_id": "textcraft_oak_boat"}, ...]

Without instructions the first pair is absent. `loss` says which texts are learnt.
"""

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError, model_validator

from common.errors import ConfigurationError
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


def write(path: Path, rows: Iterable[Demonstration]) -> int:
    """Write all rows, atomically, one per line of the array; how many."""
    lines = [json.dumps(row.model_dump(by_alias=True), ensure_ascii=False) for row in rows]
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(path.name + ".unfinished")
    unfinished.write_text("[\n" + ",\n".join(lines) + "\n]\n", encoding="utf-8")
    os.replace(unfinished, path)
    return len(lines)


def read(path: Path) -> list[Demonstration]:
    """Every row; ConfigurationError with file, row number (from 0) and reason for the first bad one."""
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigurationError(f"{path}: no such file of demonstrations") from None
    except (ValueError, OSError) as error:
        raise ConfigurationError(f"{path}: {error}") from None
    if not isinstance(rows, list):
        raise ConfigurationError(f"{path}: expected a JSON array of rows, found {type(rows).__name__}")
    return [_row(path, number, row) for number, row in enumerate(rows)]


def _row(path: Path, number: int, row: Any) -> Demonstration:
    try:
        return Demonstration.model_validate(row)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "row"
        reason = first["msg"].removeprefix("Value error, ")
        raise ConfigurationError(f"{path}: row {number}: {where}: {reason}") from None
