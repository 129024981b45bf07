"""What a client of AgentGym's servers says in each dialect, and where in the replies it looks."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final


@dataclass(frozen=True)
class Speech:
    """A table, read by `envhub.agentgym.backend`."""

    id_key: str = "id"
    task_key: str = "data_idx"
    create_body: Any = None
    reset_more: Mapping[str, Any] = field(default_factory=dict)
    """What a reset says beside id and task."""
    observes: bool = False
    """The first observation is asked for with GET /observation; otherwise the reset tells it."""
    description_key: str = ""
    """Key of a reset's reply with what stands above the first observation."""
    words_path: str = ""
    """GET path of a list of words that the policy must know."""
    actions_key: str = ""
    """Key of the hints in the replies to reset and step."""
    text_key: str = "observation"
    score_key: str = "reward"
    """What clients take for the reward: the score so far, whatever the key is called."""
    done_key: str = "done"


A: Final = Speech()
WEBSHOP: Final = Speech(id_key="env_idx", task_key="session_id", observes=True, text_key="state")
TOOLS: Final = Speech(id_key="env_idx", task_key="id", create_body={"id": 0}, observes=True)
WEBARENA: Final = Speech(
    id_key="env_idx",
    task_key="idx",
    reset_more={"seed": 0},
    observes=True,
    done_key="terminated",
)

SPEECHES: Final[Mapping[str, Speech]] = {
    "A": A,
    "textcraft": Speech(create_body={}),
    "babyai": Speech(score_key="score"),
    "sciworld": Speech(score_key="score", description_key="task_description"),
    "alfworld": Speech(task_key="game", reset_more={"world_type": "Text"}, actions_key="available_actions"),
    "maze": Speech(task_key="game"),
    "wordle": Speech(task_key="seed", words_path="filtered_vocab"),
    "webshop": WEBSHOP,
    "sqlgym": Speech(id_key="env_idx", task_key="item_id", observes=True, text_key="state"),
    **dict.fromkeys(("tools", "weather", "movie", "academia", "todo", "sheet", "searchqa"), TOOLS),
    "webarena": WEBARENA,
    "B": WEBSHOP,
    "C": TOOLS,
    "D": WEBARENA,
}
"""By the names of `envhub.agentgym.dialects`."""
