"""The original's games, where the user has them: the folder `json_2.1.1` below `ALFWORLD_DATA`.

$ALFWORLD_DATA/json_2.1.1/train/<task type>/<trial>/game.tw-pddl
                                                    initial_state.pddl and traj_data.json, without it
$ALFWORLD_DATA/mappings_train.json, mappings_test.json     AgentGym's numbers; or in $ALFWORLD_MAPPINGS
"""

import json
import os
import re
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any

from common.errors import ConfigurationError
from envhub.environment import spelled
from envhub.envs.alfworld import package
from envhub.envs.alfworld.game import GameFile, described, loaded
from envhub.envs.alfworld.games import NUM_TRAIN
from envhub.envs.alfworld.generator import KINDS
from envhub.envs.alfworld.problem import read
from envhub.task import Split, Task

DATA = "ALFWORLD_DATA"
MAPPINGS = "ALFWORLD_MAPPINGS"
_FOLDERS: dict[str, Split] = {
    "train": "train",
    "valid_train": "test",
    "valid_seen": "test",
    "valid_unseen": "unseen",
}
_MAPPING_FILES = {"mappings_train.json": 0, "mappings_test.json": NUM_TRAIN}
"""And the number of the first game in each."""
_NAME = re.compile(rf"((?:{'|'.join(KINDS)})(?:-[\w.-]+)?)[/_](trial_T[0-9]+(?:_[0-9]+)*)", re.ASCII)


@dataclass(frozen=True)
class Original:
    """One game of the original."""

    task: Task
    folder: Path

    def read(self) -> GameFile:
        """Its game; ConfigurationError when its files are no such game."""
        try:
            path = self.folder / "game.tw-pddl"
            if path.exists():
                return loaded(json.loads(path.read_text(encoding="utf-8")))
            problem = read((self.folder / "initial_state.pddl").read_text(encoding="utf-8"))
            trajectory = json.loads((self.folder / "traj_data.json").read_text(encoding="utf-8"))
            return described(problem, _sentence(self.task, trajectory))
        except OSError as error:
            raise ConfigurationError(
                f"task = {self.task.name!r}: its files cannot be read: {error.strerror}"
            ) from error
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ConfigurationError(
                f"task = {self.task.name!r}: its files cannot be played: {error}"
            ) from error


class Originals:
    """What of the original the environment variables lead to; looked up when asked for, never listed."""

    def __init__(self, data: str = "", mappings: str = "") -> None:
        """Folders; empty for those of the environment variables."""
        chosen = data or os.environ.get(DATA, "")
        self._root = Path(chosen) / "json_2.1.1" if chosen else None
        beside = mappings or os.environ.get(MAPPINGS, "")
        folders = [Path(folder) for folder in (beside, chosen) if folder]
        self._numbers = _numbers([*folders, *([self._root] if self._root else [])]) if self.is_present else {}

    @property
    def is_present(self) -> bool:
        """Whether there is a folder of games."""
        return self._root is not None and self._root.is_dir()

    @property
    def has_numbers(self) -> bool:
        """Whether AgentGym's numbers are known to mean the original's games."""
        return bool(self._numbers)

    def find(self, name: str) -> Original | None:
        """By `<task type>/<trial>` or `<task type>_<trial>`; None when the name or the game is another."""
        match = _NAME.fullmatch(name)
        if not match or self._root is None or ".." in name:
            return None
        kind = match[1].partition("-")[0]
        for folder, split in _FOLDERS.items():
            # The type alone stands for whatever follows it.
            pattern = match[1] if "-" in match[1] else f"{kind}-*"
            for found in sorted((self._root / folder).glob(f"{pattern}/{match[2]}")):
                task = Task(name=f"{found.parent.name}/{found.name}", split=split, kind=kind)
                return Original(task, found)
        return None

    def numbered(self, index: int) -> Original | None:
        """By AgentGym's number; None when no numbers are known.

        ConfigurationError when the number or the game that it means is not there.
        """
        if not self._numbers:
            return None
        name = self._numbers.get(index)
        if name is None:
            first, last = min(self._numbers), max(self._numbers)
            raise ConfigurationError(
                f"index = {spelled(index)}: the mappings have numbers from {first} to {last}"
            )
        found = self.find(name)
        if found is None:
            raise ConfigurationError(f"index = {index}: means {name}, which is not below {DATA}/json_2.1.1")
        return found


def _numbers(folders: list[Path]) -> dict[int, str]:
    """AgentGym's numbers, from the first folder that has each file."""
    found: dict[int, str] = {}
    for file, first in _MAPPING_FILES.items():
        path = next((folder / file for folder in folders if (folder / file).is_file()), None)
        if path is None:
            continue
        try:
            items = sorted(
                json.loads(path.read_text(encoding="utf-8")), key=lambda item: int(item["item_id"])
            )
            names = [f"{item['task_type']}/{item['task_id']}" for item in items]
        except (ValueError, KeyError, TypeError) as error:
            raise ConfigurationError(
                f"{file}: not a list of item_id, task_type and task_id: {error}"
            ) from error
        found.update(enumerate(names, first))
    return found


def _sentence(task: Task, trajectory: dict[str, Any]) -> str:
    """One of the package's sentences for the task, always the same one."""
    wanted = trajectory["pddl_params"]
    sentences = package.goal(task.kind)[1]
    number = int(blake2b(task.name.encode(), digest_size=8).hexdigest(), 16)
    return sentences[number % len(sentences)].format(
        obj=wanted["object_target"].lower(),
        recep=wanted["parent_target"].lower(),
        toggle=wanted["toggle_target"].lower(),
        mrecep=wanted["mrecep_target"].lower(),
    )
