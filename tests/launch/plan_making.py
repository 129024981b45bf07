"""Plans for tests: small systems whose figures are round."""

from pathlib import Path
from typing import Any

from common.config import validate
from launch.plan.config import PlannedConfig
from launch.plan.costs import Costs
from launch.plan.episodes import Episode, PlayedGroup, PlayedTurn, Workload
from launch.plan.simulation import Plan
from tests.launch.making import run_config


def episode(turns: int = 2, environment_s: float = 1.0, tokens: int = 10, score: float = 0.0) -> Episode:
    """Every turn alike; the score is the last turn's reward."""
    rewards = [0.0] * (turns - 1) + [score]
    return Episode(tuple(PlayedTurn(tokens, tokens, environment_s, reward) for reward in rewards))


def alone(*episodes: Episode, horizon: int = 10) -> Workload:
    """Groups of one."""
    return Workload([PlayedGroup(horizon, (played,)) for played in episodes])


def planned(**sections: Any) -> PlannedConfig:
    """Groups of one, one group per step, one session, no free time in the ledger; `sections` on top."""
    learner = {
        "group_size": 1,
        "groups_per_step": 1,
        "advantage": {"kind": "reinforce_pp"},
        "drops_zero_variance": False,
    }
    values: dict[str, Any] = run_config(
        Path("unused"),
        learner=learner | sections.pop("learner", {}),
        actor={"num_actors": 1, "max_sessions": 1} | sections.pop("actor", {}),
        **{k: v for k, v in sections.items() if k != "plan"},
    ).model_dump()
    return validate(PlannedConfig, values | {"plan": {"commit_s": 0.0} | sections.get("plan", {})})


def plan(workload: Workload, costs: Costs | None = None, **sections: Any) -> Plan:
    """A plan of `planned(**sections)`."""
    return Plan(planned(**sections), costs or Costs(), workload)
