"""Speeds out of durations: how long a request takes by how many others are there, a step by its tokens."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

SPEEDS = ("decode_s", "decode_per_request_s", "read_s", "request_s")
"""Of an engine, as in `Costs`."""


@dataclass(frozen=True)
class Generated:
    """One recorded generation."""

    actor: str
    began_at: float
    ended_at: float
    read_tokens: int
    action_tokens: int


@dataclass(frozen=True)
class EngineFit:
    """What the recorded generations say about an engine."""

    speeds: dict[str, float]
    """By `SPEEDS`."""
    explained: float
    """1 - Var[error] / Var[seconds]."""
    running: float
    """Requests at the same time, mean over generations."""


def non_negative(columns: Floats, seconds: Floats) -> Floats:
    """The least-squares solution without negative entries: the most negative column is left out, in turns.

    For the few columns here, which are all durations, this is enough; it is no general solver.
    """
    kept = [i for i in range(columns.shape[1]) if columns[:, i].any()]
    found = np.zeros(columns.shape[1])
    while kept:
        scale = np.abs(columns[:, kept]).max(axis=0)
        solution = np.linalg.lstsq(columns[:, kept] / scale, seconds, rcond=None)[0] / scale
        if (solution >= 0).all():
            found[kept] = solution
            break
        kept.pop(int(np.argmin(solution * scale)))
    return found


def explained(predicted: Floats, seconds: Floats) -> float:
    """The share of the variance that a prediction accounts for; 1 where there is none."""
    variance = float(seconds.var())
    return 1 - float((seconds - predicted).var()) / variance if variance else 1.0


def fit_engine(generated: Sequence[Generated], max_num_seqs: int) -> EngineFit:
    """The four speeds of an engine, by least squares over all generations.

    seconds = decode * tokens + per_request * tokens * running + read * read meanwhile + request * taken in

    How many were running, and what was read and taken in while a request ran, is counted from the other
    requests of the same actor.
    """
    by_actor = defaultdict[str, list[Generated]](list)
    for one in generated:
        by_actor[one.actor].append(one)
    rows = [_columns(own, max_num_seqs) for own in by_actor.values()]
    columns = np.concatenate([found for found, _ in rows])
    seconds = np.concatenate([taken for _, taken in rows])
    found = non_negative(columns, seconds)
    running = columns[:, 1] / np.maximum(1, columns[:, 0])
    speeds = dict(zip(SPEEDS, map(float, found), strict=True))
    return EngineFit(speeds, explained(columns @ found, seconds), float(running.mean()))


def _columns(generated: list[Generated], max_num_seqs: int) -> tuple[Floats, Floats]:
    """Of one actor: what each of its generations had to wait for, and how long it took."""
    began = np.array([g.began_at for g in generated])
    ended = np.array([g.ended_at for g in generated])
    tokens = np.array([float(g.action_tokens) for g in generated])
    read = np.array([float(g.read_tokens) for g in generated])
    seconds = ended - began
    times = np.concatenate([began, ended])
    change = np.concatenate([np.ones(len(began)), -np.ones(len(ended))])
    order = np.argsort(times, kind="stable")
    times, level = times[order], np.cumsum(change[order])
    level = np.minimum(level, max_num_seqs)
    area = np.concatenate([[0.0], np.cumsum(level[:-1] * np.diff(times))])
    with_others = np.interp(ended, times, area) - np.interp(began, times, area)
    running = np.where(seconds > 0, with_others / np.maximum(seconds, 1e-12), 1.0)
    by_begin = np.argsort(began, kind="stable")
    first = np.searchsorted(began[by_begin], began, side="left")
    last = np.searchsorted(began[by_begin], ended, side="left")
    read_before = np.concatenate([[0.0], np.cumsum(read[by_begin])])
    taken_in = np.maximum(1, last - first).astype(float)
    read_meanwhile = np.maximum(read, read_before[last] - read_before[first])
    return np.stack([tokens, tokens * running, read_meanwhile, taken_in], axis=1), seconds


def fit_line(x: Floats, seconds: Floats) -> tuple[float, float]:
    """(seconds whatever x is, seconds per x), neither negative.

    Where x hardly varies (by less than 2 %), nothing tells the two apart: all of it is taken to grow with x.
    """
    if not x.any():
        return float(seconds.mean()), 0.0
    if float(x.std()) < 0.02 * float(x.mean()):
        return 0.0, float(seconds.sum() / x.sum())
    base, slope = non_negative(np.stack([np.ones_like(x), x], axis=1), seconds)
    return float(base), float(slope)
