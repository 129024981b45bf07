"""A run's folder whose speeds are known: an engine of the model plays, the real ledger keeps it."""

import random
import sqlite3
from pathlib import Path
from typing import Any

import numpy as np
import simpy
import tomli_w

from common.run_directory import RunDirectory
from common.trajectory import Member, TaskReference, Trajectory, Turn, VersionSpan
from launch.plan.costs import Costs
from launch.plan.engine import SharedEngine
from learner.ledger import Ledger
from tests.launch.making import run_config

TASK = TaskReference(environment="guess_number", task="number-000")
BEGAN_AT = 1e9
GRANT_S, DELIVERY_S, OPENING_S, ENVIRONMENT_S = 0.02, 0.03, 0.125, 0.5
TRAINING_S, TRAINING_PER_TOKEN_S, PUBLISH_S, AFTER_S = 0.5, 0.002, 0.25, 0.125
LOAD_S, PAUSE_S = 0.2, 0.1
COSTS = Costs(decode_s=0.02, decode_per_request_s=0.005, read_s=0.002, request_s=0.01)
SESSIONS, PER_SESSION, SIZE = 6, 10, 2


def played_at(costs: Costs = COSTS) -> list[tuple[float, list[tuple[int, int, float, float]]]]:
    """Episodes in the order of their ends: (began, [(read, sampled, generation s, environment s)])."""
    env, rng = simpy.Environment(), random.Random(0)
    engine = SharedEngine(env, costs, 64)
    found: list[tuple[float, list[tuple[int, int, float, float]]]] = []

    def session() -> simpy.events.ProcessGenerator:
        for _ in range(PER_SESSION):
            began, turns = env.now, []
            yield env.timeout(OPENING_S)
            for _ in range(rng.randint(1, 5)):
                read, sampled, wait = (
                    rng.randint(5, 60),
                    rng.randint(1, 40),
                    rng.expovariate(1 / ENVIRONMENT_S),
                )
                asked = env.now
                yield engine.generate(0, read, sampled)
                turns.append((read, sampled, env.now - asked, wait))
                yield env.timeout(wait)
            found.append((began, turns))

    for _ in range(SESSIONS):
        env.process(session())
    env.run()
    return found


def trajectory(run: str, group: int, member: int, began: float, turns: list[Any], score: float) -> Trajectory:
    """The record of one such episode."""
    made = [
        Turn(
            prompt_tokens=np.ones(read, np.int32),
            action_tokens=np.ones(sampled, np.int32),
            behaviour_logprobs=np.zeros(sampled, np.float32),
            versions=(VersionSpan(version=0, num_tokens=sampled),),
            is_stopped=True,
            observation="",
            action="",
            reward=score if index == len(turns) - 1 else 0.0,
            generation_s=generation_s,
            environment_s=environment_s,
        )
        for index, (read, sampled, generation_s, environment_s) in enumerate(turns)
    ]
    seconds = OPENING_S + sum(turn[2] + turn[3] for turn in turns)
    return Trajectory(
        identity=Member(run=run, group=group, member=member),
        task=TASK,
        horizon=5,
        turns=tuple(made),
        outcome="terminated",
        actor="actor-0",
        started_at=BEGAN_AT + began,
        finished_at=BEGAN_AT + began + seconds,
    )


def write_run(
    directory: Path, *, steps: int = 20, scores: tuple[float, ...] = (0.0, 1.0), **sections: Any
) -> Path:
    """The folder of a run of `steps` steps; members of a group score `scores` in turn."""
    learner = {"steps": 40, "groups_per_step": 1, "group_size": SIZE} | sections.pop("learner", {})
    actor = {"engine": {"kind": "vllm"}, "max_sessions": SESSIONS}
    config = run_config(directory, learner=learner, actor=actor, horizon={"rounds": [5]}, **sections)
    folder: RunDirectory = config.run.folder
    folder.path.mkdir(parents=True)
    folder.config.write_text(tomli_w.dumps(config.model_dump(mode="json", exclude_none=True)))
    ledger = Ledger(folder.ledger, config.run.name)
    episodes = played_at()
    groups = ledger.open_groups(
        [TASK] * (len(episodes) // SIZE), purpose="training", label="", horizon=5, size=SIZE, version=0
    )
    members = [(group.id, member) for group in groups for member in range(SIZE)]
    ledger.record_grants([(group, member, 0, "actor-0") for group, member in members])
    ledger.end_leases([(*members[-1], 0)], "faulted")
    ledger.record_grants([(*members[-1], 1, "actor-0")])
    for (group, member), (began, turns) in zip(members, episodes, strict=True):
        made = trajectory(config.run.name, group, member, began, turns, scores[member % len(scores)])
        if (group, member) == members[-1]:
            made = made.model_copy(update={"identity": made.identity.model_copy(update={"attempt": 1})})
        ledger.commit_submissions([made], 0)
    for step in range(1, steps + 1):
        ledger.consume(step, [groups[step - 1].id], horizon=5, max_staleness=0, num_tokens=1)
        ledger.record_step_values(step, step_values(100.0 * step))
    ledger.close()
    _put_clocks_right(folder.ledger, members, episodes)
    return folder.path


def step_values(num_tokens: float) -> dict[str, float]:
    """The metrics of a step on so many tokens."""
    training = TRAINING_S + TRAINING_PER_TOKEN_S * num_tokens
    step = training + PUBLISH_S + AFTER_S + 1.0
    return {
        "train/num_tokens": num_tokens,
        "time/training_s": training,
        "time/waiting_s": 1.0,
        "time/weight_sync_s": PUBLISH_S,
        "time/step_s": step,
        "engine/weight_sync_s": LOAD_S + PAUSE_S,
        "engine/paused_share": PAUSE_S / step,
    }


def _put_clocks_right(path: Path, members: list[tuple[int, int]], episodes: list[Any]) -> None:
    """The ledger writes down the time of writing; here it is that of the episodes."""
    database = sqlite3.connect(path)
    for (group, member), (began, turns) in zip(members, episodes, strict=True):
        ended = BEGAN_AT + began + OPENING_S + sum(turn[2] + turn[3] for turn in turns)
        where = "WHERE group_id = ? AND member = ?"
        database.execute(
            f"UPDATE leases SET granted_at = ? {where}", (BEGAN_AT + began - GRANT_S, group, member)
        )
        database.execute(
            f"UPDATE trajectories SET received_at = ? {where}", (ended + DELIVERY_S, group, member)
        )
    database.commit()
    database.close()
