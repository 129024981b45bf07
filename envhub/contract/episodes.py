"""Promises about episodes: they repeat, they end, they keep apart, and nothing that is written harms them."""

import json
from collections.abc import Callable, Iterable
from random import Random

from envhub.contract.play import Play, wandering
from envhub.contract.subject import Subject
from envhub.environment import Episode

HOSTILE = (
    "",
    " \n\t ",
    "\x00",
    "\ud800 half a character",
    "x" * 100_000,
    "no such action at all",
    "🙂" * 50,
    "\u202ereversed",
    "{} {0} %s %n ${HOME}",
    "__import__('os').abort()",
    "'; DROP TABLE tasks; --",
    '{"function_name": "x", "arguments": {}}',
)
MAX_ANSWER = 20_000
"""Characters that an observation may have."""
NUM_WANDERED = 8
"""Hints that are followed at random before the expert takes over."""


def same_task_and_seed_are_the_same_episode(subject: Subject) -> None:
    """Played again with the same actions, all answers are the same; any seed can be asked for."""
    for played in subject.plays[: subject.num_again]:
        episode = subject.environment.reset(played.task, 0)
        subject.require(episode.observation == played.opening, f"{played.task} begins differently")
        for turn in played.turns:
            result = episode.step(turn.move.action)
            subject.require(result == turn.result, f"{played.task}: {turn.move.action!r} is answered anew")
        episode.close()
    for seed in (1, 2**31, 2**63 - 1):
        subject.environment.reset(subject.plays[0].task, seed).close()


def the_expert_wins_within_the_horizon(subject: Subject) -> None:
    """All plays, or the share that is promised; no move malformed, rewards that add up to at most 1."""
    if not subject.environment.has_expert:
        return
    lost = [played for played in subject.plays if not played.is_won]
    subject.require(
        len(lost) <= (1 - subject.wins) * len(subject.plays),
        f"{len(lost)} of {len(subject.plays)} plays are not won within {subject.environment.horizon} turns, "
        f"such as {lost[0].task if lost else ''}: {lost[0].views[1] if lost else ''}",
    )
    for played in subject.plays:
        malformed = [turn.move.action for turn in played.turns if turn.result.is_malformed]
        subject.require(
            not malformed, f"{played.task}: the expert writes {malformed[:1]}, which is malformed"
        )
        total = sum(result.reward for result in played.results)
        subject.require(total <= 1 + 1e-9, f"{played.task}: the rewards add up to {total}")
        subject.require(total > 0 or not played.is_won, f"{played.task} is won for a reward of {total}")
        odd = [turn.move.thought for turn in played.turns if len(turn.move.thought.splitlines()) > 1]
        subject.require(not odd, f"{played.task}: the thought {odd[:1]} is not one line")


def after_the_end_nothing_changes(subject: Subject) -> None:
    """The last observation, score and outcome stay, and nothing is paid."""
    for played in subject.plays:
        last = played.results[-1]
        for result in played.after:
            before, now = (
                (r.observation, r.score, r.is_terminated, r.is_truncated, r.is_success)
                for r in (last, result)
            )
            subject.require(before == now, f"{played.task}: after the end {before} became {now}")
            subject.require(result.reward == 0, f"{played.task}: {result.reward} is paid after the end")


def sessions_of_one_task_keep_apart(subject: Subject) -> None:
    """Played in turns, the even episodes see what a lone one saw while the odd ones do anything."""
    played = subject.plays[0]
    episodes = [subject.environment.reset(played.task, 0) for _ in range(subject.num_sessions)]
    randoms = [Random(f"apart:{number}") for number in range(subject.num_sessions)]
    for turn in played.turns:
        for number, episode in enumerate(episodes):
            if number % 2:
                random = randoms[number]
                episode.step(wandering(episode, random) if random.random() < 0.7 else "disturbance")
                continue
            result = episode.step(turn.move.action)
            subject.require(result == turn.result, f"{played.task}: session {number} is not alone: {result}")
    for episode in episodes:
        episode.close()


def no_text_does_harm(subject: Subject) -> None:
    """Whatever is written is answered; what is no action is malformed and changes nothing in the world."""
    for played in subject.plays[:2]:
        survive(subject, played.task, 0, HOSTILE, is_hostile=subject.has_grammar)


