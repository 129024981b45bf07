from dataclasses import replace

import numpy as np
import pytest

from actors.engine.scripted import ScriptedEngine
from actors.rollout import Table, play
from common.errors import EngineFault, EnvironmentFault
from common.messages import Lease, Sampling
from common.trajectory import Member, TaskReference
from envhub.local import LocalHub
from tests.actors.spelled import END, SpelledDialogue, action, spell

TASK = TaskReference(environment="guess_number", task="number-000", seed=3)


class RecordingHub(LocalHub):
    """A local hub that remembers its sessions' closings and can break at a step."""

    def __init__(self, breaks_at: int | None = None) -> None:
        self.num_closed = 0
        self.breaks_at = breaks_at

    async def create(self, task, action_format):
        session = await super().create(task, action_format)
        step, close, played = session.step, session.close, iter(range(1000))

        async def stepping(text):
            if next(played) == self.breaks_at:
                raise EnvironmentFault("the test broke the environment")
            return await step(text)

        async def closing():
            self.num_closed += 1
            await close()

        session.step, session.close = stepping, closing
        return session


async def table(engine: ScriptedEngine, hub: LocalHub | None = None) -> Table:
    await engine.start()
    return Table("actor-0", hub or RecordingHub(), engine, SpelledDialogue, "plain", episode_s=60)


def lease(horizon: int = 10, task: TaskReference = TASK, **sampling: int) -> Lease:
    limits = {"max_action_tokens": 40, "max_episode_tokens": 5000} | sampling
    identity = Member(run="test", group=0, member=0)
    return Lease(identity=identity, task=task, horizon=horizon, sampling=Sampling(**limits))


def engine(*texts: str) -> ScriptedEngine:
    return ScriptedEngine([action(text) for text in texts], end_token_ids=(END,))


async def every_guess(number_of_turns: int) -> list[str]:
    return [f"guess {n}" for n in range(1, number_of_turns + 1)]


async def test_what_is_recorded_is_exactly_what_the_engine_read_and_sampled():
    scripted = engine("guess 1", "guess 2", "guess 3")
    trajectory = await play(lease(horizon=3), await table(scripted))
    whole = trajectory.tokens()
    last_prompt = scripted.prompts[-1]
    assert whole[: len(last_prompt)].tolist() == last_prompt.tolist()
    assert whole[len(last_prompt) :].tolist() == action("guess 3")
    assert whole[trajectory.is_action()].tolist() == [t for n in (1, 2, 3) for t in action(f"guess {n}")]


async def test_success_is_by_the_environments_predicate_and_ends_the_episode():
    texts = await every_guess(64)
    trajectory = await play(lease(horizon=100), await table(engine(*texts)))
    assert trajectory.outcome == "terminated"
    assert trajectory.is_success
    assert trajectory.episode_return == 1.0
    assert [turn.reward for turn in trajectory.turns[:-1]] == [0.0] * (len(trajectory.turns) - 1)


async def test_the_horizon_cuts_and_is_not_a_fault():
    trajectory = await play(lease(horizon=2), await table(engine("guess 900")))
    assert (trajectory.outcome, len(trajectory.turns), trajectory.is_success) == (
        "truncated_by_horizon",
        2,
        False,
    )


async def test_a_malformed_action_is_a_turn_that_the_environment_never_sees():
    hub = RecordingHub(breaks_at=0)
    trajectory = await play(lease(horizon=2), await table(engine("first\nsecond"), hub))
    assert [turn.is_malformed for turn in trajectory.turns] == [True, True]
    assert trajectory.turns[1].observation.startswith("Could not read the action")


async def test_an_end_token_that_was_not_sampled_is_read_and_never_trained():
    scripted = ScriptedEngine([spell("guess 1234567")], end_token_ids=(END,))
    trajectory = await play(lease(horizon=2, max_action_tokens=7), await table(scripted))
    first, second = trajectory.turns
    assert not first.is_stopped
    assert END not in first.action_tokens
    assert second.prompt_tokens[0] == END


async def test_an_episode_never_exceeds_its_token_limit():
    trajectory = await play(lease(horizon=50, max_episode_tokens=200), await table(engine("guess 900")))
    assert trajectory.outcome == "truncated_by_tokens"
    assert trajectory.num_tokens <= 200


async def test_a_first_prompt_beyond_the_limit_is_an_empty_record():
    trajectory = await play(lease(max_episode_tokens=5), await table(engine("guess 1")))
    assert (trajectory.outcome, trajectory.turns) == ("truncated_by_tokens", ())
    assert trajectory.tokens().shape == (0,)


async def test_a_broken_environment_leaves_no_record_and_a_closed_session():
    hub = RecordingHub(breaks_at=1)
    with pytest.raises(EnvironmentFault, match="broke the environment"):
        await play(lease(), await table(engine("guess 900"), hub))
    assert hub.num_closed == 1


async def test_a_broken_engine_leaves_no_record_and_a_closed_session():
    hub, scripted = RecordingHub(), engine("guess 900")
    scripted.fail_next(1)
    with pytest.raises(EngineFault):
        await play(lease(), await table(scripted, hub))
    assert hub.num_closed == 1


async def test_every_turn_records_the_version_that_sampled_it():
    scripted = engine("guess 900")
    seen = []

    class Updating(SpelledDialogue):
        def text(self, tokens: np.ndarray) -> str:
            seen.append(1)
            scripted._policy_version = len(seen)
            return super().text(tokens)

    given = await table(scripted)
    given = Table(given.actor, given.hub, scripted, Updating, "plain", episode_s=60)
    trajectory = await play(lease(horizon=3), given)
    assert trajectory.token_versions().tolist() == [v for v in (0, 1, 2) for _ in action("guess 900")]
    assert (trajectory.oldest_version, trajectory.newest_version) == (0, 2)


class NotingEngine(ScriptedEngine):
    """A scripted engine that remembers the seeds it was given."""

    def __init__(self, *texts: str) -> None:
        super().__init__([action(text) for text in texts], end_token_ids=(END,))
        self.seeds: list[int | None] = []

    async def generate(self, prompt_tokens, *, max_tokens, sampling, seed=None):
        self.seeds.append(seed)
        return await super().generate(prompt_tokens, max_tokens=max_tokens, sampling=sampling, seed=seed)


async def seeds(member: int, attempt: int, *, is_seeded: bool = True) -> list[int | None]:
    noting = NotingEngine("guess 1", "guess 2")
    given = lease(horizon=2)
    identity = Member(run="test", group=0, member=member, attempt=attempt)
    seated = replace(await table(noting), is_seeded=is_seeded)
    await play(given.model_copy(update={"identity": identity}), seated)
    return noting.seeds


async def test_a_seeded_episode_has_the_same_seeds_at_every_attempt_and_others_for_every_member_and_turn():
    first = await seeds(0, 0)
    assert await seeds(0, 3) == first
    assert len({*first, *await seeds(1, 0)}) == 4
    assert await seeds(0, 0, is_seeded=False) == [None, None]
