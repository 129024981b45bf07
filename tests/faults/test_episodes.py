"""What an episode leaves behind: its tokens as they were sampled, and no more reward than it was paid."""

import asyncio
from collections.abc import Sequence

import numpy as np
import pytest

from actors.assembly import hub_client
from actors.config import ActorConfig
from actors.engine.engine import Generation
from actors.engine.scripted import ScriptedEngine
from actors.rollout import Table, play
from common.errors import EnvironmentFault
from common.messages import Lease, Sampling
from common.prompt import Dialogue
from common.trajectory import Member, TaskReference
from envhub.config import HubConfig
from envhub.environment import StepResult
from learner.batch import sequence_of
from tests.actors.spelled import END, SpelledDialogue, action, spell
from tests.common.test_prompt import CHATML, byte_level

TASK = TaskReference(environment="toy", task="only")


class PaidSession:
    """Pays and scores each action as it is told, and solves the task with the last."""

    instructions = "play"
    observation = "begin"
    horizon = 10

    def __init__(self, scores: Sequence[float]) -> None:
        self.actions: list[str] = []
        self._scores = scores

    async def step(self, action: str) -> StepResult:
        self.actions.append(action)
        score = self._scores[len(self.actions) - 1]
        is_last = len(self.actions) == len(self._scores)
        return StepResult(
            observation="go on", reward=0.25, score=score, is_terminated=is_last, is_success=is_last
        )

    async def close(self) -> None:
        """Nothing is held."""


class PayingHub:
    """Gives one session."""

    def __init__(self, *scores: float) -> None:
        self.session = PaidSession(scores)

    async def create(self, task: TaskReference, action_format: str) -> PaidSession:
        return self.session


def lease(horizon: int = 10, **sampling: int) -> Lease:
    limits = {"max_action_tokens": 40, "max_episode_tokens": 5000} | sampling
    identity = Member(run="test", group=0, member=0)
    return Lease(identity=identity, task=TASK, horizon=horizon, sampling=Sampling(**limits))


async def table(engine: ScriptedEngine, hub: PayingHub, dialogues: object = SpelledDialogue) -> Table:
    await engine.start()
    return Table("actor-0", hub, engine, dialogues, "plain", episode_s=60)  # type: ignore[arg-type]


def engine(*texts: str) -> ScriptedEngine:
    return ScriptedEngine([action(text) for text in texts], end_token_ids=(END,))


async def test_sampled_tokens_are_read_and_recorded_as_they_were_sampled_and_never_encoded_again() -> None:
    """`lo` + `o` where the tokenizer would write `loo`, a line end that it would merge, a special token."""
    tokenizer = byte_level(CHATML, "<|im_end|>", "<|im_start|>")
    dialogue = Dialogue(tokenizer, "")
    special, end = tokenizer.convert_tokens_to_ids(["<|im_start|>", "<|im_end|>"])
    letters = [tokenizer.convert_tokens_to_ids(letter) for letter in ("Ċ", "Ċ", "l", "o", "o")]
    sampled = [*letters, special, end]
    again = tokenizer.encode(tokenizer.decode(sampled, skip_special_tokens=True), add_special_tokens=False)
    assert again != sampled[:-2], "this action would survive decoding and encoding"
    scripted = ScriptedEngine([sampled], end_token_ids=(end,))
    hub = PayingHub(0.0, 0.0, 1.0)
    trajectory = await play(lease(), await table(scripted, hub, lambda _: dialogue))
    assert hub.session.actions == ["loo"] * 3
    assert [turn.action_tokens.tolist() for turn in trajectory.turns] == [sampled] * 3
    made = sequence_of(trajectory)
    assert made is not None
    read = scripted.prompts[-1].tolist()
    assert made.tokens.tolist() == read + sampled
    assert made.tokens[made.is_trained].tolist() == sampled * 3


