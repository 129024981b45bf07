"""One simulation: learner, door, actors and their engines in one discrete-event model.

take -> train -> consumed -> publish -> grant -> rest        the learner
grant -> play -> deliver -> commit -> grant                  actors and the door
"""

from collections import deque
from dataclasses import dataclass
from random import Random

import simpy

from common.errors import PronghornError
from common.messages import Lease
from launch.plan.actors import Process, SimulatedActor, Surroundings, fault_pause_s
from launch.plan.config import PlannedConfig
from launch.plan.costs import Costs, Note, speed_up
from launch.plan.dispatcher import SimulatedDispatcher
from launch.plan.engine import SharedEngine, Spans
from launch.plan.episodes import Workload
from launch.plan.network import transfer_s
from launch.plan.record import Outcome, Record
from learner.door import MAX_COMMIT
from learner.horizon import StepEvidence, horizon_at

MAX_DROPPED = 1000
"""Groups dropped for each group of a step that does not come: it never will."""


@dataclass(frozen=True)
class Plan:
    """What is simulated: a configuration, what things cost, and what is played."""

    config: PlannedConfig
    costs: Costs
    workload: Workload
    notes: tuple[Note, ...] = ()
    """Every figure that it rests on."""


def skipped_steps(steps: int, max_staleness: int) -> int:
    """Steps in which the pipeline fills, which are not counted: at most a third of all."""
    return min(steps // 3, 2 * (max_staleness + 1) + 1)


def simulate(plan: Plan, *, steps: int, seed: int) -> Outcome:
    """`steps` optimizer steps of the plan; the same for the same seed."""
    return Simulation(plan, steps=steps, seed=seed).run()


class Simulation:
    """One run of the model; `record` and `dispatcher` may be looked at afterwards."""

    def __init__(self, plan: Plan, *, steps: int, seed: int) -> None:
        config, costs = plan.config, plan.costs
        self.env = simpy.Environment()
        self.record = Record(self.env)
        self._plan = plan
        self._steps = steps
        self._random = Random(seed)
        self._evidence: list[StepEvidence] = []
        self.dispatcher = SimulatedDispatcher(
            self.env,
            config,
            plan.workload,
            self.record,
            self._random,
            horizon=horizon_at(config.horizon, 1),
        )
        hub = config.plan.hub_capacity
        self._around = Surroundings(
            env=self.env,
            costs=costs,
            record=self.record,
            hub=simpy.Resource(self.env, hub) if hub else None,
            way_s=config.plan.network_latency_s,
            random=self._random,
        )
        self.actors = {actor.name: actor for actor in self._made_actors()}
        self._arrived: deque[tuple[str, Lease, Spans | None]] = deque()
        self._arrival = self.env.event()

    def _made_actors(self) -> list[SimulatedActor]:
        config, costs = self._plan.config, self._plan.costs
        per_host, number = config.plan.actors_per_host, config.actor.num_actors
        engine = config.actor.engine
        return [
            SimulatedActor(
                f"actor-{index}",
                self._around,
                SharedEngine(
                    self.env, costs, engine.max_num_seqs, clears_cache=engine.clears_cache_on_update
                ),
                self._submit,
                transfer_s(
                    index // per_host,
                    -(-number // per_host),
                    num_bytes=costs.weight_bytes * config.plan.delta_share,
                    bytes_per_s=config.plan.bandwidth_mb_s * 1e6,
                    fanout=config.plan.fanout,
                ),
            )
            for index in range(number)
        ]

    def run(self) -> Outcome:
        """Simulate to the last step; PronghornError when a step never comes."""
        for name in self.actors:
            self.dispatcher.book.join(name)
            self.dispatcher.book.add_credits(name, self._plan.config.actor.max_sessions, is_first=True)
        self.env.process(self._door())
        learner = self.env.process(self._learner())
        try:
            self.env.run(until=learner)
        except RuntimeError as error:
            raise self._stuck() from error
        engines = [actor.engine for actor in self.actors.values()]
        places = len(engines) * self._plan.config.actor.max_sessions
        return self.record.outcome(engines, places, self._steps)

    def _stuck(self) -> PronghornError:
        return PronghornError(
            f"the simulation found no batch after step {self.dispatcher.version}: groups dropped "
            f"{dict(self.record.dropped)}, {self.dispatcher.num_training} outstanding, "
            f"{self.dispatcher.book.num_out} episodes in play"
        )

    # --- the door ----------------------------------------------------------------------------

    def _submit(self, actor: str, lease: Lease, spans: Spans | None) -> None:
        """A trajectory, or a fault, has reached the door."""
        self._arrived.append((actor, lease, spans))
        if not self._arrival.triggered:
            self._arrival.succeed()

    def _door(self) -> Process:
        """Endless: commit what has arrived, together, then grant."""
        dispatcher = self.dispatcher
        while True:
            if not self._arrived:
                yield self._arrival
            self._arrival = self.env.event()
            batch = [self._arrived.popleft() for _ in range(min(MAX_COMMIT, len(self._arrived)))]
            began = self.env.now
            if any(spans is not None for _, _, spans in batch):
                yield self.env.timeout(self._plan.config.plan.commit_s)
            for actor, lease, spans in batch:
                self.record.waits["delivery"] += self.env.now - began
                if spans is None:
                    dispatcher.fault(actor, lease)
                    self.env.process(self._rest(actor, fault_pause_s(lease.identity.attempt)))
                else:
                    dispatcher.submit(lease, spans)
                    dispatcher.book.add_credits(actor, 1)
            self._grant()

    def _rest(self, actor: str, seconds: float) -> Process:
        """The place of a broken episode is free again after the pause."""
        yield self.env.timeout(seconds)
        self.dispatcher.book.add_credits(actor, 1)
        self._grant()

    def _grant(self) -> None:
        dispatcher = self.dispatcher
        dispatcher.grant()
        while dispatcher.granted:
            actor, lease = dispatcher.granted.popleft()
            self.env.process(self.actors[actor].play(lease, dispatcher.episode(lease)))

    # --- the learner -------------------------------------------------------------------------

    def _learner(self) -> Process:
        """All steps, one after the other."""
        config, dispatcher = self._plan.config, self.dispatcher
        dispatcher.is_training = True
        self._grant()
        skipped = skipped_steps(self._steps, config.learner.staleness.max_staleness)
        while dispatcher.version < self._steps:
            yield from self._evaluated_when_due()
            yield from self._step()
            if dispatcher.version == skipped:
                self._restart()

    def _restart(self) -> None:
        self.record.restart()
        for actor in self.actors.values():
            for gauge in (actor.engine.busy, actor.engine.paused, actor.engine.running):
                gauge.restart()

    def _evaluated_when_due(self) -> Process:
        """The held-out tasks: played amid training, or before it goes on."""
        config, dispatcher = self._plan.config.evaluation, self.dispatcher
        version = dispatcher.version
        if not config.every or not config.num_tasks or not version or version % config.every:
            return
        if config.is_concurrent and dispatcher.evaluating:
            return  # the one before is not finished; the learner measures the newest version afterwards
        dispatcher.is_training = config.is_concurrent
        dispatcher.open_evaluation(config.num_tasks * config.samples)
        self._grant()
        while not config.is_concurrent and dispatcher.evaluating:
            yield dispatcher.changed
        dispatcher.is_training = True
        self._grant()

    def _step(self) -> Process:
        """One optimizer step with all that comes before and after it."""
        costs, dispatcher, record, random = self._plan.costs, self.dispatcher, self.record, self._random
        record.learner_waits.set(1)
        limit = sum(record.dropped.values()) + MAX_DROPPED * self._plan.config.learner.groups_per_step
        while not (batch := dispatcher.ready()):
            yield dispatcher.changed
            if sum(record.dropped.values()) > limit:
                raise self._stuck()
        record.learner_waits.set(0)
        training = self._training_s(batch)
        yield self.env.timeout(training)
        self._measure(batch)
        record.steps += 1
        record.training_s += training
        dispatcher.consumed(batch)
        self._set_horizon()
        yield self.env.timeout(random.choice(costs.publish_s))
        for actor in self.actors.values():
            actor.announce(dispatcher.version)
        self._grant()
        yield self.env.timeout(random.choice(costs.after_s))

    def _training_s(self, batch: list[int]) -> float:
        costs, learner = self._plan.costs, self._plan.config.learner
        share = self._plan.config.plan.serial_share
        tokens = sum(e.num_tokens for n in batch for e in self.dispatcher.groups[n].played.episodes)
        faster = speed_up(learner.world_size, share) / speed_up(costs.num_ranks, share)
        seconds = costs.training_s + costs.training_per_token_s * tokens / faster
        return seconds * self._random.choice(costs.training_noise)

    def _measure(self, batch: list[int]) -> None:
        """How old what the step trains on is; as `learner.staleness.measure` and the batch builder say it."""
        record, version = self.record, self.dispatcher.version
        limit = self._plan.config.learner.staleness.max_staleness
        trained_age = 0
        for group in (self.dispatcher.groups[number] for number in batch):
            record.group_ages.append(group.oldest(version))
            for member, received in group.received.items():
                ages = group.ages(member, version)
                if not ages:
                    continue
                oldest = max(age for age, _ in ages)
                record.oldest.append(oldest)
                record.in_queue.append(version - received)
                record.in_flight.append(oldest - (version - received))
                record.trained += 1
                record.sampled_tokens += sum(number for _, number in ages)
                record.trained_tokens += sum(number for age, number in ages if age <= limit)
                trained_age = max([trained_age, *(age for age, _ in ages if age <= limit)])
        record.trained_ages.append(trained_age)

    def _set_horizon(self) -> None:
        dispatcher, config = self.dispatcher, self._plan.config.horizon
        if config.kind == "adaptive":
            judged = [e for e in dispatcher.evidence if e[0] == dispatcher.horizon]
            self._evidence.append(
                StepEvidence(
                    step=dispatcher.version,
                    horizon=dispatcher.horizon,
                    num_trajectories=len(judged),
                    num_successes=sum(e[1] for e in judged),
                    num_cut=sum(e[2] for e in judged),
                )
            )
        dispatcher.evidence.clear()
        dispatcher.horizon = horizon_at(config, dispatcher.version + 1, self._evidence)
