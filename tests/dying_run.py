"""A tiny deterministic run in one process that can be told to die by SIGKILL at a chosen moment.

Every episode is played alone, with seeds that its lease decides; nobody waits for a clock.
"""

import os
import signal
import sys
from functools import partial
from pathlib import Path
from typing import Any, Literal

from launch.config import RunConfig
from launch.local import run_in_one_loop
from launch.pipeline import conduct
from learner.dispatcher import Dispatcher

STEPS = 5
Moment = Literal["", "before consuming", "after consuming", "while writing", "after writing"]

SETTINGS: dict[str, Any] = {
    "model": {
        "source": "small",
        "dtype": "float32",
        "small": {
            "hidden_size": 32, "intermediate_size": 32, "num_layers": 1, "num_heads": 2, "num_kv_heads": 2,
            "max_length": 128,
        },
    },
    "tasks": {"environment": "guess_number", "action_format": "plain"},
    "sampling": {"max_action_tokens": 3, "max_episode_tokens": 128},
    "actor": {
        "num_actors": 1, "max_sessions": 1, "is_seeded": True,
        "engine": {"kind": "transformers", "max_model_len": 128},
    },
    "learner": {
        "steps": STEPS, "groups_per_step": 2, "group_size": 2, "learning_rate": 1e-2, "schedule": "linear",
        "drops_zero_variance": False, "checkpoint_every": 2, "keep_every": 2, "device": "cpu",
        "staleness": {"max_staleness": 0}, "loss": {"entropy": 0.1},
        "curriculum": {"kind": "pools"},
    },
    "horizon": {"kind": "stepwise", "rounds": [1, 2], "every": 2},
    "monitor": {"wandb": "off"},
}  # fmt: skip

Kind = Literal["", "adapters", "separate critic", "shared critic"]
_VALUED = {"advantage": {"kind": "gae", "gamma": 0.95}}
KINDS: dict[Kind, dict[str, dict[str, Any]]] = {
    "": {},
    "adapters": {
        "model": {"lora": {"rank": 4}}, "learner": {"loss": {"entropy": 0.1, "reference_kl": 0.1}},
    },
    "separate critic": {"learner": _VALUED | {"critic": {"kind": "separate", "learning_rate": 1e-3}}},
    "shared critic": {"learner": _VALUED | {"critic": {"kind": "shared", "learning_rate": 1e-3}}},
}  # fmt: skip
"""What is not as in `SETTINGS`."""


def config_in(directory: Path, kind: Kind = "") -> RunConfig:
    changed = {section: SETTINGS[section] | changes for section, changes in KINDS[kind].items()}
    run = {"name": "tiny", "directory": str(directory)}
    return RunConfig.model_validate(SETTINGS | changed | {"run": run})


def play(directory: Path, moment: Moment, step: int, kind: Kind) -> None:
    """Start or resume the run; dies at the moment of that step, or leaves with the exit code of the run."""
    config = config_in(directory, kind)
    folder = config.run.folder.checkpoints
    if moment in ("while writing", "after writing"):
        sys.addaudithook(partial(_die_at_the_disk, folder, folder / f"step-{step:06d}", moment))
    Doomed.moment, Doomed.step = moment, step
    sys.exit(conduct(config, lambda config, view: run_in_one_loop(config, view, Doomed)))


class Doomed(Dispatcher):
    """Dies when a step is consumed."""

    moment: Moment = ""
    step = 0

    async def consumed(self, step: int, groups: Any, **values: Any) -> None:
        if (self.moment, self.step) == ("before consuming", step):
            _die()
        await super().consumed(step, groups, **values)
        if (self.moment, self.step) == ("after consuming", step):
            _die()


def _die_at_the_disk(
    folder: Path, kept: Path, moment: Moment, event: str, arguments: tuple[Any, ...]
) -> None:
    """With the first of a rank's files written, or with the checkpoint in its place and nothing pruned."""
    if event not in ("open", "os.listdir", "os.scandir"):
        return
    path = Path(os.fsdecode(arguments[0])) if isinstance(arguments[0], str | bytes | os.PathLike) else None
    if path is None:
        return
    is_second_file = path.name == "random-00000.json" and path.parent.name.startswith(f".draft-{kept.name}")
    if moment == "while writing" and event == "open" and is_second_file:
        _die()
    if moment == "after writing" and event != "open" and path == folder and (kept / "manifest.json").exists():
        _die()


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)