class Remembering(ScriptedEngine):
    """Gives every token a logprob of its own."""

    async def generate(self, *args: object, **kwargs: object) -> Generation:  # type: ignore[override]
        made = await super().generate(*args, **kwargs)  # type: ignore[arg-type]
        return made.model_copy(update={"logprobs": -1 - np.arange(len(made.tokens), dtype=np.float32) / 64})


async def test_the_logprobs_of_the_policy_that_sampled_reach_the_loss_as_they_were_recorded() -> None:
    """vLLM's are computed in AgentGym-RL, too, and thrown away."""
    scripted = Remembering([action("go"), action("wait there")], end_token_ids=(END,))
    made = sequence_of(await play(lease(), await table(scripted, PayingHub(0.0, 0.0, 1.0))))
    assert made is not None
    expected = [-1 - i / 64 for n in (3, 11, 3) for i in range(n)]
    assert made.behaviour_logprobs[made.is_action].tolist() == expected


async def test_a_forced_end_token_is_read_and_never_trained() -> None:
    """An action that its limit cut: the end token after it has no logprob, for nobody sampled it."""
    scripted = ScriptedEngine([spell("go and go on")], end_token_ids=(END,))
    trajectory = await play(lease(max_action_tokens=5), await table(scripted, PayingHub(0.0, 0.0, 1.0)))
    made = sequence_of(trajectory)
    assert made is not None
    assert (made.tokens == END).sum() == 2
    assert not made.is_action[made.tokens == END].any()
    assert made.is_action.sum() == 3 * 5


async def test_a_malformed_last_action_takes_nothing_of_what_was_earned() -> None:
    """AgentGym-RL's score is that of the last step: SciWorld's partial one is lost to `Invalid Action`."""
    scripted = engine("go", "go", "first\nsecond")
    trajectory = await play(lease(horizon=3), await table(scripted, PayingHub(30.0, 60.0, 100.0)))
    assert [turn.is_malformed for turn in trajectory.turns] == [False, False, True]
    assert trajectory.score == 60.0
    assert trajectory.episode_return == 0.5


async def test_the_return_is_the_sum_of_all_turns_and_not_the_reward_of_the_last() -> None:
    trajectory = await play(lease(), await table(engine("go"), PayingHub(0.0, 0.0, 0.0, 1.0)))
    assert trajectory.episode_return == 1.0


async def test_nothing_is_played_and_nothing_earned_beyond_the_token_limit() -> None:
    """AgentGym-RL plays on, throws the tokens away and credits the kept ones with what came after."""
    hub = PayingHub(0.0, 0.0, 0.0, 100.0)
    whole = await play(lease(), await table(engine("go"), hub))
    assert whole.is_success
    limit = sum(len(t.prompt_tokens) + len(t.action_tokens) for t in whole.turns[:2]) + 3
    hub = PayingHub(0.0, 0.0, 0.0, 100.0)
    cut = await play(lease(max_episode_tokens=limit), await table(engine("go"), hub))
    assert hub.session.actions == ["go", "go"]
    assert (cut.outcome, cut.is_truncated, cut.is_success) == ("truncated_by_tokens", True, False)
    assert (cut.score, cut.episode_return, len(cut.turns)) == (0.0, 0.5, 2)


async def test_a_hub_that_never_answers_is_a_fault_after_the_seconds_that_were_configured() -> None:
    """AgentGym-RL has a key for it that nothing reads, and waits 2400 s."""
    answered = asyncio.Event()

    async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await answered.wait()
        writer.close()

    server = await asyncio.start_server(hang, "127.0.0.1", 0)
    try:
        port = server.sockets[0].getsockname()[1]
        async with asyncio.timeout(10):
            async with hub_client(HubConfig(port=port), ActorConfig(environment_s=0.1, max_retries=0)) as hub:
                with pytest.raises(EnvironmentFault):
                    await hub.create(TASK, "plain")
    finally:
        answered.set()
        server.close()
