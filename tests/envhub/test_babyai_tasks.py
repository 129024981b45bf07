"""Which BabyAI tasks there are and what their names mean."""

import sys
from collections import Counter

import pytest

from common.errors import ConfigurationError, PreflightError
from envhub.envs.babyai import levels
from envhub.envs.babyai.environment import BabyAI


@pytest.fixture
def environment() -> BabyAI:
    return BabyAI()


def test_the_levels_are_those_of_the_package() -> None:
    gymnasium = pytest.importorskip("gymnasium")
    pytest.importorskip("minigrid")
    registered = {name for name in gymnasium.registry if name.startswith("BabyAI-")}
    assert set(levels.known()) == registered
    assert len(levels.known()) == 96


def test_an_index_counts_levels_first_and_seeds_second(environment: BabyAI) -> None:
    assert environment.indexed(0).name == "BabyAI-GoToRedBallGrey-v0-seed0"
    assert environment.indexed(39).name == "BabyAI-BossLevelNoUnlock-v0-seed0"
    assert environment.indexed(123).name == "BabyAI-GoToObjS6-v1-seed3"
    assert environment.task("babyai_123") == environment.indexed(123)


def test_an_index_out_of_range_is_refused_with_the_range(environment: BabyAI) -> None:
    for index in (-1, levels.num_indexed()):
        with pytest.raises(ConfigurationError, match="0 to 3999999"):
            environment.indexed(index)


def test_the_replaced_level_is_found_under_its_old_name(environment: BabyAI) -> None:
    assert environment.task("BabyAI-GoToObjS6-v0-seed7").name == "BabyAI-GoToObjS6-v1-seed7"


def test_levels_outside_the_splits_have_names(environment: BabyAI) -> None:
    task = environment.task("BabyAI-PutNextS5N2Carrying-v0-seed4321")
    assert (task.name, task.kind) == ("BabyAI-PutNextS5N2Carrying-v0-seed4321", "PutNextS5N2Carrying")


@pytest.mark.parametrize(
    "name",
    [
        "BabyAI-GoToObj-v0-seed01",
        "BabyAI-GoToObj-v0-seed100000",
        "BabyAI-GoToObj-v0-seed-1",
        "BabyAI-GoToObj-v0",
        "BabyAI-GoToObj-v9-seed1",
        "babyai_",
        "babyai_4000000",
        "babyai_\uff11",
        "MiniGrid-Empty-5x5-v0-seed1",
    ],
)
def test_other_names_are_no_tasks(environment: BabyAI, name: str) -> None:
    with pytest.raises(ConfigurationError, match="no such task"):
        environment.reset(name, 0)


def test_no_task_of_agentgym_s_nine_hundred_is_trained_on(environment: BabyAI) -> None:
    agentgym = {environment.indexed(index).name for index in range(900)}
    assert not agentgym & {task.name for task in environment.tasks("train")}


def test_the_splits_hold_all_forty_levels_but_what_is_excluded(environment: BabyAI) -> None:
    for split, seeds in (("train", levels.TRAIN_SEEDS), ("test", levels.TEST_SEEDS)):
        tasks = environment.tasks(split)  # type: ignore[arg-type]
        assert len(Counter(task.kind for task in tasks)) == 40
        names = {task.name for task in tasks}
        every = {levels.task_name(level, seed) for level in levels.agentgym() for seed in seeds}
        assert every - names == every & levels.excluded()
    assert environment.tasks("unseen") == ()


def test_what_is_excluded_would_be_listed_otherwise() -> None:
    candidates = {levels.task_name(*one) for split in ("train", "test") for one in levels.candidates(split)}
    assert levels.excluded() <= candidates


def test_without_the_package_the_environment_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "minigrid", None)
    with pytest.raises(PreflightError, match=r"pip install minigrid==3\.2\.0"):
        BabyAI()
