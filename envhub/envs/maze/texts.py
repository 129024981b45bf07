"""What the mazes say; the sentences about goal, position and walls have LMRL-Gym's form."""

from envhub.envs.maze.grid import Cell, Grid
from envhub.functions import Function, Functions

RULES = """You walk through a maze to its goal, in as few moves as possible.
Positions are written row, column: moving down adds 1 to the row, moving right adds 1 to the column.
Every turn tells which of the four cells around you are walls, and in some mazes where you and the goal are.
A move against a wall changes nothing but costs a turn; after too many turns the maze is lost."""

FUNCTIONS = Functions(
    Function("move_up", "move up", "go to the row above"),
    Function("move_down", "move down", "go to the row below"),
    Function("move_left", "move left", "go to the column on the left"),
    Function("move_right", "move right", "go to the column on the right"),
)

SUCCESS = "Success"
FAILURE = "Failure"
REFUSAL = "Not a move. Write: move up, move down, move left or move right."
THOUGHT = "The shortest way to the goal leads {}."

_SIDES = {"to your right": (0, 1), "to your left": (0, -1), "above you": (-1, 0), "below you": (1, 0)}


def describe(grid: Grid, cell: Cell, goal: Cell, is_full: bool) -> str:
    """Goal and position when all is told, and always the walls."""
    walls = describe_walls(grid, cell)
    if not is_full:
        return walls
    return (
        f"The goal is at position {goal[0]}, {goal[1]}. "
        f"Your current position is at position {cell[0]}, {cell[1]}. {walls}"
    )


def describe_walls(grid: Grid, cell: Cell) -> str:
    """One sentence: none, one or several walls around the cell."""
    sides = walls_around(grid, cell)
    if not sides:
        return "There are no walls near you."
    return f"There is a wall {sides[0]}." if len(sides) == 1 else f"There are walls {', '.join(sides)}."


def walls_around(grid: Grid, cell: Cell) -> list[str]:
    """The sides on which a wall is, in the original's order."""
    return [
        side for side, (down, right) in _SIDES.items() if not grid.is_free((cell[0] + down, cell[1] + right))
    ]


def spoken(max_side: int) -> list[str]:
    """Every sentence with something of everything that can fill it, in mazes of that many rows or columns."""
    templates = [SUCCESS, FAILURE, REFUSAL, THOUGHT, *_SIDES, *(f.template for f in FUNCTIONS)]
    around_nothing, one_wall = Grid(("000", "000", "000")), Grid(("000", "000", "010"))
    told = [describe(grid, (1, 1), (0, 0), True) for grid in (around_nothing, one_wall, Grid(("0",)))]
    return [*templates, *told, "\n", *(str(number) for number in range(max_side))]