def survive(
    subject: Subject, task: str, seed: int, texts: Iterable[str], *, is_hostile: bool = False
) -> Episode:
    """The episode after these texts, begun anew when they end it; ContractError when an answer is bad.

    `is_hostile`: none of the texts is an action.
    """
    episode = subject.environment.reset(task, seed)
    for text in texts:
        before = _outlook(subject, episode) if is_hostile else None
        result = episode.step(text)
        shown = f"{task}: {text[:60]!r}"
        subject.require(result.observation == episode.observation, f"{shown} is answered with another text")
        subject.require(_is_sendable(result.observation), f"{shown} is answered with what cannot be sent")
        if is_hostile:
            subject.require(result.is_malformed, f"{shown} is not malformed")
            subject.require(result.reward == 0 and not result.is_success, f"{shown} is paid")
        if result.is_over:
            episode.close()
            episode = subject.environment.reset(task, seed)
        elif before is not None:
            subject.require(_outlook(subject, episode) == before, f"{shown} changes what is possible")
    return episode


def hints_are_actions_and_the_expert_recovers(subject: Subject) -> None:
    """No hint is malformed; where it is promised, the expert wins from wherever hints have led."""
    for task in subject.first(subject.num_again):
        random, episode = Random(f"hints:{task.name}"), subject.environment.reset(task.name, 1)
        is_over = False
        for _ in range(NUM_WANDERED):
            hints = episode.actions()
            if is_over or not hints:
                break
            result = episode.step(hint := random.choice(hints))
            is_over = result.is_over
            subject.require(not result.is_malformed, f"{task.name}: the hint {hint!r} is malformed")
        if not is_over and subject.can_recover and subject.environment.has_expert:
            _recover(subject, task.name, episode)
        episode.close()


def facts_and_views_are_as_promised(subject: Subject) -> None:
    """Details are JSON, rendering shows something, pictures are PNGs, and no detail has the hidden answer."""
    for played in subject.plays:
        for turn in played.turns:
            subject.require(_is_json(turn.detail), f"{played.task}: the detail {turn.detail} is not JSON")
        for view in played.views:
            subject.require(bool(view) and _is_sendable(view), f"{played.task}: nothing is rendered")
        for picture in played.pictures:
            is_png = picture == b"" or picture.startswith(b"\x89PNG\r\n\x1a\n")
            subject.require(is_png, f"{played.task}: the picture is no PNG")
    if subject.answer is not None:
        _keeps_the_answer(subject, subject.answer)


def _keeps_the_answer(subject: Subject, answer: Callable[[Play], str]) -> None:
    """An answer may stand in a list that is also shown where it is not the answer."""
    won = [played for played in subject.plays if played.is_won]
    details = [(answer(played), _leaves(played.turns[0].detail)) for played in won]
    for played, (hidden, told) in zip(won, details, strict=True):
        is_everywhere = any(hidden in others for other, others in details if other != hidden)
        subject.require(
            hidden not in told or is_everywhere, f"{played.task}: the detail tells the answer {hidden!r}"
        )


def _recover(subject: Subject, task: str, episode: Episode) -> None:
    for _ in range(10 * subject.environment.horizon):
        result = episode.step(episode.expert().action)
        if result.is_over:
            subject.require(result.is_success or result.is_truncated, f"{task}: the expert loses after hints")
            return
    subject.require(False, f"{task}: the expert never recovers; {episode.render()}")


def _outlook(subject: Subject, episode: Episode) -> tuple[object, ...]:
    """What can be done, and what the expert would do."""
    return episode.actions(), episode.expert().action if subject.environment.has_expert else None


def _is_sendable(text: str) -> bool:
    try:
        return 0 < len(text.encode()) <= 4 * MAX_ANSWER
    except UnicodeEncodeError:
        return False


def _is_json(detail: dict[str, object]) -> bool:
    try:
        return bool(json.loads(json.dumps(detail, allow_nan=False)) == detail)
    except (TypeError, ValueError):
        return False


def _leaves(value: object) -> set[str]:
    """Every number and text inside, as text."""
    if isinstance(value, dict):
        return {leaf for part in value.values() for leaf in _leaves(part)}
    if isinstance(value, list):
        return {leaf for part in value for leaf in _leaves(part)}
    return {str(value)}
