"""AgentGym's dialects by the name of the environment whose servers speak them, and by letter.

    A   `id` in an object       textcraft babyai sciworld alfworld; maze and wordle also below /lmrlgym
    B   bare `env_idx`, `state` webshop sqlgym
    C   bare `env_idx`          weather movie academia todo sheet (all "tools"), searchqa
    D   `env_idx` in an object  webarena

Every dialect also has the five endpoints of AgentGym's published description (`createEnv` is its own) and
`close`, which some of the originals lack though their clients call it.
"""

from collections.abc import Mapping
from typing import Final

from common.errors import ConfigurationError
from envhub.agentgym import shapes
from envhub.agentgym.dialect import Dialect, Operation, gained, lost_is_minus_one
from envhub.agentgym.view import Shape, constant, fields, text

MAZE_MOVES: Final = ("move left", "move right", "move up", "move down")
"""In the order of the original."""


def _look(shape: Shape, *asks: str) -> Operation:
    return Operation("look", shape, asks)


def _greet(words: str) -> Operation:
    return Operation("greet", constant(words))


def _operations(
    create: Shape, reset: Shape, step: Shape, others: Mapping[str, Operation]
) -> dict[str, Operation]:
    """What all dialects have, then what only some have or have otherwise."""
    return {
        "create": Operation("create", create),
        "createEnv": Operation("create", create),
        "reset": Operation("reset", reset),
        "step": Operation("step", step),
        "close": Operation("close", text("is_closed")),
        "observation": _look(text("observation")),
        "available_actions": _look(shapes.actions, "actions"),
        "detail": _look(shapes.facts, "detail"),
        **others,
    }


A = Dialect(
    "A",
    _operations(
        fields("id"),
        fields("id", "observation", "reward", "score", "done"),
        fields("observation", "reward", "score", "done"),
        {"": Operation("greet", fields("environment"))},
    ),
    task_keys=("data_idx", "game", "seed"),
    default_task=0,
)
TEXTCRAFT = Dialect(
    "textcraft",
    _operations(
        fields("id", "observation", "done", "reward"),
        fields("id", "observation", "done", "reward"),
        fields("observation", "reward", "done"),
        {
            "": _greet("This is environment TextCraft."),
            "commands": _look(shapes.commands),
            "goal": _look(shapes.goal),
        },
    ),
    default_task=0,
    opens_at_create=True,
)
BABYAI = Dialect(
    "babyai",
    _operations(
        fields("id"),
        fields("observation", "reward", "score", "deleted", "done"),
        fields("observation", "reward", "score", "done"),
        {
            "": _greet("This is environment BabyAI."),
            "observation": _look(fields("observation", "reward", "score", "done", "deleted")),
            "render": _look(shapes.drawn, "picture"),
        },
    ),
    reward=gained,
)
SCIWORLD = Dialect(
    "sciworld",
    _operations(
        fields("id"),
        shapes.science_facts,
        fields("observation", "reward", "score", "done"),
        {
            "": _greet("This is environment SciWorld."),
            "reset": Operation("reset", shapes.science_facts, ("detail",)),
            "step_visual": Operation("step", shapes.science_step, ("detail",)),
            "action_hint": _look(shapes.hints, "actions", "detail"),
            "goals": _look(shapes.goals, "detail"),
            "task_description": _look(shapes.task_description, "detail"),
            "object_tree": _look(shapes.object_tree, "detail"),
            "state": _look(shapes.science_state, "actions", "detail"),
        },
    ),
    reward=gained,
)
ALFWORLD = Dialect(
    "alfworld",
    _operations(
        fields("id"),
        shapes.household,
        shapes.household_step,
        {
            "": _greet("This is environment AlfWorld."),
            "reset": Operation("reset", shapes.household, ("actions", "detail")),
            "step": Operation("step", shapes.household_step, ("actions",)),
        },
    ),
    task_keys=("game", "data_idx"),
)
MAZE = Dialect(
    "maze",
    _operations(
        fields("id"),
        fields("observation"),
        fields("observation", "reward", "done"),
        {
            "": _greet("This is environment Maze."),
            "available_actions": Operation("greet", constant(list(MAZE_MOVES))),
        },
    ),
    task_keys=("game", "data_idx"),
    reward=lost_is_minus_one,
    prefixes=("lmrlgym",),
)
WORDLE = Dialect(
    "wordle",
    _operations(
        fields("id"),
        fields("id", "observation"),
        fields("observation", "reward", "done"),
        {
            "": _greet("This is environment Wordle."),
            "filtered_vocab": Operation("preview", shapes.words, ("actions", "detail")),
        },
    ),
    task_keys=("seed", "data_idx"),
    prefixes=("lmrlgym",),
)
SQLGYM = Dialect(
    "sqlgym",
    _operations(
        text("id"),
        shapes.first_and_null,
        shapes.state_step,
        {"": _greet("ok"), "list_envs": Operation("greet", shapes.ids)},
    ),
    id_keys=("env_idx", "id"),
    task_keys=("item_id", "session_id", "data_idx"),
    default_task=0,
)
WEBSHOP = Dialect(
    "webshop",
    {
        **SQLGYM.operations,
        "available_actions": _look(shapes.shop_actions, "actions"),
        "instruction_text": _look(shapes.instruction, "detail"),
        "state": _look(shapes.page, "detail"),
    },
    id_keys=("env_idx", "id"),
    task_keys=("session_id", "item_id", "data_idx"),
    default_task=0,
)
TOOLS = Dialect(
    "tools",
    {
        **SQLGYM.operations,
        "reset": Operation("reset", text("observation")),
        "step": Operation("step", fields("observation", "reward", "done")),
        # The first text of the episode, whatever was played since.
        "observation": _look(text("opening")),
    },
    id_keys=("env_idx",),
    task_keys=("id",),
    default_task=0,
)
SEARCHQA = Dialect(
    "searchqa",
    {**TOOLS.operations, "step": Operation("step", shapes.question_step)},
    id_keys=("env_idx",),
    task_keys=("id",),
    default_task=0,
)
WEBARENA = Dialect(
    "webarena",
    {
        **SQLGYM.operations,
        "create": Operation("create", fields(env_idx="id")),
        "createEnv": Operation("create", fields(env_idx="id")),
        "reset": Operation("reset", shapes.site, ("detail",)),
        "step": Operation("step", shapes.site_step),
        "observation_metadata": _look(shapes.facts, "detail"),
        "close": Operation("close", shapes.site_closed),
    },
    id_keys=("env_idx", "id"),
    task_keys=("idx",),
)

DIALECTS: Final[Mapping[str, Dialect]] = {
    **{
        dialect.name: dialect
        for dialect in (A, TEXTCRAFT, BABYAI, SCIWORLD, ALFWORLD, MAZE, WORDLE, WEBSHOP, SQLGYM, TOOLS)
    },
    **dict.fromkeys(("weather", "movie", "academia", "todo", "sheet"), TOOLS),
    "searchqa": SEARCHQA,
    "webarena": WEBARENA,
    "B": WEBSHOP,
    "C": TOOLS,
    "D": WEBARENA,
}


def dialect_of(environment: str, asked: str = "") -> Dialect:
    """The dialect asked for, or the environment's own: AgentGym's of that name or family, else `A`.

    ConfigurationError when there is none of the name asked for.
    """
    if asked:
        if asked not in DIALECTS:
            raise ConfigurationError(
                f"dialect = {asked[:80]!r}: unknown; allowed are {', '.join(sorted(DIALECTS))}"
            )
        return DIALECTS[asked]
    return DIALECTS.get(environment) or DIALECTS.get(environment.partition("_")[0], A)
