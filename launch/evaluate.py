"""`pronghorn eval CONFIG.toml`: avg@k and pass@k on held-out tasks, with their intervals.

    --model FOLDER | --checkpoint RUN/checkpoints/step-N | --latest RUN | --api URL --api-model NAME

Every episode is on the disk when it has ended; the same command with --resume plays only what is missing.
"""

import argparse
import asyncio
import hashlib
import json
import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from actors.assembly import make_table
from actors.chat import ChatTable, play_chat
from actors.chat_client import ChatClient, Usage
from actors.config import ActorRoleConfig
from actors.engine.factory import make_engine
from actors.rollout import play
from common.config import load, validate
from common.messages import Lease
from common.trajectory import TaskReference, Trajectory
from envhub.local import LocalHub
from launch.config import RunConfig
from launch.evaluated import Evaluated, choose, model_folder
from launch.evaluation_folder import EvaluationFolder, opened
from launch.evaluation_play import Play, Player, play_all, progress
from launch.evaluation_results import print_results, write_results
from launch.tasks import heldout_tasks

NUM_TASKS = 100
"""Where `evaluation.num_tasks` says nothing."""

KEYS = ("PRONGHORN_API_KEY", "OPENAI_API_KEY")
"""Environment variables that may hold the key of the API; the first that is set counts."""


def main(options: argparse.Namespace, overrides: Sequence[str]) -> int:
    """Play the held-out tasks and print the result; the exit code."""
    config = load(RunConfig, options.config, [*overrides, *shortcuts(options)])
    evaluated = choose(options, config)
    out = options.out or config.run.folder.path / "evaluations" / folder_name(evaluated)
    values = asyncio.run(_evaluate(config, evaluated, out, resumes=options.resume))
    print_results(evaluated.name, values)
    print(f"pronghorn: {out}")
    return 0


def shortcuts(options: argparse.Namespace) -> list[str]:
    """The short options as settings."""
    settings = {
        "evaluation.samples": options.samples,
        "evaluation.temperature": 0 if options.greedy else None,
        "api.url": json.dumps(options.api) if options.api else None,
        "api.model": json.dumps(options.api_model) if options.api_model else None,
        "api.price_in": options.price_in,
        "api.price_out": options.price_out,
    }
    return [f"--{name}={value}" for name, value in settings.items() if value is not None]


def folder_name(evaluated: Evaluated) -> str:
    """A name of a folder for what is evaluated."""
    return "".join(c if c.isalnum() or c in "._-" else "-" for c in evaluated.name).strip("-.") or "model"


async def _evaluate(config: RunConfig, evaluated: Evaluated, out: Path, *, resumes: bool) -> dict[str, Any]:
    tasks = await heldout_tasks(config, LocalHub(), config.evaluation.num_tasks or NUM_TASKS)
    settings = settings_of(config, evaluated, tasks)
    with opened(out, settings, resumes=resumes) as folder:
        done = folder.done
        missing = [
            Play(index, task, sample)
            for index, task in enumerate(tasks)
            for sample in range(config.evaluation.samples)
            if ((task.environment, task.task, task.seed), sample) not in done
        ]
        if missing:
            await _play(config, evaluated, folder, missing)
        prices = (config.api.price_in, config.api.price_out)
        return await asyncio.to_thread(
            write_results, folder, settings=settings, config=config.model_dump(mode="json"), prices=prices
        )


def settings_of(config: RunConfig, evaluated: Evaluated, tasks: Sequence[TaskReference]) -> dict[str, Any]:
    """All that a result depends on, and that a resumed evaluation must share with its beginning."""
    named = [[task.environment, task.task, task.seed] for task in tasks]
    engine = config.actor.engine
    played_by = {} if evaluated.kind == "api" else {"engine": engine.kind, "dtype": engine.dtype}
    return {
        "model": evaluated.described(),
        "environments": list(config.tasks.environments),
        "num_tasks": len(tasks),
        "tasks": hashlib.sha256(json.dumps(named).encode()).hexdigest()[:16],
        "samples": config.evaluation.samples,
        "horizon": horizon_of(config),
        "action_format": config.tasks.action_format,
        "sampling": config.sampling.model_copy(
            update={"temperature": config.evaluation.temperature}
        ).model_dump(),
        **played_by,
    }


def horizon_of(config: RunConfig) -> int:
    """The most turns of an episode."""
    return config.evaluation.horizon or config.horizon.rounds[-1]


async def _play(
    config: RunConfig, evaluated: Evaluated, folder: EvaluationFolder, missing: Sequence[Play]
) -> None:
    sampling = config.sampling.model_copy(update={"temperature": config.evaluation.temperature})
    async with player(config, evaluated, folder.path / ".model") as chosen:
        with progress(len(missing)) as advance:
            await play_all(
                missing,
                chosen,
                folder,
                run=config.run.name,
                horizon=horizon_of(config),
                sampling=sampling,
                max_sessions=config.actor.max_sessions,
                advance=advance,
            )


@asynccontextmanager
async def player(config: RunConfig, evaluated: Evaluated, scratch: Path) -> AsyncIterator[Player]:
    """What plays one leased episode: an API, or an engine that is started here and closed with the body."""
    hub = LocalHub()
    if evaluated.kind == "api":
        async with ChatClient(config.api, api_key()) as client:
            table = ChatTable("evaluation", hub, client, config.tasks.action_format)

            async def by_api(lease: Lease, usage: Usage) -> Trajectory:
                return await play_chat(lease, table, usage)

            yield by_api
        return
    role = validate(ActorRoleConfig, config.model_dump())
    with model_folder(evaluated, scratch) as model:
        engine = make_engine(model, config.actor.engine)
        try:
            await engine.start(evaluated.version)
            seat = make_table(role, "evaluation", hub, engine, model)

            async def by_engine(lease: Lease, _usage: Usage) -> Trajectory:
                return await play(lease, seat)

            yield by_engine
        finally:
            await engine.close()


def api_key() -> str:
    """The key of the API; empty when no variable holds one, as for a server of one's own."""
    return next((os.environ[name] for name in KEYS if os.environ.get(name)), "")
