"""An episode played by a chat server: text in, text out. For evaluation alone: none of it can be trained on.

    environment --observation--> messages --server--> text --> action --> environment

The same hub, the same action formats and the same counting as in `actors.rollout`; there are no tokens and no
logprobs. Tokens are limited by what the server says that it counted. Its own delays cut no episode.
"""

import time
from dataclasses import dataclass

import numpy as np

from actors.chat_client import Answer, ChatClient, ContextFull, Messages, Usage
from common.action_format import ActionFormat, malformed_reply, parse
from common.messages import Lease
from common.trajectory import Outcome, Trajectory, Turn
from envhub.environment import StepResult
from envhub.hub import Hub, HubSession


@dataclass(frozen=True)
class ChatTable:
    """What is played with: a hub, a server, a format."""

    actor: str
    hub: Hub
    client: ChatClient
    action_format: ActionFormat


async def play_chat(lease: Lease, table: ChatTable, usage: Usage) -> Trajectory:
    """Play the leased episode to its end, its horizon or its token limit; what it costs is added to `usage`.

    The trajectory's turns hold text and no tokens. Raises EnvironmentFault or EngineFault when something
    other than the policy failed, PreflightError when the server refuses to answer at all.
    """
    started_at = time.time()
    session = await table.hub.create(lease.task, table.action_format)
    try:
        episode = _Episode(lease, table, session, usage)
        outcome = await episode.run()
    finally:
        await session.close()
    return Trajectory(
        identity=lease.identity,
        task=lease.task,
        horizon=lease.horizon,
        turns=tuple(episode.turns),
        outcome=outcome,
        score=episode.result.score,
        is_success=episode.result.is_success,
        actor=table.actor,
        started_at=started_at,
        finished_at=time.time(),
    )


class _Episode:
    """The state of one episode in play: its conversation, its turns, its last result."""

    def __init__(self, lease: Lease, table: ChatTable, session: HubSession, usage: Usage) -> None:
        self.turns: list[Turn] = []
        self.result = StepResult(observation=session.observation)
        """The last that the environment itself answered."""
        self._lease = lease
        self._table = table
        self._session = session
        self._usage = usage
        self._num_tokens = 0
        self._messages: Messages = []
        if session.instructions:
            self._messages.append({"role": "system", "content": session.instructions})

    async def run(self) -> Outcome:
        """Play turn by turn; how the episode ended."""
        sampling, observation = self._lease.sampling, self._session.observation
        for _ in range(self._lease.horizon):
            room = min(sampling.max_action_tokens, sampling.max_episode_tokens - self._num_tokens)
            if room < 1:
                return "truncated_by_tokens"
            self._messages.append({"role": "user", "content": observation})
            began = time.monotonic()
            try:
                answer = await self._table.client.complete(
                    self._messages, sampling=sampling, max_tokens=room, usage=self._usage
                )
            except ContextFull:
                return "truncated_by_tokens"
            self._num_tokens = max(self._num_tokens, answer.num_tokens)
            self._messages.append({"role": "assistant", "content": answer.text})
            result = await self._act(observation, answer, time.monotonic() - began)
            if result.is_terminated:
                return "terminated"
            if result.is_truncated:
                return "truncated_by_environment"
            observation = result.observation
        return "truncated_by_horizon"

    async def _act(self, observation: str, answer: Answer, generation_s: float) -> StepResult:
        """Hand the action to the environment and record the turn."""
        action = parse(answer.text, self._table.action_format)
        began = time.monotonic()
        if action is None:
            result = StepResult(observation=malformed_reply(self._table.action_format), is_malformed=True)
        else:
            result = self.result = await self._session.step(action)
        self.turns.append(
            Turn(
                prompt_tokens=np.empty(0, np.int32),
                action_tokens=np.empty(0, np.int32),
                behaviour_logprobs=np.empty(0, np.float32),
                versions=(),
                is_stopped=answer.is_stopped,
                observation=observation,
                action=answer.text,
                reward=result.reward,
                is_malformed=result.is_malformed,
                generation_s=generation_s,
                environment_s=time.monotonic() - began,
            )
        )
        return result
