"""Write `tasks.json` and `words.txt` again, from the running simulator.

    python -m envhub.envs.sciworld.freeze

Needed only for another version of the package; the words take an hour of one core.
"""

import json
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any, Final

from envhub.environment import words
from envhub.envs.sciworld import jvm
from envhub.envs.sciworld.jvm import jar, shared_jvm
from envhub.envs.sciworld.tasks import TABLE, Kind, kinds
from envhub.envs.sciworld.texts import WORDS
from envhub.envs.sciworld.world import World

NUM_PLAYED: Final = 4
"""So many variations of a kind are played along the expert's path for their words."""


def kinds_of_the_simulator() -> list[dict[str, Any]]:
    """The rows of `tasks.json` as the simulator has them."""
    rows = json.loads((jar().parent / "tasks.json").read_text())
    return [_row(row["task_id"], row["task_name"]) for row in rows]


def _row(number: str, name: str) -> dict[str, Any]:
    world = World(shared_jvm(), name, 0, is_lean=False)
    train, test = world.variations("Train"), world.variations("Test")
    count = world.num_variations()
    world.release()
    if train != list(range(len(train))) or test != list(range(test[0], test[-1] + 1)):
        raise AssertionError(f"{name}: its sets are not ranges")
    return {
        "number": number,
        "name": name,
        "num_variations": count,
        "num_train": len(train),
        "first_test": test[0],
        "end_test": test[-1] + 1,
    }


def said(kind: Kind, variation: int, *, is_played: bool) -> Iterator[str]:
    """Texts of one task: what it asks for, every object in it, and what its expert sees and does."""
    world = World(shared_jvm(), kind.name, variation)
    yield world.description()
    yield world.look()
    yield from _names(json.loads(world.tree()))
    if is_played:
        guide = World(shared_jvm(), kind.name, variation, has_gold=True)
        path = guide.gold()
        guide.release()
        for action in path:
            yield action
            outcome = world.step(action)
            yield outcome.text
            if outcome.is_completed:
                break
        yield world.inventory()
    world.release()


def _names(node: Any) -> Iterator[str]:
    """The names of an object and of everything in it, and what they are made of."""
    yield node["name"]
    material = node.get("propMaterial") or {}
    yield from (str(material[key]) for key in ("substanceName", "color", "stateOfMatter") if key in material)
    for child in node["contents"].values():
        yield from _names(child)


def vocabulary_of_the_simulator(num_played: int = NUM_PLAYED) -> list[str]:
    """The lines of `words.txt`."""
    texts = (
        said(kind, variation, is_played=variation < num_played)
        for kind in kinds().values()
        for variation in range(kind.num_variations)
    )
    found = {word for text in chain.from_iterable(texts) for word in words(text)}
    return sorted(word for word in found if not word.isdigit() and word != "\n")


def main(table: Path = TABLE, vocabulary: Path = WORDS) -> None:
    """Write both files."""
    content = {"package": f"{jvm.PACKAGE} {jvm.VERSION}", "kinds": kinds_of_the_simulator()}
    table.write_text(json.dumps(content, indent=1) + "\n")
    vocabulary.write_text("\n".join(vocabulary_of_the_simulator()) + "\n")


if __name__ == "__main__":
    main()
