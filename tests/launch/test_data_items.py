"""An item id means one task: by AgentGym's count, by name for ALFWorld's, never by the digits at its end."""

import json
from pathlib import Path

import pytest

from common.agenttraj import Demonstration
from common.errors import ConfigurationError
from common.run_directory import RunDirectory
from common.trajectory import TaskReference
from envhub import registry
from envhub.envs.alfworld.originals import Originals
from envhub.local import LocalHub
from envhub.task import Task
from launch.data_items import is_success, item_id_of, resolve, resolve_files, world_of
from launch.demonstrations import demonstration_tasks
from launch.preflight import check_tasks
from launch.tasks import freeze_tasks, heldout_tasks
from learner.assembly import read_tasks
from learner.task_order import TaskOrder
from tests.launch.making import run_config

ALFWORLD = "pick_heat_then_place_in_recep-Egg-None-Fridge-2_trial_T20190907_174127_043461"
WEBSHOP = "agentgym:webshop@http://127.0.0.1:1"


@pytest.fixture
def originals(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of ALFWorld's games that has this one, and an environment that looks there."""
    kind, _, trial = ALFWORLD.rpartition("_trial_")
    (tmp_path / "json_2.1.1" / "train" / kind / f"trial_{trial}").mkdir(parents=True)
    monkeypatch.setenv("ALFWORLD_DATA", str(tmp_path))
    monkeypatch.setattr(registry.environment("alfworld"), "_originals", Originals(str(tmp_path)))
    return tmp_path


@pytest.mark.parametrize(
    ("item_id", "environment", "index"),
    [
        ("textcraft_17", "textcraft", 17),
        ("lmrlgym_maze_3", "maze", 3),
        ("maze_3", "maze", 3),
        ("lmrlgym_wordle_7", "wordle", 7),
        ("wordle_007", "wordle", 7),
        ("babyai_41", "babyai", 41),
        ("sciworld_3", "sciworld", 3),
        ("alfworld_2420", "alfworld", 2420),
    ],
)
def test_a_number_is_agentgyms_count(item_id: str, environment: str, index: int) -> None:
    item = resolve(item_id)
    assert (item.environment, item.task) == (environment, registry.environment(environment).indexed(index))
    assert item.reference.task == item.task.name
    assert world_of(item_id) == environment


@pytest.mark.usefixtures("originals")
def test_alfworlds_own_ids_are_found_by_name() -> None:
    item = resolve(ALFWORLD)
    assert item.environment == "alfworld"
    assert item.task.name == ALFWORLD.replace("_trial_", "/trial_")
    assert item.task.kind == "pick_heat_then_place_in_recep"
    assert world_of(ALFWORLD) == "alfworld"


@pytest.mark.usefixtures("originals")
def test_alfworlds_own_ids_take_their_turns_in_a_mixture(tmp_path: Path) -> None:
    config = run_config(
        tmp_path,
        tasks={
            "mixture": {"alfworld": 3.0, "maze": 1.0},
            "train_items": [ids(tmp_path, ALFWORLD, "maze_3", "lmrlgym_maze_4")],
        },
    )
    frozen = frozen_tasks(config)
    order = TaskOrder(frozen.train, 0, frozen.weights)
    played = [order[i] for i in range(8)]
    assert [task.environment for task in played].count("alfworld") == 6
    assert {task.task for task in played} == {ALFWORLD.replace("_trial_", "/trial_"), "lmrl-03", "lmrl-04"}


def test_alfworlds_own_ids_without_the_games_are_an_error_and_never_number_43461(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("ALFWORLD_DATA", raising=False)
    with pytest.raises(ConfigurationError, match=r"no such task.*\$ALFWORLD_DATA, which is not set"):
        resolve(ALFWORLD)


@pytest.mark.parametrize(
    ("item_id", "environments", "environment", "task"),
    [
        ("textcraft_oak_boat", (), "textcraft", "textcraft_oak_boat"),
        ("maze::full-9x9-000123", (), "maze", "full-9x9-000123"),
        ("number-001", ("guess_number",), "guess_number", "number-001"),
        ("webshop_5238", (WEBSHOP,), WEBSHOP, "webshop_5238"),
        ("webshop_5238", ("maze", WEBSHOP), WEBSHOP, "webshop_5238"),
        (f"{WEBSHOP}::webshop_3", (), WEBSHOP, "webshop_3"),
        ("alfworld_3", ("alfworld_textworld", "alfworld"), "alfworld", None),
    ],
)
def test_names_are_looked_up_where_they_are_said_to_be(
    item_id: str, environments: tuple[str, ...], environment: str, task: str | None
) -> None:
    item = resolve(item_id, environments)
    assert item.environment == environment
    assert task in (None, item.task.name)


@pytest.mark.parametrize(
    "environment", ["guess_number", "maze", "textcraft", "textcraft_generated", "wordle"]
)
def test_every_task_of_ours_has_an_id_that_leads_back_to_it(environment: str) -> None:
    known = registry.environment(environment)
    tasks: list[Task] = [*known.tasks("train")[:20], *known.tasks("test")[:20]]
    for task in tasks:
        reference = TaskReference(environment=environment, task=task.name)
        item = resolve(item_id_of(reference))
        assert (item.environment, item.task.name) == (environment, task.name)


BAD = [
    ("texcraft_4", (), "item_id = 'texcraft_4': of no environment that is known; nearest: textcraft"),
    ("7", (), "item_id = '7': of no environment that is known; nearest: "),
    ("webshop_3", (), "webshop is AgentGym's; name its server: --environment=agentgym:webshop@URL"),
    ("webshop_3", ("maze", "wordle"), "of no environment that is asked for; nearest: "),
    ("textcraft_17", ("maze",), "task = 'textcraft_17': environment maze has no such task"),
    ("maze::full-9x9-000123", ("wordle",), "of no environment that is asked for; nearest: wordle"),
    ("maze_25", (), "item_id = 'maze_25': index = 25: environment maze has the tasks 0 to 24"),
    ("maze_" + "9" * 30, (), "environment maze has no such task"),
    ("mase::full", (), "environment = 'mase': unknown; did you mean 'maze'?"),
    ("webshop_9999", (WEBSHOP,), "index = 9999: environment webshop has the tasks 0 to 6909"),
]


@pytest.mark.parametrize(("item_id", "environments", "line"), BAD)
def test_an_id_without_a_task_is_one_line_with_what_is_near(
    item_id: str, environments: tuple[str, ...], line: str
) -> None:
    with pytest.raises(ConfigurationError) as caught:
        resolve(item_id, environments)
    assert line in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("item_id", "reward", "expected"),
    [
        ("sciworld_3", 100, True),
        ("sciworld_3", 1, False),
        ("sciworld_3", 99.5, False),
        ("babyai_5", 0.4, True),
        ("babyai_5", 0.0, False),
        ("textcraft_5", 1, True),
        ("webshop_5", 0.9, False),
        (ALFWORLD, 1.0, True),
        ("lmrlgym_wordle_5", -1, False),
    ],
)
def test_success_is_the_environments_own_predicate(item_id: str, reward: float, expected: bool) -> None:
    assert is_success(row(item_id, reward=reward, success=not expected)) is expected


@pytest.mark.parametrize(
    ("item_id", "changes", "line"),
    [
        ("sciworld_3", {"success": True}, "has no reward: success cannot be told"),
        ("guess_number::number-001", {"reward": 1.0}, "is of no environment that AgentGym scores"),
    ],
)
def test_success_that_cannot_be_told_is_not_guessed(
    item_id: str, changes: dict[str, float], line: str
) -> None:
    with pytest.raises(ConfigurationError, match=line):
        is_success(row(item_id, **changes))


def row(item_id: str, **changes: object) -> Demonstration:
    texts = [{"from": "human", "value": "seen"}, {"from": "gpt", "value": "said"}]
    return Demonstration.model_validate({"conversations": texts, "item_id": item_id} | changes)


# --- tasks of a run ------------------------------------------------------------------------------


def ids(folder: Path, *item_ids: str, name: str = "ids.json") -> str:
    (folder / name).write_text(json.dumps([{"item_id": item_id} for item_id in item_ids]))
    return str(folder / name)


def frozen_tasks(config):
    import asyncio

    async def freeze() -> None:
        async with LocalHub() as hub:
            await freeze_tasks(config, hub)

    asyncio.run(freeze())
    return read_tasks(RunDirectory(config.run.folder.path).tasks)


def test_a_run_trains_on_the_tasks_of_its_files_in_their_order_each_once(tmp_path: Path) -> None:
    files = [ids(tmp_path, "maze_3", "lmrlgym_maze_1", "lmrl-03"), ids(tmp_path, "maze_0", name="more.json")]
    config = run_config(tmp_path, tasks={"environment": "maze", "train_items": files})
    assert [task.task for task in frozen_tasks(config).train] == ["lmrl-03", "lmrl-01", "lmrl-00"]
    few = run_config(tmp_path, tasks={"environment": "maze", "train_items": files, "num_train": 2})
    assert len(frozen_tasks(few).train) == 2


def test_heldout_tasks_of_a_file_are_never_trained_on(tmp_path: Path) -> None:
    names = [task.name for task in registry.environment("textcraft").tasks("train")[:6]]
    config = run_config(
        tmp_path,
        tasks={"environment": "textcraft", "heldout_items": [ids(tmp_path, *names)], "num_train": 30},
        evaluation={"num_tasks": 6},
        sft={"num_demonstrations": 20},
    )
    check_tasks(config)
    frozen = frozen_tasks(config)
    assert {task.task for task in frozen.heldout} == set(names)
    assert len(frozen.train) == 30
    assert not {task.task for task in frozen.train} & set(names)
    assert not {task.task for task in demonstration_tasks(config)} & set(names)


def test_depths_choose_among_the_tasks_of_a_file(tmp_path: Path) -> None:
    known = registry.environment("textcraft_generated")
    names = [task.name for task in known.tasks("train")[:40]]
    config = run_config(
        tmp_path,
        tasks={"environment": "textcraft_generated", "train_items": [ids(tmp_path, *names)], "depths": [2]},
    )
    frozen = frozen_tasks(config)
    assert [task.task for task in frozen.train] == [name for name in names if known.task(name).depth == 2]


@pytest.mark.parametrize(
    ("train", "heldout", "num_tasks", "line"),
    [
        (["maze_99"], [], 0, r"tasks.train_items: .*ids.json: item_id = 'maze_99': index = 99"),
        (["maze_1", "textcraft_3"], [], 0, "task = 'textcraft_3': environment maze has no such task"),
        (
            ["maze_1", "maze_2"],
            ["maze_2"],
            0,
            "tasks.train_items: 1 of them are in tasks.heldout_items too, lmrl-02",
        ),
        ([], ["maze_2"], 2, "evaluation.num_tasks = 2: tasks.heldout_items has 1 such tasks"),
        ([], ["maze_x"], 1, "tasks.heldout_items: .*held.json: .*maze_x"),
    ],
)
def test_item_files_that_a_run_cannot_use_are_one_line_before_it_begins(
    tmp_path: Path, train: list[str], heldout: list[str], num_tasks: int, line: str
) -> None:
    tasks = {"environment": "maze"}
    tasks |= {"train_items": [ids(tmp_path, *train)]} if train else {}
    tasks |= {"heldout_items": [ids(tmp_path, *heldout, name="held.json")]} if heldout else {}
    config = run_config(tmp_path, tasks=tasks, evaluation={"num_tasks": num_tasks})
    with pytest.raises(ConfigurationError, match=line) as caught:
        check_tasks(config)
    assert "\n" not in str(caught.value)


def test_an_environment_of_a_mixture_without_a_row_is_one_line(tmp_path: Path) -> None:
    tasks = {"mixture": {"maze": 1.0, "wordle": 1.0}, "train_items": [ids(tmp_path, "maze_1")]}
    with pytest.raises(
        ConfigurationError, match=r"tasks.train_items = \['.*'\]: wordle has no such training"
    ):
        check_tasks(run_config(tmp_path, tasks=tasks))


async def test_heldout_tasks_of_several_environments_are_shared_out(tmp_path: Path) -> None:
    file = ids(tmp_path, "maze_1", "maze_2", "maze_3", "wordle_1", "wordle_2")
    config = run_config(tmp_path, tasks={"mixture": {"maze": 1, "wordle": 1}, "heldout_items": [file]})
    async with LocalHub() as hub:
        chosen = await heldout_tasks(config, hub, 4)
    assert sorted(task.environment for task in chosen) == ["maze", "maze", "wordle", "wordle"]


def test_a_broken_row_of_an_item_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "ids.jsonl").write_text('{"item_id": "maze_1"}\n{"id": "maze_2"}\n')
    with pytest.raises(ConfigurationError, match="line 2: row 1: item_id: Field required"):
        resolve_files([str(tmp_path / "ids.jsonl")], ("maze",))
