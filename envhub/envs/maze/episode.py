"""One walk through a maze."""

from typing import Any

from envhub.environment import Episode, ExpertMove, StepResult
from envhub.envs.maze.grid import MOVES, Puzzle
from envhub.envs.maze.picture import drawn
from envhub.envs.maze.texts import FAILURE, REFUSAL, SUCCESS, THOUGHT, describe, walls_around

# As in the original's client, the direction alone will do.
_MEANT = {text: move for move in MOVES for text in (move, move.removeprefix("move "))}


class MazeEpisode(Episode):
    """Reward 1 at the goal; the turn after the last one is answered with `Failure` and truncates.

    The score is the original's reward: 1 at the goal, -1 for `Failure`, 0 before.
    """

    def __init__(self, puzzle: Puzzle) -> None:
        self._puzzle = puzzle
        self._cell = puzzle.start
        self._turns = 0
        self._is_lost = False
        self._observation = self._describe()

    @property
    def observation(self) -> str:
        """What was shown last."""
        return self._observation

    def step(self, action: str) -> StepResult:
        """Move, or bump into a wall; a malformed text moves nothing but is a turn, as in the original."""
        if self._is_over:
            return self._result(0.0)
        move = _MEANT.get(action.strip().lower())
        if self._turns >= self._puzzle.max_turns:
            self._is_lost = True
            self._observation = FAILURE
            return self._result(0.0, is_malformed=move is None)
        self._turns += 1
        if move is None:
            self._observation = f"{REFUSAL}\n{self._describe()}"
            return self._result(0.0, is_malformed=True)
        self._cell = self._puzzle.grid.moved(self._cell, move)
        self._observation = SUCCESS if self._is_won else self._describe()
        return self._result(float(self._is_won))

    def actions(self) -> tuple[str, ...]:
        """The four moves, possible or not: the walls are told in the observation."""
        return tuple(MOVES)

    def expert(self) -> ExpertMove:
        """A shortest way, by a map that the policy does not see."""
        move = self._puzzle.best_move(self._cell)
        return ExpertMove(action=move, thought=THOUGHT.format(move.removeprefix("move ")))

    def render(self) -> str:
        """The map: `#` walls, `@` the walker, `G` the goal."""
        rows = [list(row.replace("1", "#").replace("0", " ")) for row in self._puzzle.grid.rows]
        for mark, (row, column) in (("G", self._puzzle.goal), ("@", self._cell)):
            rows[row][column] = mark
        drawn = "\n".join("".join(row) for row in rows)
        return f"{drawn}\nTurn {self._turns} of {self._puzzle.max_turns}.\n{self._observation}"

    def picture(self) -> bytes:
        """The map as a PNG: walls dark, the goal green, the walker red."""
        return drawn(self._puzzle.grid, self._puzzle.goal, self._cell)

    def detail(self) -> dict[str, Any]:
        """Size, walls and turns; position and goal where the policy is told them too."""
        puzzle = self._puzzle
        facts: dict[str, Any] = {
            "size": [puzzle.grid.height, puzzle.grid.width],
            "walls": walls_around(puzzle.grid, self._cell),
            "turns": self._turns,
            "max_turns": puzzle.max_turns,
        }
        if puzzle.is_full:
            facts |= {"position": list(self._cell), "goal": list(puzzle.goal)}
        return facts

    @property
    def _is_won(self) -> bool:
        return self._cell == self._puzzle.goal

    @property
    def _is_over(self) -> bool:
        return self._is_won or self._is_lost

    def _describe(self) -> str:
        return describe(self._puzzle.grid, self._cell, self._puzzle.goal, self._puzzle.is_full)

    def _result(self, reward: float, is_malformed: bool = False) -> StepResult:
        return StepResult(
            observation=self._observation,
            reward=reward,
            is_terminated=self._is_won,
            is_truncated=self._is_lost,
            is_success=self._is_won,
            score=float(self._is_won) - float(self._is_lost),
            is_malformed=is_malformed,
        )
