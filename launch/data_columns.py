"""Trajectories as rows of a table: one row per trajectory, nothing lost, and back again.

`COLUMNS` is the whole schema; `docs/data.md` and the card of an exported data set are made from it.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from common.trajectory import Member, TaskReference, Trajectory, Turn, VersionSpan
from learner.ledger_reader import Played

_SAME = ("horizon", "outcome", "score", "is_success", "actor", "fault", "started_at", "finished_at")
"""Fields of a trajectory that are columns as they are."""

FORMAT = "pronghorn.trajectories.1"
"""Written into every file; another number is another schema."""

_TURN = pa.struct(
    {
        "observation": pa.string(),
        "action": pa.string(),
        "reward": pa.float64(),
        "is_malformed": pa.bool_(),
        "is_stopped": pa.bool_(),
        "num_prompt_tokens": pa.int32(),
        "num_action_tokens": pa.int32(),
        "generation_s": pa.float64(),
        "environment_s": pa.float64(),
    }
)


@dataclass(frozen=True)
class Column:
    """One column: its name, its type, and what it means in one line."""

    name: str
    type: pa.DataType
    meaning: str


COLUMNS = (
    Column("run", pa.string(), "name of the run"),
    Column(
        "ledger", pa.string(), "random name of the ledger that granted it; empty in runs of older releases"
    ),
    Column("group", pa.int64(), "the group of trajectories that are compared with each other"),
    Column("member", pa.int64(), "which of the group"),
    Column("attempt", pa.int64(), "how often the episode had been given up before"),
    Column("actor", pa.string(), "who played it"),
    Column("environment", pa.string(), "name of the environment"),
    Column("task", pa.string(), "name of the task"),
    Column("kind", pa.string(), "type of the task; may be empty"),
    Column("depth", pa.int64(), "layers of sub-goals of the task; 0 where the environment knows none"),
    Column("seed", pa.int64(), "seed of the play"),
    Column("horizon", pa.int64(), "the most turns that it might take"),
    Column("outcome", pa.string(), "terminated, or truncated by environment, horizon, tokens or time"),
    Column("is_success", pa.bool_(), "by the environment's own predicate, never by a reward of 1"),
    Column("score", pa.float64(), "on the environment's own scale"),
    Column("return", pa.float64(), "the rewards of the turns, summed"),
    Column("num_turns", pa.int64(), "turns taken"),
    Column("num_tokens", pa.int64(), "tokens, read and sampled"),
    Column("num_action_tokens", pa.int64(), "sampled tokens"),
    Column("turns", pa.list_(_TURN), "what was seen, written and earned, and how many tokens it was"),
    Column("tokens", pa.list_(pa.int32()), "every token in order: prompt and action of each turn"),
    Column("is_action", pa.list_(pa.bool_()), "per token: whether the policy sampled it"),
    Column("behaviour_logprobs", pa.list_(pa.float32()), "per sampled token: nats, as recorded when sampled"),
    Column("versions", pa.list_(pa.int32()), "per sampled token: the policy version that sampled it"),
    Column("next_prompt_tokens", pa.list_(pa.int32()), "what the policy would have read next, if it was cut"),
    Column("purpose", pa.string(), "training or evaluation"),
    Column("label", pa.string(), "of which evaluation; empty for training"),
    Column("group_state", pa.string(), "open, complete, consumed or dropped"),
    Column("drop_reason", pa.string(), "why the group was dropped; empty otherwise"),
    Column("step", pa.int64(), "the optimizer step that trained on its group or dropped it; may be null"),
    Column("received_version", pa.int64(), "the learner's version when it arrived"),
    Column("started_at", pa.float64(), "seconds since the epoch, on the actor's clock"),
    Column("finished_at", pa.float64(), "seconds since the epoch, on the actor's clock"),
    Column("fault", pa.string(), "why, when the outcome is faulted; empty otherwise"),
)


def schema() -> pa.Schema:
    """The table's schema; each field's metadata tells its meaning."""
    fields = [pa.field(c.name, c.type, metadata={"meaning": c.meaning}) for c in COLUMNS]
    return pa.schema(fields, metadata={"format": FORMAT})


def row_of(played: Played) -> dict[str, Any]:
    """One trajectory as a row: a value per column."""
    t = played.trajectory
    row = {
        **t.identity.model_dump(),
        **t.task.model_dump(),
        "actor": t.actor,
        "horizon": t.horizon,
        "outcome": t.outcome,
        "is_success": t.is_success,
        "score": t.score,
        "return": t.episode_return,
        "num_turns": len(t.turns),
        "num_tokens": t.num_tokens,
        "num_action_tokens": t.num_action_tokens,
        "turns": [_turn_of(turn) for turn in t.turns],
        "tokens": t.tokens(),
        "is_action": t.is_action(),
        "behaviour_logprobs": t.behaviour_logprobs(),
        "versions": t.token_versions(),
        "next_prompt_tokens": t.next_prompt_tokens,
        "purpose": played.purpose,
        "label": played.label,
        "group_state": played.state,
        "drop_reason": played.reason,
        "step": played.step,
        "received_version": played.received_version,
        "started_at": t.started_at,
        "finished_at": t.finished_at,
        "fault": t.fault,
    }
    assert set(row) == {column.name for column in COLUMNS}
    return row


def _turn_of(turn: Turn) -> dict[str, Any]:
    return {
        "observation": turn.observation,
        "action": turn.action,
        "reward": turn.reward,
        "is_malformed": turn.is_malformed,
        "is_stopped": turn.is_stopped,
        "num_prompt_tokens": len(turn.prompt_tokens),
        "num_action_tokens": len(turn.action_tokens),
        "generation_s": turn.generation_s,
        "environment_s": turn.environment_s,
    }


def trajectory_of(row: dict[str, Any]) -> Trajectory:
    """The trajectory that `row_of` made the row of; ValueError when its tokens and turns do not agree."""
    tokens = np.asarray(row["tokens"], np.int32)
    logprobs = np.asarray(row["behaviour_logprobs"], np.float32)
    versions = np.asarray(row["versions"], np.int32)
    turns, token, action = [], 0, 0
    for values in row["turns"]:
        prompt_end = token + values["num_prompt_tokens"]
        end, action_end = prompt_end + values["num_action_tokens"], action + values["num_action_tokens"]
        texts = {key: value for key, value in values.items() if not key.startswith("num_")}
        turns.append(
            Turn(
                prompt_tokens=tokens[token:prompt_end],
                action_tokens=tokens[prompt_end:end],
                behaviour_logprobs=logprobs[action:action_end],
                versions=_spans(versions[action:action_end]),
                **texts,
            )
        )
        token, action = end, action_end
    if (token, action) != (len(tokens), len(logprobs)):
        raise ValueError(f"{len(tokens)} tokens, {len(logprobs)} logprobs; turns have {token} and {action}")
    return Trajectory(
        identity=Member(**{key: row[key] for key in Member.model_fields if key in row}),  # `ledger` is newer
        task=TaskReference(**{key: row[key] for key in TaskReference.model_fields}),
        turns=tuple(turns),
        next_prompt_tokens=np.asarray(row["next_prompt_tokens"], np.int32),
        **{key: row[key] for key in _SAME},
    )


def _spans(versions: Any) -> tuple[VersionSpan, ...]:
    """Runs of equal versions."""
    edges = np.flatnonzero(np.diff(versions)) + 1
    runs = np.split(versions, edges) if len(versions) else []
    return tuple(VersionSpan(version=int(run[0]), num_tokens=len(run)) for run in runs)
