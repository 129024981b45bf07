"""One rollout of verifiers as an episode: it waits, in a loop of its own, whenever its agent is to speak."""

from concurrent.futures import Future
from queue import Empty
from types import ModuleType
from typing import Any

from common.errors import EnvironmentFault
from envhub.adapters.foreign import ForeignEpisode
from envhub.adapters.private_loop import PrivateLoop
from envhub.environment import StepResult
from envhub.sendable import sendable


class VerifiersEpisode(ForeignEpisode):
    """Plays until verifiers ends the rollout; its summed rewards are the score, clipped to 0..1 the reward.

    EnvironmentFault when the rollout failed: an error of the environment is never a reward; and when nothing
    is heard for `deadline_s` after a reset or an action.
    """

    _refusal = "Write a message."

    def __init__(
        self, vf: ModuleType, config: Any, task: Any, system: str, success_at: float, deadline_s: float
    ) -> None:
        # Found only where verifiers is.
        from envhub.adapters.verifiers_seat import MODEL, PolicySeat

        super().__init__()
        self._vf, self._config, self._task = vf, config, task
        self._system, self._success_at, self._deadline_s = system, success_at, deadline_s
        self._model, self._seat = MODEL, PolicySeat()
        self._loop = PrivateLoop()
        try:
            self._rollout: Future[Any] = self._loop.begin(self._roll_out())
            self._rollout.add_done_callback(lambda _: self._seat.heard.put(None))
            heard = self._heard()
            if heard is None:
                raise EnvironmentFault("the rollout ended before anybody spoke")
            self._observation = heard
        except BaseException:
            self._loop.close()
            raise

    def _play(self, text: str) -> StepResult | None:
        """Say it and wait for what the environment says, or for its end; nothing at all is no message."""
        if not text:
            return None
        self._loop.run(self._seat.answer(text))
        heard = self._heard()
        return self._ended() if heard is None else StepResult(observation=heard)

    def close(self) -> None:
        """Cancel the rollout and end its servers and its loop."""
        self._loop.close()

    async def _roll_out(self) -> Any:
        async with self._seat.serving() as url:
            environment = self._vf.load_environment(self._config)
            client = self._vf.EvalClientConfig(base_url=url, api_key_var="PRONGHORN_NO_KEY")
            context = self._vf.ModelContext(model=self._model, client=client)
            async with environment.serving():
                return await environment.run_episode(self._task, context)

    def _heard(self) -> str | None:
        """What was said to the agent since it spoke last; None when the rollout is over."""
        try:
            messages = self._seat.heard.get(timeout=self._deadline_s)
        except Empty:
            raise EnvironmentFault(f"the environment was silent for {self._deadline_s:g} s") from None
        if messages is None:
            return None
        spoken = [index for index, message in enumerate(messages) if message["role"] == "assistant"]
        new = messages[spoken[-1] + 1 :] if spoken else messages
        texts = [_text(message["content"]) for message in new if _text(message["content"]) != self._system]
        return sendable("\n\n".join(texts))

    def _ended(self) -> StepResult:
        played = self._rollout.result()
        errors = [error for part in (played, *played.traces) if (error := part.last_error) is not None]
        if not played.ok:
            what = f"{errors[0].type}: {errors[0].message}" if errors else "no reason given"
            raise EnvironmentFault(f"the rollout failed: {what[:300]}")
        score = sum(trace.reward for trace in played.traces)
        is_success = score >= self._success_at
        is_truncated = any(trace.is_truncated for trace in played.traces)
        return StepResult(
            observation=f"The episode is over; score {score:g}.",
            reward=self._credit.earn(score, is_success=is_success),
            is_terminated=not is_truncated,
            is_truncated=is_truncated,
            is_success=is_success,
            score=score,
        )


def _text(content: Any) -> str:
    """The text of a message, whose content may come in parts."""
    if isinstance(content, str):
        return content
    return "\n".join(part["text"] for part in content or [] if part.get("type") == "text")
