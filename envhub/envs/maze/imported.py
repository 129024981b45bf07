"""`maze_grid:FILE`: mazes that somebody drew, as a text of 0 and 1.

    1111111      rows of one length, blanks and commas between the cells are fine;
    1S00001      a blank line ends a maze, a line that begins with # says nothing
    11101G1
    1111111

G is the goal; without one it is the last free cell. Tasks begin at every S; without one, at every free cell
that reaches the goal. Beyond the edges all is wall.
"""

import re
from hashlib import blake2b
from pathlib import Path

from common.errors import ConfigurationError
from envhub.environment import Environment, prompt_words, unknown_task
from envhub.envs.maze.episode import MazeEpisode
from envhub.envs.maze.grid import Cell, Grid, Puzzle, enough_turns
from envhub.envs.maze.texts import FUNCTIONS, RULES, spoken
from envhub.instructions import instructions
from envhub.sendable import one_line
from envhub.task import SPLITS, Split, Task, checked_split

MAX_SIDE = 99
"""The most rows and columns of a maze in a file."""
MAX_BYTES = 4_000_000
MAX_TASKS = 100_000
"""Of a file: where no S is marked every free cell is a start, twice."""

_TEST_SHARE = 5
"""One task of so many is for the test split."""


class MazeGrids(Environment):
    """Every start of every maze of a file, told in full and in part; a task is `full-m0-r1-c1`.

    ConfigurationError, with the line, when the file is no drawing of mazes.
    """

    functions = FUNCTIONS

    def __init__(self, file: str) -> None:
        self._file = file
        self.source = f"mazes of the file {Path(file).name}"
        self._mazes = read_mazes(_text(file))
        self._tasks = self._named()
        self._longest = max(_longest(*maze) for maze in self._mazes)
        self._max_side = max(max(maze[0].height, maze[0].width) for maze in self._mazes)

    @property
    def name(self) -> str:
        """The scheme and the file."""
        return f"maze_grid:{self._file}"

    @property
    def horizon(self) -> int:
        """Twice the longest of the shortest ways."""
        return max(50, 2 * self._longest)

    def tasks(self, split: Split) -> tuple[Task, ...]:
        """In the order of their names' hashes, which also choose the split."""
        return tuple(task for task in self._tasks.values() if task.split == split)

    def task(self, name: str) -> Task:
        """By name."""
        if name not in self._tasks:
            raise unknown_task(self.name, name, next(iter(self._tasks)), self._tasks)
        return self._tasks[name]

    def reset(self, task: str, seed: int) -> MazeEpisode:
        """Begin at the task's start; `seed` is not used."""
        kind, maze, row, column = self.task(task).name.split("-")
        grid, goal, _ = self._mazes[int(maze[1:])]
        start = int(row[1:]), int(column[1:])
        return MazeEpisode(Puzzle(grid, start, goal, kind == "full", enough_turns(grid)))

    def instructions(self, action_format: str) -> str:
        """The rules, the moves, and the form of an answer."""
        return instructions(RULES, FUNCTIONS, action_format)

    def vocabulary(self) -> tuple[str, ...]:
        """A few words and the numbers of positions."""
        return tuple(sorted(prompt_words(self, spoken(self._max_side))))

    def _named(self) -> dict[str, Task]:
        names = [
            f"{kind}-m{number}-r{row}-c{column}"
            for kind in ("full", "partial")
            for number, (_, _, starts) in enumerate(self._mazes)
            for row, column in starts
        ]
        names.sort(key=lambda name: blake2b(name.encode()).digest())
        return {name: _task(index, name) for index, name in enumerate(names)}


def _task(index: int, name: str) -> Task:
    split = SPLITS[index % _TEST_SHARE == _TEST_SHARE - 1]
    return Task(name=name, split=checked_split(split), kind=name.partition("-")[0])


def _text(file: str) -> str:
    """The file's text; ConfigurationError when there is none to read."""
    path = Path(file).expanduser()
    try:
        if path.stat().st_size > MAX_BYTES:
            raise ConfigurationError(f"maze_grid:{file}: larger than {MAX_BYTES} bytes")
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = one_line(str(error))
        raise ConfigurationError(f"maze_grid:{file}: cannot be read as text: {why}") from error


def read_mazes(text: str) -> list[tuple[Grid, Cell, tuple[Cell, ...]]]:
    """Grid, goal and starts of every maze; ConfigurationError with the line that is wrong."""
    mazes = []
    block: list[tuple[int, str]] = []
    for number, line in enumerate([*text.splitlines(), ""], start=1):
        row = re.sub(r"[\s,]", "", line)
        if line.lstrip().startswith("#"):
            continue
        if row:
            block.append((number, row))
        elif block:
            mazes.append(_maze(block))
            block = []
    num_tasks = 2 * sum(len(starts) for _, _, starts in mazes)
    if num_tasks > MAX_TASKS:
        raise ConfigurationError(
            f"maze_grid: {num_tasks} tasks; allowed are {MAX_TASKS}; mark the starts with S"
        )
    if not mazes:
        raise ConfigurationError("maze_grid: the file has no maze; write rows of 0 (free) and 1 (wall)")
    return mazes


def _maze(block: list[tuple[int, str]]) -> tuple[Grid, Cell, tuple[Cell, ...]]:
    first = block[0][0]
    rows = [row for _, row in block]
    for number, row in block:
        if wrong := set(row) - set("01SG"):
            raise ConfigurationError(f"maze_grid: line {number}: {min(wrong)!r} is none of 0, 1, S and G")
        if len(row) != len(rows[0]):
            raise ConfigurationError(
                f"maze_grid: line {number}: {len(row)} cells, where line {first} has {len(rows[0])}"
            )
    if max(len(rows), len(rows[0])) > MAX_SIDE:
        raise ConfigurationError(f"maze_grid: line {first}: more than {MAX_SIDE} rows or columns")
    grid = Grid(tuple(row.replace("S", "0").replace("G", "0") for row in rows))
    goals = _marked(rows, "G") or grid.free[-1:]
    if len(goals) != 1:
        raise ConfigurationError(f"maze_grid: line {first}: the maze has {len(goals)} goals; mark one G")
    return grid, goals[0], _starts(grid, goals[0], _marked(rows, "S"), first)


def _starts(grid: Grid, goal: Cell, marked: tuple[Cell, ...], first: int) -> tuple[Cell, ...]:
    reaching = grid.distances(goal)
    for cell in marked:
        if cell == goal:
            raise ConfigurationError(
                f"maze_grid: line {first + cell[0]}: S at {cell[0]}, {cell[1]} is the goal itself; mark a G "
                "elsewhere"
            )
        if cell not in reaching:
            raise ConfigurationError(
                f"maze_grid: line {first + cell[0]}: no way leads from S at {cell[0]}, {cell[1]} to the goal"
            )
    starts = marked or tuple(cell for cell in grid.free if cell in reaching and cell != goal)
    if not starts:
        raise ConfigurationError(f"maze_grid: line {first}: no free cell reaches the goal")
    return starts


def _longest(grid: Grid, goal: Cell, starts: tuple[Cell, ...]) -> int:
    """Of the shortest ways from the starts."""
    distances = grid.distances(goal)
    return max(distances[start] for start in starts)


def _marked(rows: list[str], mark: str) -> tuple[Cell, ...]:
    return tuple((r, c) for r, row in enumerate(rows) for c, found in enumerate(row) if found == mark)
