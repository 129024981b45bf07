"""The native engine is held to TextWorld's: the same games, the same commands, every answer compared."""

import importlib.util
import os
import sys
from random import Random

import pytest

from envhub.envs.alfworld.commands import command
from envhub.envs.alfworld.engine import NativeGame
from envhub.envs.alfworld.environment import AlfWorldTextWorld
from envhub.envs.alfworld.game import Game, GameFile
from envhub.envs.alfworld.generator import KINDS, generate, targets
from envhub.envs.alfworld.planner import aim_of, next_move
from envhub.envs.alfworld.scenes import names, scene
from envhub.envs.alfworld.state import State

_MISSING = [name for name in ("alfworld", "textworld", "jericho") if importlib.util.find_spec(name) is None]
needs_textworld = pytest.mark.skipif(bool(_MISSING), reason=f"{', '.join(_MISSING)} not installed")
pytestmark = needs_textworld

NUM_SMALL = 6
"""Games in CI, one of each kind, in rooms that TextWorld loads in a second or two."""
NUM_LARGE = 240
MAX_TURNS = 40
_FORMS = (
    *("go to {0}", "open {0}", "close {0}", "use {0}", "examine {0}", "take {0} from {1}", "move {0} to {1}"),
    *("heat {0} with {1}", "clean {0} with {1}", "cool {0} with {1}", "slice {0} with {1}"),
)


def small_scenes(kind: str) -> list[str]:
    possible = [name for name in names() if targets(kind, name)]
    return sorted(possible, key=lambda name: len(scene(name).receptacles))[:4]


def all_scenes(kind: str) -> list[str]:
    return [name for name in names() if targets(kind, name)]


def chosen(random: Random, game: Game, file: GameFile) -> str:
    """The expert's move, an admissible one with a taste for the rare, or one that names anything."""
    lot = random.random()
    if lot < 0.25:
        aim = aim_of(file.world.goal)
        assert aim
        move = next_move(game.state, aim)
        assert move
        return move.action
    if lot < 0.8:
        possible = game.commands()
        rare = [text for text in possible if text.split()[0] not in ("go", "help", "look", "inventory")]
        return random.choice(rare if rare and lot < 0.65 else possible)
    things = list(file.world.ids)
    return random.choice(_FORMS).format(random.choice(things), random.choice(things))


def told(state: State) -> dict[str, object]:
    """Everything that the state says, without empty entries."""
    sets = {"inside": state.inside, "left": state.left, "nearby": state.nearby, "flags": state.flags}
    found = {name: {key: value for key, value in entries.items() if value} for name, entries in sets.items()}
    return {**found, "location": state.location, "held": state.held}


def compare(file: GameFile, seed: str) -> int:
    """Play both engines side by side; the number of turns played."""
    from envhub.envs.alfworld.textworld_game import TextWorldGame

    random = Random(seed)
    native, real = NativeGame(file), TextWorldGame(file)
    assert native.opening == real.opening
    for turn in range(MAX_TURNS):
        assert native.commands() == real.commands()
        assert told(native.state) == told(real.state)
        text = chosen(random, native, file)
        read = command(text)
        assert read
        assert read.text == text
        assert native.step(read) == real.step(read), (seed, turn, text)
        assert native.is_won == real.is_won, (seed, turn, text)
        if native.is_won:
            break
    real.close()
    return turn + 1


def compare_one(number: int, *, is_small: bool) -> int:
    kind = KINDS[number % len(KINDS)]
    rooms = small_scenes(kind) if is_small else all_scenes(kind)
    room = Random(f"room:{number}").choice(rooms)
    return compare(generate(kind, room, number), f"{kind}-{room}-{number}")


@pytest.mark.parametrize("number", range(NUM_SMALL))
def test_the_native_engine_plays_as_the_real_one(number: int) -> None:
    assert compare_one(number, is_small=True)


@pytest.mark.slow
@pytest.mark.timeout(0)
@pytest.mark.skipif(not os.environ.get("ALFWORLD_DIFFERENTIAL"), reason="ALFWORLD_DIFFERENTIAL is not set")
def test_the_native_engine_plays_hundreds_of_games_as_the_real_one() -> None:
    assert sum(compare_one(number, is_small=False) for number in range(1000, 1000 + NUM_LARGE))


def test_the_real_engine_plays_the_same_tasks() -> None:
    name = "look_at_obj_in_light-FloorPlan304-0001"
    arguments = sys.argv
    episode = AlfWorldTextWorld().reset(name, 0)
    assert sys.argv is arguments
    for _ in range(10):
        result = episode.step(episode.expert().action)
        if result.is_over:
            break
    assert result.is_success
    assert result.reward == 1.0
    assert "desklamp 1" in episode.render()
    episode.close()
