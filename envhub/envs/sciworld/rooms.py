"""The building: which rooms there are, how they hang together, and what is in them now."""

import json
import re
from collections import deque
from typing import Any, Final

EXITS: Final[dict[str, tuple[str, ...]]] = {
    "art studio": ("hallway",),
    "bathroom": ("kitchen",),
    "bedroom": ("hallway",),
    "foundry": ("outside",),
    "greenhouse": ("hallway", "outside"),
    "hallway": ("art studio", "bedroom", "greenhouse", "kitchen", "living room", "workshop"),
    "kitchen": ("bathroom", "hallway", "outside"),
    "living room": ("hallway",),
    "outside": ("foundry", "greenhouse", "kitchen"),
    "workshop": ("hallway",),
}
"""The same in every variation of every task."""

_HERE: Final = re.compile(r"(?:room|location) is called the ([a-z ]+?)\.")


def room_of(look: str) -> str:
    """The room that `look around` describes; empty when the text is none of its."""
    match = _HERE.search(look)
    return match[1] if match else ""


def next_room(here: str, there: str) -> str:
    """The first room on a shortest way; empty when there is no way, or none is needed."""
    first: dict[str, str] = {here: ""}
    pending = deque([here])
    while pending:
        room = pending.popleft()
        for beside in EXITS.get(room, ()):
            if beside not in first:
                first[beside] = first[room] or beside
                pending.append(beside)
    return first.get(there, "")


def room_map(tree: dict[str, Any], here: str) -> list[dict[str, Any]]:
    """Every room with its exits and what stands in it, for a picture."""
    inside = {room["name"]: room["contents"] for room in tree["contents"]}
    return [
        {
            "name": name,
            "exits": list(exits),
            "is_here": name == here,
            "objects": [thing["name"] for thing in inside.get(name, [])],
        }
        for name, exits in EXITS.items()
    ]


def object_tree(text: str) -> dict[str, Any]:
    """The simulator's tree without what is to be found out: names, what is inside, and what is open or on."""
    return _trimmed(json.loads(text))


def _trimmed(node: dict[str, Any]) -> dict[str, Any]:
    kept: dict[str, Any] = {"name": node["name"]}
    container, device = node.get("propContainer") or {}, node.get("propDevice") or {}
    if container.get("isClosable"):
        kept["is_open"] = bool(container.get("isOpen"))
    if device.get("isActivable"):
        kept["is_activated"] = bool(device.get("isActivated"))
    # Every thing has electrical ends, which would be most of the tree.
    inside = (child for child in node["contents"].values() if not child["name"].startswith("terminal "))
    kept["contents"] = sorted((_trimmed(child) for child in inside), key=lambda child: str(child["name"]))
    return kept


def drawn(rooms: list[dict[str, Any]]) -> str:
    """The rooms as lines of text; a star marks where the agent is."""
    return "\n".join(
        f"{'*' if room['is_here'] else ' '} {room['name']} -> {', '.join(room['exits'])}: "
        + ", ".join(room["objects"])
        for room in rooms
    )
