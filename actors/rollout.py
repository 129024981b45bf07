"""The rollout: plays one leased episode and returns its record. The function to read first is `play`.

    environment --observation--> tokens --engine--> tokens --text--> action --> environment

Tokens in, tokens out: the context only ever grows by what the template adds and by what the engine
sampled; sampled text is never encoded again.
"""

import time
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from actors.engine.engine import Engine, Generation
from common.action_format import ActionFormat, malformed_reply, parse
from common.arrays import Int32
from common.messages import Lease
from common.prompt import Dialogue
from common.seeding import derive_seed
from common.trajectory import Outcome, Trajectory, Turn
from envhub.environment import StepResult
from envhub.hub import Hub, HubSession


class DialogueSource(Protocol):
    """Gives the incremental chat template for an environment's instructions."""

    def __call__(self, instructions: str) -> Dialogue:
        """The dialogue; the same object for the same instructions."""
        ...


@dataclass(frozen=True)
class Table:
    """What an actor plays with: its hub, its engine, its template, its patience."""

    actor: str
    hub: Hub
    engine: Engine
    dialogues: DialogueSource
    action_format: ActionFormat
    episode_s: float
    is_seeded: bool = False
    """Every action is sampled with a seed that its lease decides: played again, the episode is the same."""


async def play(lease: Lease, table: Table) -> Trajectory:
    """Play the leased episode to its end, its horizon or its token limit.

    Raises EnvironmentFault or EngineFault when something other than the policy failed: such an episode has
    no record and no score. A malformed action is an ordinary turn, answered and counted against the horizon.
    """
    started_at = time.time()
    session = await table.hub.create(lease.task, table.action_format)
    try:
        episode = Episode(lease, table, session)
        outcome = await episode.run()
    finally:
        await session.close()
    return Trajectory(
        identity=lease.identity,
        task=lease.task,
        horizon=lease.horizon,
        turns=tuple(episode.turns),
        outcome=outcome,
        score=episode.score,
        is_success=episode.is_success,
        actor=table.actor,
        next_prompt_tokens=episode.next_prompt,
        started_at=started_at,
        finished_at=time.time(),
    )


class Episode:
    """The state of one episode in play: its context, its turns, its result so far."""

    def __init__(self, lease: Lease, table: Table, session: HubSession) -> None:
        self.turns: list[Turn] = []
        self.score = 0.0
        self.is_success = False
        self.next_prompt: Int32 = np.empty(0, np.int32)
        """What the policy would have read next; empty when the task ended the episode."""
        self._lease = lease
        self._table = table
        self._session = session
        self._dialogue = table.dialogues(session.instructions)
        self._context: list[Int32] = []
        self._num_tokens = 0

    async def run(self) -> Outcome:
        """Play turn by turn; how the episode ended."""
        deadline = time.monotonic() + self._table.episode_s
        observation = self._session.observation
        prompt = self._dialogue.first_prompt(observation)
        for _ in range(self._lease.horizon):
            self.next_prompt = prompt
            if self._num_tokens + len(prompt) >= self._lease.sampling.max_episode_tokens:
                return "truncated_by_tokens"
            if time.monotonic() > deadline:
                return "truncated_by_time"
            generation = await self._generate(prompt)
            result = await self._act(observation, prompt, generation)
            if result.is_terminated:
                self.next_prompt = np.empty(0, np.int32)
                return "terminated"
            observation = result.observation
            prompt = self._dialogue.next_prompt(observation, generation.is_stopped)
            if result.is_truncated:
                self.next_prompt = prompt
                return "truncated_by_environment"
        self.next_prompt = prompt
        return "truncated_by_horizon"

    async def _generate(self, prompt: Int32) -> Generation:
        """Sample one action after everything so far and `prompt`, within what is left of the token limit."""
        self._context.append(prompt)
        self._num_tokens += len(prompt)
        sampling = self._lease.sampling
        budget = min(sampling.max_action_tokens, sampling.max_episode_tokens - self._num_tokens)
        generation = await self._table.engine.generate(
            np.concatenate(self._context), max_tokens=budget, sampling=sampling, seed=self._seed()
        )
        self._context.append(generation.tokens)
        self._num_tokens += len(generation.tokens)
        return generation

    def _seed(self) -> int | None:
        """Of the next action: the same at every attempt, another for every member, turn and group."""
        identity = self._lease.identity
        if not self._table.is_seeded:
            return None
        return derive_seed(self._lease.task.seed, "action", identity.group, identity.member, len(self.turns))

    async def _act(self, observation: str, prompt: Int32, generation: Generation) -> StepResult:
        """Hand the action to the environment and record the turn."""
        text = self._dialogue.text(generation.tokens)
        action = parse(text, self._table.action_format)
        began = time.monotonic()
        if action is None:
            result = StepResult(observation=malformed_reply(self._table.action_format), is_malformed=True)
        else:
            result = await self._session.step(action)
            self.score = result.score
            self.is_success = result.is_success
        self.turns.append(
            Turn(
                prompt_tokens=prompt,
                action_tokens=generation.tokens,
                behaviour_logprobs=generation.logprobs,
                versions=generation.versions,
                is_stopped=generation.is_stopped,
                observation=observation,
                action=text,
                reward=result.reward,
                is_malformed=result.is_malformed,
                generation_s=generation.duration_s,
                environment_s=time.monotonic() - began,
            )
        )
        return result
