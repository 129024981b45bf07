"""One rollout of verifiers as an episode: it waits, in a loop of its own, whenever its agent is to speak."""

from concurrent.futures import Future
from queue import Empty
from types import ModuleType
from typing import Any

from common.errors import EnvironmentFault
from envhub.adapters.credit import Credit, clean
from envhub.adapters.private_loop import PrivateLoop
from envhub.environment import Episode, StepResult

DEADLINE_S = 300.0
"""For the environment to speak or to end after an action."""
_REFUSAL = "Write a message."


class VerifiersEpisode(Episode):
    """Plays until verifiers ends the rollout; its summed rewards are the score, clipped to 0..1 the reward.

    EnvironmentFault when the rollout failed: an error of the environment is never a reward.
    """

    def __init__(self, vf: ModuleType, config: Any, task: Any, system: str, success_at: float) -> None:
        # Found only where verifiers is.
        from envhub.adapters.verifiers_seat import MODEL, PolicySeat

        self._vf, self._config, self._task = vf, config, task
        self._system, self._success_at = system, success_at
        self._model, self._seat = MODEL, PolicySeat()
        self._credit = Credit()
        self._num_turns = 0
        self._over: StepResult | None = None
        self._loop = PrivateLoop()
        try:
            self._rollout: Future[Any] = self._loop.begin(self._play())
            self._rollout.add_done_callback(lambda _: self._seat.heard.put(None))
            heard = self._heard()
            if heard is None:
                raise EnvironmentFault("the rollout ended before anybody spoke")
            self._observation = heard
        except BaseException:
            self._loop.close()
            raise

    @property
    def observation(self) -> str:
        """What was shown last."""
        return self._observation

    def step(self, action: str) -> StepResult:
        """Say it and wait for what the environment says, or for its end; nothing at all is malformed."""
        if self._over is not None:
            return self._over
        text = clean(action).strip()
        if not text:
            self._observation = _REFUSAL
            return StepResult(observation=_REFUSAL, score=self._credit.score, is_malformed=True)
        self._num_turns += 1
        self._loop.run(self._seat.answer(text))
        heard = self._heard()
        if heard is None:
            return self._ended()
        self._observation = heard
        return StepResult(observation=heard)

    def detail(self) -> dict[str, Any]:
        """Turns, and the score once there is one."""
        return {"turns": self._num_turns, "score": self._credit.score}

    def close(self) -> None:
        """Cancel the rollout and end its servers and its loop."""
        self._loop.close()

    async def _play(self) -> Any:
        async with self._seat.serving() as url:
            environment = self._vf.load_environment(self._config)
            client = self._vf.EvalClientConfig(base_url=url, api_key_var="PRONGHORN_NO_KEY")
            context = self._vf.ModelContext(model=self._model, client=client)
            async with environment.serving():
                return await environment.run_episode(self._task, context)

    def _heard(self) -> str | None:
        """What was said to the agent since it spoke last; None when the rollout is over."""
        try:
            messages = self._seat.heard.get(timeout=DEADLINE_S)
        except Empty:
            raise EnvironmentFault(f"the environment was silent for {DEADLINE_S:.0f} s") from None
        if messages is None:
            return None
        spoken = [index for index, message in enumerate(messages) if message["role"] == "assistant"]
        new = messages[spoken[-1] + 1 :] if spoken else messages
        texts = [_text(message["content"]) for message in new if _text(message["content"]) != self._system]
        return clean("\n\n".join(texts))

    def _ended(self) -> StepResult:
        played = self._rollout.result()
        errors = [error for part in (played, *played.traces) if (error := part.last_error) is not None]
        if not played.ok:
            what = f"{errors[0].type}: {errors[0].message}" if errors else "no reason given"
            raise EnvironmentFault(f"the rollout failed: {what[:300]}")
        score = sum(trace.reward for trace in played.traces)
        is_success = score >= self._success_at
        is_truncated = any(trace.is_truncated for trace in played.traces)
        self._observation = f"The episode is over; score {score:g}."
        result = StepResult(
            observation=self._observation,
            reward=self._credit.earn(score, is_success=is_success),
            is_terminated=not is_truncated,
            is_truncated=is_truncated,
            is_success=is_success,
            score=score,
        )
        self._over = result.model_copy(update={"reward": 0.0})
        return result


def _text(content: Any) -> str:
    """The text of a message, whose content may come in parts."""
    if isinstance(content, str):
        return content
    return "\n".join(part["text"] for part in content or [] if part.get("type") == "text")
