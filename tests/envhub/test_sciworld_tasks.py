"""The tasks of SciWorld, for which no JVM is started."""

import sys
import zipfile
from itertools import islice

import pytest

from common.errors import ConfigurationError, PreflightError
from envhub.envs.sciworld.class_file import with_hash_code
from envhub.envs.sciworld.environment import SciWorld
from envhub.envs.sciworld.jvm import jar
from envhub.envs.sciworld.rooms import EXITS, next_room
from envhub.envs.sciworld.tasks import kinds
from envhub.envs.sciworld.texts import FUNCTIONS, canonical, cleaned

EXCLUDED = {
    "grow-plant",
    "grow-fruit",
    "inclined-plane-determine-angle",
    "inclined-plane-friction-named-surfaces",
    "inclined-plane-friction-unnamed-surfaces",
    "mendelian-genetics-known-plant",
    "mendelian-genetics-unknown-plant",
}


@pytest.fixture
def sciworld() -> SciWorld:
    return SciWorld()


def test_the_table_has_every_variation_of_the_package() -> None:
    assert len(kinds()) == 30
    assert sum(kind.num_variations for kind in kinds().values()) == 7207


def test_an_index_counts_through_agentgyms_games(sciworld: SciWorld) -> None:
    games = [
        f"{kind.name}-var{variation}"
        for kind in kinds().values()
        if kind.name not in EXCLUDED
        for variation in range(kind.num_variations)
    ]
    assert len(games) == 4639
    assert [sciworld.indexed(index).name for index in range(len(games))] == games
    assert sciworld.task("sciworld_123") == sciworld.indexed(123) == sciworld.task("use-thermometer-var3")


@pytest.mark.parametrize("index", [-1, 4639, 10**9])
def test_an_index_without_a_game_is_told_the_range(sciworld: SciWorld, index: int) -> None:
    with pytest.raises(ConfigurationError, match="tasks 0 to 4638"):
        sciworld.indexed(index)


def test_what_agentgym_leaves_out_is_reached_by_name_alone(sciworld: SciWorld) -> None:
    listed = {task.kind for split in ("train", "test") for task in sciworld.tasks(split)}
    assert listed == set(kinds()) - EXCLUDED
    for name in EXCLUDED:
        assert sciworld.task(f"{name}-var0").kind == name


@pytest.mark.parametrize(
    "name",
    ["", "boil", "boil-var30", "boil-var-1", "boil-var07", "boil-var\uff13", "sciworld_4639", "sciworld_x"],
)
def test_a_task_that_is_none_is_a_clear_mistake(sciworld: SciWorld, name: str) -> None:
    with pytest.raises(ConfigurationError, match="no such task; one is '"):
        sciworld.task(name)


def test_the_splits_are_the_simulators_and_share_nothing(sciworld: SciWorld) -> None:
    train, test = ({task.name for task in sciworld.tasks(split)} for split in ("train", "test"))
    assert (len(train), len(test)) == (2312, 1171)
    assert not train & test
    assert sciworld.tasks("unseen") == ()
    assert "boil-var13" in train
    assert "boil-var14" not in train | test
    assert "boil-var21" in test


def test_every_prefix_of_a_split_has_all_kinds_as_evenly_as_can_be(sciworld: SciWorld) -> None:
    for split in ("train", "test"):
        assert len({task.kind for task in islice(sciworld.tasks(split), 23)}) == 23


def test_without_java_one_is_told_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(PreflightError, match="apt-get install default-jre-headless"):
        SciWorld()


def test_without_the_package_one_is_told_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "scienceworld", None)
    with pytest.raises(PreflightError, match=r"pip install scienceworld==1\.2\.3"):
        SciWorld()


def test_the_shortest_way_between_any_two_rooms_is_known() -> None:
    for here in EXITS:
        for there in EXITS:
            room, walked = here, 0
            while room != there:
                room = next_room(room, there)
                walked += 1
            assert walked <= 4
    assert next_room("kitchen", "kitchen") == next_room("kitchen", "moon") == ""


@pytest.mark.parametrize(
    ("alias", "written"),
    [
        ("examine steam", "look at steam"),
        ("drop light", "put down light"),
        ("go kitchen", "go to kitchen"),
        ("go to kitchen", "go to kitchen"),
        ("pour pot into sink", "pour pot in sink"),
        ("move pot to sink", "move pot to sink"),
    ],
)
def test_an_alias_is_known_by_one_name_which_is_a_function(alias: str, written: str) -> None:
    assert canonical(alias) == written
    assert FUNCTIONS.action(FUNCTIONS.call(written)) == written


def test_any_text_becomes_one_line_that_can_be_sent() -> None:
    assert cleaned(" a\n\tb \ud800 ") == "a b ?"


def test_a_class_that_does_not_call_the_method_is_not_mended() -> None:
    with zipfile.ZipFile(jar()) as classes:
        code = classes.read("scienceworld/struct/EnvObject.class")
    mended = with_hash_code(code, "uuid")
    assert len(mended) > len(code)
    with pytest.raises(ValueError, match="calls no method age"):
        with_hash_code(code, "age")
    with pytest.raises(ValueError, match="has a hash code"):
        with_hash_code(mended, "uuid")
