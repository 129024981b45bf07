"""Lists of tasks by id: AgentEval's test sets and AgentGym-RL's training sets.

    AgentEval             {"conversations": null, "item_id": "webshop_5238"}      or [] for null
    AgentGym-RL-Data-ID   {"item_id": "webshop_5238"}

An id is a name, never a number: ALFWorld's `..._trial_T20190907_174127_043461` ends in digits too. Which
task it means is for the environments to say (`launch.data_items`).
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from common import json_rows
from common.agenttraj import Demonstration, row_of
from common.json_rows import Kept, Layout, OnError
from common.trajectory import Record

DataForm = Literal["agenttraj", "agenteval", "ids"]
"""What the rows of a file are: trajectories, AgentEval items, bare ids."""


class AgentItem(Record):
    """One task by its id."""

    item_id: str = Field(min_length=1)
    conversations: tuple[Any, ...] | None = Field(default=None, max_length=0)
    """Always empty: a row with texts is a demonstration."""


DataRow = Demonstration | AgentItem


def form_of(value: Any) -> DataForm:
    """What a row wants to be, by its key `conversations`."""
    if not isinstance(value, dict) or value.get("conversations"):
        return "agenttraj"
    return "agenteval" if "conversations" in value else "ids"


def read_any(path: Path, on_error: OnError = "refuse") -> tuple[DataForm, Kept[DataRow]]:
    """What the file is, by its first row, and its rows; one of another form is a fault, as a broken one is.

    ConfigurationError as `common.json_rows.read` raises it.
    """
    forms: list[DataForm] = []

    def check(value: Any) -> DataRow:
        form = form_of(value)
        if isinstance(value, dict):
            forms.append(form)
        row: DataRow = (Demonstration if form == "agenttraj" else AgentItem).model_validate(value)
        if form != forms[0]:
            raise ValueError(f"is {form}; the file began as {forms[0]}")
        return row

    kept = json_rows.read(path, check, on_error)
    return (forms[0] if forms else "agenttraj"), kept


def read_items(path: Path, on_error: OnError = "refuse") -> Kept[DataRow]:
    """The rows of any of the three forms, for their ids."""
    return read_any(path, on_error)[1]


def write(path: Path, form: DataForm, rows: Iterable[DataRow], layout: Layout = "array") -> int:
    """Write the rows in one of the forms, atomically; how many. ValueError: trajectories out of bare ids."""
    return json_rows.write(path, (_written(row, form) for row in rows), layout)


def _written(row: DataRow, form: DataForm) -> dict[str, Any]:
    if form == "agenttraj":
        if not isinstance(row, Demonstration):
            raise ValueError(f"item_id = {row.item_id!r}: has no texts to write a trajectory of")
        return row_of(row)
    return {"item_id": row.item_id} if form == "ids" else {"conversations": None, "item_id": row.item_id}
