"""Mazes: the original's numbers and sentences, generated mazes that can be walked, and grids from files."""

import struct
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.errors import ConfigurationError
from envhub import registry
from envhub.envs.maze import lmrl
from envhub.envs.maze.environment import (
    FIRST_TEST_NUMBER,
    MAX_SIZE,
    MIN_SIZE,
    NUM_TEST,
    NUM_TRAIN,
    SIZES,
    SKIPPED,
    Maze,
    generated,
)
from envhub.envs.maze.generators import depth_first, prim
from envhub.envs.maze.grid import Grid
from envhub.envs.maze.imported import MazeGrids, read_mazes
from envhub.envs.maze.texts import describe

MAZE = Maze()
FROZEN_DEPTH_FIRST = ("1111111", "1000001", "1111101", "1000101", "1010101", "1010001", "1111111")
FROZEN_PRIM = ("1111111", "1010101", "1010101", "1000001", "1010111", "1010001", "1111111")
ODD = st.integers(MIN_SIZE // 2, MAX_SIZE // 2).map(lambda half: 2 * half + 1)


def test_the_fixed_maze_has_26_free_cells_and_every_one_but_the_goal_is_a_start() -> None:
    assert (lmrl.GRID.height, lmrl.GRID.width, len(lmrl.GRID.free)) == (10, 13, 26)
    assert {*lmrl.STARTS, lmrl.GOAL} == set(lmrl.GRID.free)
    assert sorted(set(lmrl.GRID.distances(lmrl.GOAL).values())) == list(range(13))


def test_an_index_is_the_original_game() -> None:
    starts = [MAZE.reset(MAZE.indexed(game).name, 0).detail()["position"] for game in range(25)]
    assert starts == [list(start) for start in lmrl.STARTS]
    assert (starts[0], starts[9], starts[13], starts[18], starts[24]) == (
        [1, 1],
        [1, 11],
        [5, 3],
        [7, 6],
        [2, 9],
    )


@pytest.mark.parametrize("index", [-1, 25, 26, 10**9])
def test_the_original_game_25_began_at_the_goal_and_is_out_of_range(index: int) -> None:
    with pytest.raises(ConfigurationError, match="maze has the tasks 0 to 24"):
        MAZE.indexed(index)


@pytest.mark.parametrize("name", ["maze_7", "lmrlgym_maze_7", "lmrl-7", "lmrl-07"])
def test_names_of_agentgym_mean_the_same_task(name: str) -> None:
    assert MAZE.task(name).name == "lmrl-07"


def test_generated_mazes_of_any_odd_size_have_names() -> None:
    assert MAZE.task("full-9x9-123").name == "full-9x9-000123"
    assert MAZE.task("partial-5x41-000042").split == "train"
    assert MAZE.task("partial-15x15-900042").split == "test"
    for name in (
        "full-8x9-000001",
        "full-3x3-000001",
        "full-43x43-000001",
        "maze_25",
        "lmrl-25",
        "full-9x9-",
    ):
        with pytest.raises(ConfigurationError, match="no such task"):
            MAZE.task(name)


def test_no_test_maze_has_the_walls_of_a_training_maze() -> None:
    listed = {split: {task.name for task in MAZE.tasks(split)} for split in ("train", "test")}
    for size in SIZES:
        trained = {generated(size, size, number, True).grid for number in range(NUM_TRAIN)}
        numbers = range(FIRST_TEST_NUMBER, FIRST_TEST_NUMBER + NUM_TEST + len(SKIPPED.get(size, ())))
        known = [n for n in numbers if generated(size, size, n, True).grid in trained]
        assert tuple(known) == SKIPPED.get(size, ())
        for kind in ("full", "partial"):
            tested = {f"{kind}-{size}x{size}-{n:06d}" for n in numbers if n not in known}
            assert tested == {n for n in listed["test"] if n.startswith(f"{kind}-{size}x")}
            assert f"{kind}-{size}x{size}-{NUM_TRAIN - 1:06d}" in listed["train"]


def test_the_sentences_are_the_original_ones() -> None:
    walk = {
        "lmrl-15": "The goal is at position 8, 6. Your current position is at position 5, 5. "
        "There are walls above you, below you.",
        "lmrl-16": "The goal is at position 8, 6. Your current position is at position 5, 6. "
        "There is a wall above you.",
        "lmrl-00": "The goal is at position 8, 6. Your current position is at position 1, 1. "
        "There are walls to your left, above you, below you.",
    }
    for name, told in walk.items():
        assert MAZE.reset(name, 0).observation == told


def test_a_cell_without_walls_says_so() -> None:
    (grid, goal, _starts), *_ = read_mazes("000\n000\n00G")
    assert describe(grid, (1, 1), goal, is_full=False) == "There are no walls near you."
    assert describe(grid, (0, 1), goal, is_full=False) == "There is a wall above you."


def test_right_adds_to_the_second_number_and_down_to_the_first() -> None:
    episode = MAZE.reset("lmrl-16", 0)
    assert "position 5, 7." in episode.step("move right").observation
    assert "position 5, 6." in episode.step("move left").observation
    assert "position 6, 6." in episode.step("move down").observation
    assert "position 5, 6." in episode.step("move up").observation


def test_the_goal_is_success_and_reward_1() -> None:
    episode = MAZE.reset("lmrl-18", 0)
    result = episode.step("move down")
    assert (result.observation, result.reward, result.is_terminated, result.is_success) == (
        "Success",
        1.0,
        True,
        True,
    )


def test_a_wall_stops_without_a_word() -> None:
    episode = MAZE.reset("lmrl-00", 0)
    shown = episode.observation
    result = episode.step("move up")
    assert (result.observation, result.reward, result.is_malformed) == (shown, 0.0, False)


@pytest.mark.parametrize("text", ["up", " Move UP ", "move up\n"])
def test_a_direction_alone_or_in_capitals_is_understood(text: str) -> None:
    assert "position 4, 3." in MAZE.reset("lmrl-13", 0).step(text).observation


@pytest.mark.parametrize("text", ["", "move", "move north", "move up!", "up up", "\ud800"])
def test_other_text_moves_nothing_but_counts_as_a_turn_as_in_the_original(text: str) -> None:
    episode = MAZE.reset("lmrl-13", 0)
    shown = episode.observation
    result = episode.step(text)
    assert result.is_malformed
    assert result.observation == f"Not a move. Write: move up, move down, move left or move right.\n{shown}"
    assert episode.detail()["turns"] == 1


def test_after_50_turns_the_next_one_fails_without_reward() -> None:
    episode = MAZE.reset("lmrl-00", 0)
    for _ in range(50):
        assert not episode.step("move up").is_over
    result = episode.step("move right")
    assert (result.observation, result.reward, result.score) == ("Failure", 0.0, -1.0)
    assert (result.is_truncated, result.is_terminated, result.is_success) == (True, False, False)
    assert episode.step("move right") == result


def test_larger_mazes_have_more_turns() -> None:
    assert [generated(n, n, 0, True).max_turns for n in (5, 7, 9, 15, 41)] == [50, 50, 62, 194, 1598]


@given(ODD, ODD, st.integers(0, 999), st.sampled_from([depth_first, prim]))
def test_a_generated_maze_has_one_way_between_any_two_cells(
    height: int, width: int, number: int, make: Callable[[int, int, Random], Grid]
) -> None:
    grid = make(height, width, Random(number))
    rooms = (height // 2) * (width // 2)
    assert len(grid.free) == 2 * rooms - 1
    assert len(grid.distances(grid.free[0])) == len(grid.free)
    assert all(0 < row < height - 1 and 0 < column < width - 1 for row, column in grid.free)


@given(ODD, st.integers(0, 999_999), st.booleans())
def test_no_episode_begins_at_its_goal(size: int, number: int, is_full: bool) -> None:
    puzzle = generated(size, size, number, is_full)
    assert puzzle.distances[puzzle.start] > 0


def test_both_generators_are_frozen() -> None:
    assert generated(7, 7, 0, True).grid.rows == FROZEN_DEPTH_FIRST
    assert generated(7, 7, 1, True).grid.rows == FROZEN_PRIM


def test_the_expert_takes_a_shortest_way_from_every_cell() -> None:
    for game, start in enumerate(lmrl.STARTS):
        episode = MAZE.reset(f"lmrl-{game:02d}", 0)
        turns = 0
        while not episode.step(episode.expert().action).is_over:
            turns += 1
        assert turns + 1 == lmrl.GRID.distances(lmrl.GOAL)[start]


def test_partial_mazes_tell_neither_position_nor_goal() -> None:
    full, partial = MAZE.reset("full-9x9-000123", 0), MAZE.reset("partial-9x9-000123", 0)
    assert full.observation.endswith(f" {partial.observation}")
    assert partial.observation.startswith("There ")
    assert set(full.detail()) - set(partial.detail()) == {"position", "goal"}
    assert full.render().splitlines()[:9] == partial.render().splitlines()[:9]


def test_the_map_shows_walker_and_goal() -> None:
    rows = MAZE.reset("lmrl-00", 0).render().splitlines()
    assert rows[1] == "#@    #     #"
    assert rows[8] == "######G######"


def test_the_picture_is_a_png_of_the_map() -> None:
    picture = MAZE.reset("lmrl-00", 0).picture()
    assert picture.startswith(b"\x89PNG\r\n\x1a\n")
    assert struct.unpack(">II", picture[16:24]) == (13 * 16, 10 * 16)
    begin = picture.index(b"IDAT") + 4
    pixels = zlib.decompressobj().decompress(picture[begin:])
    assert len(pixels) == 10 * 16 * (13 * 16 + 1)
    line = (1 * 16 + 8) * (13 * 16 + 1) + 1
    assert [pixels[line + 16 * column + 8] for column in (0, 1, 2)] == [1, 3, 0]


@pytest.fixture
def drawn(tmp_path: Path) -> Path:
    file = tmp_path / "two.txt"
    file.write_text("# the first\n1 1 1 1\n1,0,0,1\n1,0,G,1\n\n00000\n0111S\n0000G\n")
    return file


def test_grids_of_a_file_are_mazes(drawn: Path) -> None:
    grids = registry.environment(f"maze_grid:{drawn}")
    names = {task.name for split in ("train", "test") for task in grids.tasks(split)}
    cells = ["m0-r1-c1", "m0-r1-c2", "m0-r2-c1", "m1-r1-c4"]
    assert names == {f"{kind}-{cell}" for kind in ("full", "partial") for cell in cells}
    episode = grids.reset("partial-m1-r1-c4", 0)
    assert episode.observation == "There are walls to your right, to your left."
    assert episode.step("move down").is_success


@pytest.mark.parametrize(
    ("text", "mistake"),
    [
        ("", "the file has no maze"),
        ("# nothing\n\n", "the file has no maze"),
        ("000\n0x0", "line 2: 'x' is none of 0, 1, S and G"),
        ("000\n\n000\n00", "line 4: 2 cells, where line 3 has 3"),
        ("0G\nG0", "line 1: the maze has 2 goals"),
        ("111", "line 1: the maze has 0 goals"),
        ("1G1", "line 1: no free cell reaches the goal"),
        ("000\nS1G\n111\n1S1", "line 4: no way leads from S at 3, 1"),
        ("10S\n111", "line 1: S at 0, 2 is the goal itself"),
        ("0" * 100, "line 1: more than 99 rows or columns"),
    ],
)
def test_a_bad_drawing_names_its_line(text: str, mistake: str) -> None:
    with pytest.raises(ConfigurationError, match=mistake):
        read_mazes(text)


def test_a_file_with_very_many_starts_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="117600 tasks; allowed are 100000; mark the starts with S"):
        read_mazes("\n\n".join(["\n".join(["0" * 99] * 99)] * 6))


def test_a_large_maze_with_every_cell_a_start_is_read_at_once(tmp_path: Path) -> None:
    (tmp_path / "large.txt").write_text("\n".join(["0" * 60] * 60))
    started = time.process_time()
    grids = MazeGrids(str(tmp_path / "large.txt"))
    assert (len(grids.tasks("train")) + len(grids.tasks("test")), grids.horizon) == (2 * 3599, 2 * 118)
    # A walk through all cells for each of them takes a minute and more.
    assert time.process_time() - started < 10


def test_a_file_that_is_no_text_is_a_clear_mistake(tmp_path: Path) -> None:
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    for name in ("missing", "binary", ""):
        with pytest.raises(ConfigurationError, match="cannot be read as text"):
            MazeGrids(str(tmp_path / name))


def test_nobody_is_told_whose_home_a_file_is_missing_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(ConfigurationError, match=r"^maze_grid:~/missing: .*: 'missing'$") as refused:
        MazeGrids("~/missing")
    assert str(tmp_path) not in str(refused.value)
