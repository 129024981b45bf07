"""The fixed maze of LMRL-Gym, two T shapes, and the starts that AgentGym numbers."""

from envhub.envs.maze.grid import Cell, Grid

GRID = Grid(
    (
        "1111111111111",
        "1000001000001",
        "1110111110111",
        "1110111110111",
        "1110111110111",
        "1110000000111",
        "1111110111111",
        "1111110111111",
        "1111110111111",
        "1111111111111",
    )
)
GOAL: Cell = (8, 6)
MAX_TURNS = 50
STARTS: tuple[Cell, ...] = (
    *((1, column) for column in (1, 2, 3, 4, 5, 7, 8, 9, 10, 11)),
    *((row, 3) for row in (2, 3, 4, 5)),
    *((5, column) for column in (4, 5, 6)),
    *((row, 6) for row in (6, 7)),
    *((5, column) for column in (7, 8, 9)),
    *((row, 9) for row in (4, 3, 2)),
)
"""By AgentGym's `game`. Its list goes on with the goal itself, where no episode can begin."""
