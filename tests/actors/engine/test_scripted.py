"""The scripted engine behaves as its name says."""

import asyncio

import numpy as np
import pytest

from actors.engine.scripted import ScriptedEngine
from common.errors import EngineFault
from common.messages import Sampling

PROMPT = np.arange(4, dtype=np.int32)
SAMPLING = Sampling()


async def test_a_list_is_replied_in_turn_over_and_over() -> None:
    engine = ScriptedEngine([[5, 1], [6, 7, 1]], end_token_ids=(1,))
    await engine.start()
    replies = [await engine.generate(PROMPT, max_tokens=8, sampling=SAMPLING) for _ in range(3)]
    assert [reply.tokens.tolist() for reply in replies] == [[5, 1], [6, 7, 1], [5, 1]]
    assert [prompt.tolist() for prompt in engine.prompts] == [PROMPT.tolist()] * 3


async def test_a_reply_longer_than_allowed_is_cut() -> None:
    engine = ScriptedEngine([[5, 6, 1]], end_token_ids=(1,))
    await engine.start()
    reply = await engine.generate(PROMPT, max_tokens=2, sampling=SAMPLING)
    assert (reply.tokens.tolist(), reply.is_stopped) == ([5, 6], False)


async def test_faults_are_as_many_as_asked_for() -> None:
    engine = ScriptedEngine([[1]], end_token_ids=(1,))
    await engine.start()
    engine.fail_next(2)
    for _ in range(2):
        with pytest.raises(EngineFault):
            await engine.generate(PROMPT, max_tokens=2, sampling=SAMPLING)
    assert (await engine.generate(PROMPT, max_tokens=2, sampling=SAMPLING)).is_stopped


async def test_held_requests_hang_until_resumed_and_can_be_cancelled() -> None:
    engine = ScriptedEngine([[1]], end_token_ids=(1,))
    await engine.start()
    engine.hold()
    async with asyncio.TaskGroup() as group:
        tasks = [
            group.create_task(engine.generate(PROMPT, max_tokens=2, sampling=SAMPLING)) for _ in range(2)
        ]
        await asyncio.sleep(0)
        assert engine.load().num_running == 2
        tasks[0].cancel()
        engine.resume()
    assert (tasks[0].cancelled(), tasks[1].result().is_stopped, engine.num_cancelled) == (True, True, 1)
