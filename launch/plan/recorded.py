"""What a run's ledger says that a simulation needs: groups as played, leases, steps."""

from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

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
    fault_share: float
    """Of all leases."""


class _Ledger(LedgerReader):
    """The reader, and the leases in it."""

    def leases(self) -> dict[tuple[int, int], tuple[int, float, float]]:
        """Of every trajectory, by group and member: size of the group, when granted, when received."""
        query = (
            "SELECT t.group_id, t.member, g.size, l.granted_at, t.received_at FROM trajectories t"
            " JOIN leases l USING (group_id, member, attempt) JOIN groups g ON g.id = t.group_id"
        )
        return {
            (group, member): (size, granted, received)
            for group, member, size, granted, received in self._rows(query, [])
        }

    def fault_share(self) -> float:
        """Of all leases, those that ended in a fault."""
        ((share,),) = self._rows("SELECT TOTAL(ended = 'faulted') / MAX(1, COUNT(*)) FROM leases", [])
        return float(share)


def read(path: Path, *, reads_again: bool) -> Recorded:
    """All of a ledger; LedgerError when it is not there or is none."""
    groups, heldout, generated = list[PlayedGroup](), list[Episode](), list[Generated]()
    grant_s, delivery_s = list[float](), list[float]()
    ledger = _Ledger(path)
    with ledger:
        leases = ledger.leases()
        for number, played in groupby(ledger.played(Selection()), lambda p: p.trajectory.identity.group):
            members = [one.trajectory for one in played]
            size = 0
            for trajectory in members:
                generated += _generations(trajectory, reads_again)
                if lease := leases.get((number, trajectory.identity.member)):
                    size, granted_at, received_at = lease
                    grant_s.append(max(0.0, trajectory.started_at - granted_at))
                    delivery_s.append(max(0.0, received_at - trajectory.finished_at))
            if len(members) == size:
                groups.append(PlayedGroup(members[0].horizon, tuple(map(episode_of, members))))
        for one in ledger.played(Selection(purpose="evaluation")):
            heldout.append(episode_of(one.trajectory))
            generated += _generations(one.trajectory, reads_again)
        steps = tuple(step.values for step in ledger.steps() if step.values)
        faults = ledger.fault_share()
    return Recorded(
        tuple(groups), tuple(heldout), tuple(generated), steps, tuple(grant_s), tuple(delivery_s), faults
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
