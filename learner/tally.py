"""What has been played since the last step: the numbers of the curves, per horizon where it matters."""

from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np

from common.trajectory import Trajectory

LENGTH_BUCKETS = (2, 4, 8, 16, 32, 64)
"""Upper bounds, in turns, of the episode-length histograms; the last bucket is open."""
BUCKETS = (*(f"up_to_{bound}" for bound in LENGTH_BUCKETS), f"over_{LENGTH_BUCKETS[-1]}")
"""What the curves call them."""


@dataclass(frozen=True, slots=True)
class _Played:
    """What the curves need of one episode: it may be long until the next step, and tokens are not needed."""

    horizon: int
    is_success: bool
    is_truncated: bool
    episode_return: float
    num_turns: int
    num_malformed: int
    """Turns."""
    num_cut: int
    """Actions cut by their token limit."""
    num_tokens: int
    num_action_tokens: int

    @classmethod
    def of(cls, t: Trajectory) -> Self:
        return cls(
            horizon=t.horizon,
            is_success=t.is_success,
            is_truncated=t.is_truncated,
            episode_return=t.episode_return,
            num_turns=len(t.turns),
            num_malformed=sum(turn.is_malformed for turn in t.turns),
            num_cut=sum(not turn.is_stopped for turn in t.turns),
            num_tokens=t.num_tokens,
            num_action_tokens=t.num_action_tokens,
        )


class Tally:
    """Every training episode since the last `flush`, trained on or not, so that the curves are unbiased."""

    def __init__(self) -> None:
        self._played: list[_Played] = []
        self._counts: dict[str, int] = defaultdict(int)
        self._noted: dict[str, float] = {}
        self.totals: dict[str, int] = defaultdict(int)
        """Counts since the process started, by name."""

    def add(self, trajectory: Trajectory) -> None:
        """One more episode arrived."""
        self._played.append(_Played.of(trajectory))
        self.totals["generated_tokens"] += trajectory.num_action_tokens

    def count(self, name: str, number: int = 1) -> None:
        """Count an event: `faults`, `duplicates`, `dropped_zero_variance`, `dropped_stale`..."""
        self._counts[name] += number
        self.totals[name] += number

    def note(self, values: Mapping[str, float]) -> None:
        """Values that somebody else measured, under their metric names; told with the next flush."""
        self._noted |= values

    def flush(self, trained: Sequence[Trajectory]) -> dict[str, float]:
        """The values since the last flush, under their metric names; starts anew."""
        played, self._played = self._played, []
        counts, self._counts = self._counts, defaultdict(int)
        values = {f"episodes/{name}": float(number) for name, number in counts.items()}
        values["episodes/played"] = float(len(played))
        if played:
            values |= _episode_values(played)
        values |= _histogram("admitted", [episode.num_turns for episode in played])
        values |= _histogram("trained", [len(trajectory.turns) for trajectory in trained])
        noted, self._noted = self._noted, {}
        return values | noted


def _episode_values(played: Sequence[_Played]) -> dict[str, float]:
    num_turns = sum(t.num_turns for t in played)
    values = {
        "train/success": float(np.mean([t.is_success for t in played])),
        "train/return": float(np.mean([t.episode_return for t in played])),
        "train/reward_per_turn": float(np.mean([t.episode_return / max(1, t.num_turns) for t in played])),
        "train/truncated_share": float(np.mean([t.is_truncated for t in played])),
        "train/malformed_share": sum(t.num_malformed for t in played) / max(1, num_turns),
        "train/cut_action_share": sum(t.num_cut for t in played) / max(1, num_turns),
        "episodes/turns": float(np.mean([t.num_turns for t in played])),
        "episodes/tokens": float(np.mean([t.num_tokens for t in played])),
        "episodes/action_tokens": float(np.mean([t.num_action_tokens for t in played])),
    }
    for horizon in sorted({t.horizon for t in played}):
        at = [t for t in played if t.horizon == horizon]
        values[f"horizon/{horizon}/success"] = float(np.mean([t.is_success for t in at]))
        values[f"horizon/{horizon}/return"] = float(np.mean([t.episode_return for t in at]))
        values[f"horizon/{horizon}/truncated_share"] = float(np.mean([t.is_truncated for t in at]))
        values[f"horizon/{horizon}/turns"] = float(np.mean([t.num_turns for t in at]))
        values[f"horizon/{horizon}/episodes"] = float(len(at))
    return values


def _histogram(kind: str, num_turns: Sequence[int]) -> dict[str, float]:
    """Episodes by length in turns: dropping is biased against long ones, so both sides are published."""
    counts = Counter(map(bucket, num_turns))
    return {f"length/{kind}/{name}": float(counts[place]) for place, name in enumerate(BUCKETS)}


def bucket(num_turns: int) -> int:
    """The place in a histogram of an episode of so many turns."""
    return bisect_left(LENGTH_BUCKETS, num_turns)
