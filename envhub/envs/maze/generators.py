"""Mazes from numbers: every free cell is reached by exactly one way."""

from random import Random

from envhub.envs.maze.grid import Cell, Grid

_ASIDE = ((-2, 0), (2, 0), (0, -2), (0, 2))


def depth_first(height: int, width: int, random: Random) -> Grid:
    """Few long corridors: from the newest room on, until there is none left to enter. Sizes are odd."""
    rooms = [_first_room(height, width, random)]
    free = {rooms[0]}
    while rooms:
        around = _closed(rooms[-1], height, width, free)
        if not around:
            rooms.pop()
            continue
        chosen = random.choice(around)
        _open(rooms[-1], chosen, free)
        rooms.append(chosen)
    return _grid(height, width, free)


def prim(height: int, width: int, random: Random) -> Grid:
    """Many short dead ends: on from any room that has a closed neighbour, as Prim's algorithm does."""
    first = _first_room(height, width, random)
    free = {first}
    doors = [(first, room) for room in _closed(first, height, width, free)]
    while doors:
        index = random.randrange(len(doors))
        doors[index], doors[-1] = doors[-1], doors[index]
        room, beyond = doors.pop()
        if beyond in free:
            continue
        _open(room, beyond, free)
        doors += [(beyond, other) for other in _closed(beyond, height, width, free)]
    return _grid(height, width, free)


def _first_room(height: int, width: int, random: Random) -> Cell:
    return 2 * random.randrange(height // 2) + 1, 2 * random.randrange(width // 2) + 1


def _closed(room: Cell, height: int, width: int, free: set[Cell]) -> list[Cell]:
    """The neighbouring rooms that nothing leads to yet; rooms stand on odd rows and columns."""
    around = [(room[0] + down, room[1] + right) for down, right in _ASIDE]
    return [cell for cell in around if 0 < cell[0] < height and 0 < cell[1] < width and cell not in free]


def _open(room: Cell, beyond: Cell, free: set[Cell]) -> None:
    free.add(((room[0] + beyond[0]) // 2, (room[1] + beyond[1]) // 2))
    free.add(beyond)


def _grid(height: int, width: int, free: set[Cell]) -> Grid:
    return Grid(tuple("".join("0" if (r, c) in free else "1" for c in range(width)) for r in range(height)))
