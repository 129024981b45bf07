"""The whole model: cases solved by hand, and laws that hold whatever the figures are."""

from typing import Any

import pytest

from common.errors import PronghornError
from launch.plan.actors import fault_pause_s
from launch.plan.config import PlanSection
from launch.plan.costs import Costs, speed_up
from launch.plan.episodes import Episode, PlayedGroup, Workload, synthetic
from launch.plan.simulation import Simulation, simulate, skipped_steps
from learner.config import StalenessConfig
from learner.staleness import max_outstanding
from tests.launch.plan_making import alone, episode, plan

LEARNER = {"groups_per_step": 4, "group_size": 4}


def world(environment_s: float = 0.5, success: float = 0.5) -> Workload:
    stated = PlanSection(
        turns=4.0, prompt_tokens=20, action_tokens=10, environment_s=environment_s, success=success
    )
    return synthetic(stated, horizon=10, size=4)


COSTS = Costs(
    decode_s=0.002,
    decode_per_request_s=0.001,
    read_s=1e-4,
    training_per_token_s=1e-4,
    publish_s=(0.05,),
    after_s=(0.02, 0.1),
    load_s=0.1,
    pause_s=0.05,
    delivery_s=0.01,
    grant_s=0.005,
)


def busy(*, seed: int = 3, **sections: Any) -> Simulation:
    """A system in which everything takes some time."""
    learner = LEARNER | sections.pop("learner", {})
    costs = sections.pop("costs", COSTS)
    made = plan(world(), costs, learner=learner, actor={"num_actors": 2, "max_sessions": 12}, **sections)
    return Simulation(made, steps=40, seed=seed)


# --- solved by hand ------------------------------------------------------------------------------


def test_one_session_plays_one_episode_after_the_other() -> None:
    outcome = simulate(plan(alone(episode(turns=2, environment_s=1.5))), steps=30, seed=0)
    assert outcome.seconds == pytest.approx(30 * 3.0)
    assert outcome.trajectories_per_s == pytest.approx(1 / 3)
    assert outcome.bottleneck == "environment"


def test_a_slow_learner_sets_the_pace_and_is_never_idle() -> None:
    costs = Costs(training_s=5.0)
    made = plan(alone(episode()), costs, actor={"max_sessions": 8})
    outcome = simulate(made, steps=60, seed=0)
    assert outcome.step_s == pytest.approx(5.0)
    assert outcome.learner_idle == pytest.approx(0.0)
    assert outcome.bottleneck == "learner"


def test_synchronous_training_takes_playing_and_training_in_turn() -> None:
    costs = Costs(training_s=3.0, publish_s=(0.5,), load_s=0.25, pause_s=0.25)
    made = plan(
        alone(episode(turns=2, environment_s=1.0)), costs, learner={"staleness": {"max_staleness": 0}}
    )
    outcome = simulate(made, steps=30, seed=0)
    # The slot is free as soon as the step is consumed; its episode waits for the new version.
    assert outcome.step_s == pytest.approx(2.0 + 3.0 + 0.5 + 0.5)
    assert outcome.staleness_max == 0
    assert outcome.learner_idle == pytest.approx(2.5 / 6.0)


def test_a_hub_of_one_place_serves_one_step_at_a_time() -> None:
    made = plan(alone(episode(turns=1)), actor={"max_sessions": 4}, plan={"hub_capacity": 1, "commit_s": 0})
    outcome = simulate(made, steps=60, seed=0)
    assert outcome.trajectories_per_s == pytest.approx(1.0)
    assert outcome.bottleneck == "hub capacity"


def test_the_bus_and_the_ledger_delay_every_episode() -> None:
    costs = Costs(delivery_s=0.2, grant_s=0.3)
    figures = {"commit_s": 0.1, "network_latency_s": 0.05}
    outcome = simulate(plan(alone(episode()), costs, plan=figures), steps=30, seed=0)
    assert outcome.episode_s == pytest.approx(2.0 + 0.2 + 0.3 + 0.1 + 2 * 0.05)


def test_more_ranks_divide_what_is_not_serial() -> None:
    assert speed_up(1, 0.1) == 1.0
    assert speed_up(4, 0.0) == 4.0
    assert speed_up(4, 1.0) == 1.0
    costs = Costs(training_per_token_s=0.1, num_ranks=2)
    made = plan(
        alone(episode(turns=1)), costs, learner={"num_ranks": 4}, plan={"serial_share": 0.0, "commit_s": 0}
    )
    assert simulate(made, steps=10, seed=0).training_s == pytest.approx(20 * 0.1 / 2)


def test_the_ranks_of_all_hosts_share_a_step() -> None:
    hosts = {"num_ranks": 2, "num_hosts": 2, "rendezvous": "10.0.0.1:7004"}
    costs = Costs(training_per_token_s=0.1, num_ranks=1)
    free = {"serial_share": 0.0, "commit_s": 0}
    made = plan(alone(episode(turns=1)), costs, learner=hosts, plan=free)
    assert simulate(made, steps=10, seed=0).training_s == pytest.approx(20 * 0.1 / 4)


def test_an_episode_that_breaks_again_and_again_rests_no_longer_than_an_actor_would() -> None:
    assert fault_pause_s(2) == 2.0
    assert fault_pause_s(5000) == 30.0


