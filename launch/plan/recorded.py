"""What a run's ledger says that a simulation needs: groups as played, leases, steps."""

import json
import sqlite3
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from common.errors import LedgerError
from common.trajectory import Trajectory
from launch.plan.episodes import Episode, PlayedGroup, PlayedTurn
from launch.plan.fit import Generated
from learner.ledger_reader import LedgerReader, Selection


@dataclass(frozen=True)
class Recorded:
    """One run, as its ledger tells it."""

    groups: tuple[PlayedGroup, ...]
    """Of which every member was played."""
    heldout: tuple[Episode, ...]
    generated: tuple[Generated, ...]
    """`read_tokens` are those of the whole context where `reads_again`, else what was new."""
    steps: tuple[dict[str, float], ...]
    """The metrics of every step, in order."""
    grant_s: tuple[float, ...]
    """From each grant to the beginning of its episode."""
    delivery_s: tuple[float, ...]
    """From the end of each episode to its commit."""
    num_leases: int
    num_faulted: int
    zero_variance: int
    """Groups that were dropped for it."""


def read(path: Path, *, reads_again: bool) -> Recorded:
    """All of a ledger; LedgerError when it is not there or is none."""
    with LedgerReader(path) as ledger:
        training = [played.trajectory for played in ledger.played(Selection(purpose="training"))]
        heldout = [played.trajectory for played in ledger.played(Selection(purpose="evaluation"))]
    tables = _tables(path)
    sizes = dict(tables["sizes"])
    members = defaultdict[int, list[Trajectory]](list)
    for trajectory in training:
        members[trajectory.identity.group].append(trajectory)
    groups = [
        PlayedGroup(played[0].horizon, tuple(map(episode_of, played)))
        for number, played in sorted(members.items())
        if len(played) == sizes.get(number)
    ]
    times = {(group, member): (granted, received) for group, member, granted, received in tables["times"]}
    begun = [(times[_key(t)], t) for t in training if _key(t) in times]
    return Recorded(
        groups=tuple(groups),
        heldout=tuple(map(episode_of, heldout)),
        generated=tuple(g for t in (*training, *heldout) for g in _generations(t, reads_again)),
        steps=tuple(json.loads(values) for (values,) in tables["steps"]),
        grant_s=tuple(max(0.0, t.started_at - granted) for (granted, _), t in begun),
        delivery_s=tuple(max(0.0, received - t.finished_at) for (_, received), t in begun),
        num_leases=tables["leases"][0][0],
        num_faulted=tables["leases"][0][1] or 0,
        zero_variance=tables["dropped"][0][0],
    )


def episode_of(trajectory: Trajectory) -> Episode:
    """Its sizes and durations."""
    turns = tuple(
        PlayedTurn(len(t.prompt_tokens), len(t.action_tokens), t.environment_s, t.reward)
        for t in trajectory.turns
    )
    return Episode(
        turns,
        opening_s=_opening_s(trajectory),
        is_success=trajectory.is_success,
        is_cut=trajectory.outcome == "truncated_by_horizon",
    )


def _opening_s(trajectory: Trajectory) -> float:
    """What of an episode was neither generation nor the environment's step."""
    played = sum(turn.generation_s + turn.environment_s for turn in trajectory.turns)
    return max(0.0, trajectory.finished_at - trajectory.started_at - played)


def _generations(trajectory: Trajectory, reads_again: bool) -> list[Generated]:
    """When each turn was generated: durations follow one another from the opening on."""
    now, context, found = trajectory.started_at + _opening_s(trajectory), 0, []
    for turn in trajectory.turns:
        new = len(turn.prompt_tokens)
        read_tokens = context + new if reads_again else new
        found.append(
            Generated(trajectory.actor, now, now + turn.generation_s, read_tokens, len(turn.action_tokens))
        )
        now += turn.generation_s + turn.environment_s
        context += new + len(turn.action_tokens)
    return found


def _key(trajectory: Trajectory) -> tuple[int, int]:
    return trajectory.identity.group, trajectory.identity.member


_QUERIES = {
    "sizes": "SELECT id, size FROM groups WHERE purpose = 'training'",
    "times": "SELECT t.group_id, t.member, l.granted_at, t.received_at FROM trajectories t JOIN leases l"
    " ON l.group_id = t.group_id AND l.member = t.member AND l.attempt = t.attempt",
    "steps": "SELECT values_json FROM steps WHERE values_json != '{}' ORDER BY step",
    "leases": "SELECT COUNT(*), SUM(ended = 'faulted') FROM leases",
    "dropped": "SELECT COUNT(*) FROM groups WHERE state = 'dropped' AND reason = 'zero_variance'",
}


def _tables(path: Path) -> dict[str, list[tuple[Any, ...]]]:
    try:
        database = sqlite3.connect(f"file:{quote(str(path))}?mode=ro", uri=True)
        try:
            return {name: database.execute(query).fetchall() for name, query in _QUERIES.items()}
        finally:
            database.close()
    except sqlite3.Error as error:
        raise LedgerError(f"{path}: cannot read the ledger: {error}") from error
