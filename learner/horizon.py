"""The horizon: a pure function of the step and of what was trained on, so a resume changes nothing.

Schedules: `fixed`, `stepwise` (ScalingInter-RL, arXiv:2509.08755, section 3.4), `linear`, `adaptive`.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from learner.config import HorizonConfig


@dataclass(frozen=True)
class StepEvidence:
    """What was played for one step at the horizon of the schedule then: trained on, or all of one score."""

    step: int
    horizon: int
    num_trajectories: int
    num_successes: int
    num_cut: int
    """Truncated by the horizon."""


def horizon_at(config: HorizonConfig, step: int, evidence: Sequence[StepEvidence] = ()) -> int:
    """The horizon of episodes that are granted for learner step `step` (from 1).

    `stepwise`:  rounds[min((step - 1) // every, K - 1)]
    `linear`:    first + (last - first) * min(1, (step - 1) / every), rounded down
    `adaptive`:  see `adaptive_horizon`; the only one that reads `evidence`.
    """
    if step < 1:
        raise ValueError(f"step {step}: learner steps count from 1")
    rounds = config.rounds
    if config.kind == "fixed":
        return rounds[0]
    if config.kind == "stepwise":
        return rounds[min((step - 1) // config.every, len(rounds) - 1)]
    if config.kind == "linear":
        return rounds[0] + (rounds[-1] - rounds[0]) * min(step - 1, config.every) // config.every
    return adaptive_horizon(config, [e for e in evidence if e.step < step])


def adaptive_horizon(config: HorizonConfig, evidence: Sequence[StepEvidence]) -> int:
    """Raise to the next of `rounds` when the last `window` trajectories here are solved or cut often enough.

    Judged after every step, from the trajectories of the current horizon only (trained on, or dropped because
    their group had zero variance), never before `every` steps at it, and never lowered. Replays the whole
    history, so it needs no state of its own.
    """
    index, since, recent = 0, 0, list[StepEvidence]()
    for entry in sorted(evidence, key=lambda e: e.step):
        since += 1
        if entry.horizon == config.rounds[index]:
            recent.append(entry)
        if since >= config.every and _is_ready(config, recent):
            index, since, recent = min(index + 1, len(config.rounds) - 1), 0, []
    return config.rounds[index]


def _is_ready(config: HorizonConfig, recent: Sequence[StepEvidence]) -> bool:
    num = successes = cut = 0
    for entry in reversed(recent):
        num += entry.num_trajectories
        successes += entry.num_successes
        cut += entry.num_cut
        if num >= config.window:
            return successes / num >= config.success_threshold or cut / num >= config.truncation_threshold
    return False
