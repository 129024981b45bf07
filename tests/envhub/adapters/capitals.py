"""The least that verifiers calls an environment: rows with an answer, and a reward over the reply."""

import asyncio
from collections.abc import Iterator

import verifiers.v1 as vf

__all__ = ["Capitals"]

ROWS = {"France": "Paris", "Norway": "Oslo", "Peru": "Lima"}


class Question(vf.TaskData):
    answer: str


class Asked(vf.Task[Question, vf.State, vf.TaskConfig]):
    @vf.reward
    async def names_it(self, trace: vf.Trace) -> float:
        if "break" in trace.last_reply:
            raise RuntimeError("the grader broke")
        if "wait" in trace.last_reply:
            await asyncio.Event().wait()
        return float(self.data.answer in trace.last_reply)

    @vf.reward(weight=0.5)
    async def is_brief(self, trace: vf.Trace) -> float:
        return float(len(trace.last_reply) < 20)


class Capitals(vf.Taskset[Asked, vf.TasksetConfig]):
    def load(self) -> Iterator[Asked]:
        for country, capital in ROWS.items():
            yield Asked(Question(prompt=f"The capital of {country}?", answer=capital), self.config.task)