def test_weights_that_travel_slowly_make_tokens_older() -> None:
    slow = busy(costs=Costs(**{**vars(COSTS), "weight_bytes": 4e6}), plan={"bandwidth_mb_s": 4.0}).run()
    fast = busy().run()
    assert slow.in_flight > fast.in_flight


# --- laws ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["mask", "drop", "wait"])
@pytest.mark.parametrize("max_staleness", [0, 1, 3])
def test_leases_are_conserved_capacity_is_kept_and_no_older_token_is_trained_on(
    mode: str, max_staleness: int
) -> None:
    costs = Costs(**{**vars(COSTS), "fault_share": 0.05})
    staleness = {"mode": mode, "max_staleness": max_staleness}
    simulation = busy(costs=costs, learner={"staleness": staleness})
    outcome = simulation.run()
    leases, dispatcher = simulation.record.leases, simulation.dispatcher
    assert leases["faulted"] > 0
    assert leases["granted"] == leases["submitted"] + leases["faulted"] + dispatcher.book.num_out
    limits = StalenessConfig(max_staleness=max_staleness)
    assert simulation.record.most_outstanding <= max_outstanding(limits, LEARNER["groups_per_step"])
    assert dispatcher.version == 40
    assert outcome.staleness_trained <= max_staleness
    if mode == "drop":
        assert outcome.masked_share == 0
    if max_staleness == 0:
        assert outcome.staleness_max == 0


def test_waiting_for_older_groups_keeps_every_token_young_enough() -> None:
    staleness = {"mode": "wait", "max_staleness": 2}
    outcome = busy(learner={"staleness": staleness}).run()
    assert outcome.staleness_max <= 2
    assert outcome.masked_share == 0


def test_episodes_in_play_are_their_rate_times_their_time() -> None:
    made = plan(world(), COSTS, learner=LEARNER, actor={"num_actors": 2, "max_sessions": 12})
    outcome = simulate(made, steps=200, seed=1)
    assert outcome.episodes_in_play == pytest.approx(outcome.played_per_s * outcome.episode_s, rel=0.02)


def test_the_parts_of_staleness_add_up() -> None:
    outcome = busy(learner={"staleness": {"max_staleness": 3}}).run()
    assert 0 < outcome.in_flight + outcome.in_queue <= outcome.staleness_mean
    assert sum(outcome.waits.values()) == pytest.approx(1.0)


def test_more_actors_never_slow_a_system_down_that_waits_for_its_environment() -> None:
    rates = [
        simulate(
            plan(world(2.0), COSTS, learner=LEARNER, actor={"num_actors": number, "max_sessions": 4}),
            steps=60,
            seed=0,
        ).trajectories_per_s
        for number in (1, 2, 4, 8)
    ]
    assert rates == sorted(rates)
    assert rates[1] > 1.8 * rates[0]


def test_a_seed_decides_everything() -> None:
    assert busy().run() == busy().run()
    assert busy().run() != busy(seed=4).run()


def test_groups_of_one_score_are_dropped_and_refilled() -> None:
    same, differing = (PlayedGroup(10, (episode(score=first), episode(score=0.0))) for first in (0.0, 1.0))
    learner = {"group_size": 2, "advantage": {"kind": "grpo"}, "drops_zero_variance": True}
    made = plan(Workload([same, differing]), learner=learner, actor={"max_sessions": 2})
    outcome = simulate(made, steps=300, seed=0)
    assert outcome.dropped_zero_variance == pytest.approx(1.0, abs=0.15)
    with pytest.raises(PronghornError, match="no batch after step 0"):
        simulate(plan(Workload([same]), learner=learner, actor={"max_sessions": 2}), steps=3, seed=0)


def test_the_horizon_follows_its_schedule() -> None:
    horizon = {"kind": "stepwise", "rounds": [1, 3], "every": 10}
    made = plan(alone(episode(turns=3)), horizon=horizon)
    outcome = simulate(made, steps=20, seed=0)
    # Of capacity 9, one session: the group in play at the change was opened before it.
    assert outcome.seconds == pytest.approx(11 * 1.0 + 9 * 3.0)


def test_an_adaptive_horizon_rises_with_success() -> None:
    won = Episode(episode(turns=1).turns, is_success=True)
    horizon = {"kind": "adaptive", "rounds": [1, 2], "every": 5, "window": 4}
    simulation = Simulation(plan(alone(won), horizon=horizon), steps=8, seed=0)
    simulation.run()
    assert simulation.dispatcher.horizon == 2


@pytest.mark.parametrize("is_concurrent", [True, False])
def test_evaluations_take_time_from_training(is_concurrent: bool) -> None:
    evaluation = {"num_tasks": 20, "every": 10, "is_concurrent": is_concurrent}
    undisturbed, disturbed = busy(), busy(evaluation=evaluation)
    assert disturbed.run().seconds > undisturbed.run().seconds
    assert disturbed.record.leases["submitted"] > undisturbed.record.leases["submitted"] + 20


def test_steps_in_which_the_pipeline_fills_are_not_counted() -> None:
    assert skipped_steps(300, 8) == 19
    assert skipped_steps(6, 8) == 2
    assert skipped_steps(2, 0) == 0
