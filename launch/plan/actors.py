"""Actors in the model: sessions that play, an engine they share, weights that arrive while they do."""

from collections.abc import Callable, Generator
from dataclasses import dataclass
from random import Random
from typing import Any

import simpy

from actors.actor import FAULT_PAUSE_S, MAX_FAULT_PAUSE_S
from common.messages import Lease
from launch.plan.costs import Costs
from launch.plan.engine import SharedEngine, Spans
from launch.plan.episodes import Episode
from launch.plan.record import Record

Process = Generator[simpy.Event, Any, Any]


@dataclass(frozen=True)
class Surroundings:
    """What all actors of a simulation share."""

    env: simpy.Environment
    costs: Costs
    record: Record
    hub: simpy.Resource | None
    """None: as many steps at the same time as are asked for."""
    way_s: float
    """Of a message one way, between hosts."""
    random: Random


Submit = Callable[[str, Lease, Spans | None], None]


class SimulatedActor:
    """Plays what it is granted and loads what it is announced; `submit` gets None for a fault."""

    def __init__(
        self, name: str, around: Surroundings, engine: SharedEngine, submit: Submit, transfer_s: float
    ) -> None:
        self.name = name
        self.engine = engine
        self._around = around
        self._submit = submit
        self._transfer_s = transfer_s
        self._newest = 0
        self._announced = around.env.event()
        self._loaded = around.env.event()
        around.env.process(self._follow())

    def announce(self, version: int) -> None:
        """A version was published; what is being loaded is loaded first."""
        self._newest = version
        if not self._announced.triggered:
            self._announced.succeed()

    def _follow(self) -> Process:
        """Endless: fetch and load the newest version."""
        env, costs = self._around.env, self._around.costs
        while True:
            yield self._announced
            self._announced = env.event()
            while self.engine.version < self._newest:
                version = self._newest
                yield env.timeout(self._around.way_s + self._transfer_s + costs.load_s)
                self.engine.pause()
                yield env.timeout(costs.pause_s)
                self.engine.resume(version)
                loaded, self._loaded = self._loaded, env.event()
                loaded.succeed()

    def play(self, lease: Lease, episode: Episode) -> Process:
        """One lease from grant to commit."""
        around = self._around
        env, costs, record = around.env, around.costs, around.record
        granted_at = env.now
        yield env.timeout(costs.grant_s + around.way_s)
        record.waits["delivery"] += env.now - granted_at
        waits_since = env.now
        while self.engine.version < lease.min_version:
            yield self._loaded
        record.waits["weights"] += env.now - waits_since
        yield env.timeout(episode.opening_s)
        record.waits["opening"] += episode.opening_s
        turns = len(episode.turns)
        breaks_at = turns
        if costs.fault_share and around.random.random() < costs.fault_share:
            breaks_at = around.random.randrange(turns) if turns else 0
        spans: Spans = []
        yield from self._turns(episode, breaks_at, spans)
        if breaks_at < turns:
            yield env.timeout(around.way_s)
            self._submit(self.name, lease, None)
            return
        sent_at = env.now
        yield env.timeout(costs.delivery_s + around.way_s)
        record.waits["delivery"] += env.now - sent_at
        self._submit(self.name, lease, spans)

    def _turns(self, episode: Episode, number: int, spans: Spans) -> Process:
        """The first `number` turns; what was sampled is appended to `spans`."""
        around = self._around
        env, record, context = around.env, around.record, 0
        for turn in episode.turns[:number]:
            context += turn.prompt_tokens
            asked_at = env.now
            sampled, waited_s = yield self.engine.generate(context, turn.prompt_tokens, turn.action_tokens)
            record.waits["engine_queue"] += waited_s
            record.waits["generation"] += env.now - asked_at - waited_s
            spans += sampled
            context += turn.action_tokens
            if around.hub is None:
                yield env.timeout(turn.environment_s)
            else:
                asked_at = env.now
                with around.hub.request() as place:
                    yield place
                    record.waits["hub_queue"] += env.now - asked_at
                    yield env.timeout(turn.environment_s)
            record.waits["environment"] += turn.environment_s


def fault_pause_s(attempt: int) -> float:
    """How long a session rests after a fault, as the actor does."""
    return float(min(MAX_FAULT_PAUSE_S, FAULT_PAUSE_S * 2.0 ** min(attempt, 100)))
