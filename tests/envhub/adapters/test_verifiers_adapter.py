"""verifiers' own TextArenaEnv with a game of TextArena, and a plain taskset, as environments."""

import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from common.errors import ConfigurationError, EnvironmentFault, PreflightError
from common.trajectory import TaskReference
from envhub import registry
from envhub.environment import Environment, Episode, StepResult, words
from envhub.local import LocalHub

pytest.importorskip("verifiers.v1", reason="pip install 'verifiers>=0.4'")
pytest.importorskip("textarena", reason="pip install textarena")


@pytest.fixture(scope="module", autouse=True)
def _installed() -> Iterator[None]:
    """The example modules stand where an installed package would: on the path."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(Path(__file__).parent))
        yield


@pytest.fixture
def games() -> Environment:
    return registry.environment("verifiers:number_games")


def bisect(episode: Episode) -> StepResult:
    low, high = 1, 20
    while True:
        middle = (low + high) // 2
        result = episode.step(f"[{middle}]")
        if result.is_over:
            return result
        low, high = (low, middle - 1) if "lower" in result.observation else (middle + 1, high)


def test_a_game_is_played_to_its_end_and_scored_by_verifiers(games: Environment) -> None:
    for task in games.tasks("test"):
        episode = games.reset(task.name, 0)
        assert "guess the number between 1 and 20" in episode.observation
        result = bisect(episode)
        assert (result.is_terminated, result.is_success, result.score, result.reward) == (
            True,
            True,
            1.0,
            1.0,
        )
        assert episode.step("anything") == result.model_copy(update={"reward": 0.0})
        episode.close()


def test_the_same_row_is_the_same_episode(games: Environment) -> None:
    played = []
    for _ in range(2):
        episode = games.reset("row-000003", 0)
        played.append([episode.observation, *(episode.step(f"[{number}]") for number in (1, 20, 2))])
        episode.close()
    assert played[0] == played[1]


def test_episodes_side_by_side_do_not_disturb_each_other(games: Environment) -> None:
    one, other = games.reset("row-000003", 0), games.reset("row-000003", 0)
    assert one.step("[1]") == other.step("[1]")
    assert bisect(one).is_success
    assert bisect(other).is_success
    one.close()
    other.close()


def test_rows_are_split_by_hash(games: Environment) -> None:
    train, test = ({task.name for task in games.tasks(split)} for split in ("train", "test"))
    assert (len(train), len(test), train & test) == (10, 2, set())
    assert games.task("row-000005").split == "test"
    for name in ("", "row-12", "row-000012", "row-0000001"):
        with pytest.raises(ConfigurationError, match="no such task; one is"):
            games.reset(name, 0)


def test_the_limit_of_turns_is_truncation_and_is_scored() -> None:
    episode = registry.environment("verifiers:number_games?horizon=2").reset("row-000003", 0)
    assert not episode.step("[1]").is_over
    last = episode.step("[20]")
    assert (last.is_truncated, last.is_terminated, last.is_success) == (True, False, False)
    episode.close()


def test_the_system_prompt_is_in_the_instructions_unless_the_row_has_its_own() -> None:
    games = registry.environment("verifiers:number_games?system_prompts=2")
    text = games.instructions("react")
    assert text.startswith("Play game 0.")
    assert set(words(text)) <= set(games.vocabulary())
    shown = []
    for name in ("row-000002", "row-000003"):
        episode = games.reset(name, 0)
        shown.append(episode.observation)
        episode.close()
    assert "Play game" not in shown[0]
    assert shown[1].startswith("Play game 1.")


def test_rewards_are_summed_with_their_weights_and_clipped() -> None:
    capitals = registry.environment("verifiers:capitals")
    scores = []
    for text in ("Paris", "Rome", "It is, as everybody knows, Paris"):
        episode = capitals.reset("row-000000", 0)
        assert episode.observation == "The capital of France?"
        result = episode.step(text)
        scores.append((result.score, result.reward, result.is_success))
        episode.close()
    assert scores == [(1.5, 1.0, True), (0.5, 0.5, False), (1.0, 1.0, True)]


def test_a_broken_grader_is_a_fault_and_no_reward() -> None:
    episode = registry.environment("verifiers:capitals").reset("row-000001", 0)
    with pytest.raises(EnvironmentFault, match="the grader broke"):
        episode.step("break")
    episode.close()


def test_an_environment_that_is_silent_is_a_fault_in_time() -> None:
    episode = registry.environment("verifiers:capitals?deadline_s=1").reset("row-000001", 0)
    with pytest.raises(EnvironmentFault, match="silent for 1 s"):
        episode.step("wait")
    episode.close()


def test_text_of_any_kind_is_a_message_and_nothing_is_malformed() -> None:
    capitals = registry.environment("verifiers:capitals")
    for text in ("\ud800 Paris", "x" * 100_000, "\x00", "{}"):
        episode = capitals.reset("row-000000", 0)
        episode.step(text).observation.encode()
        episode.close()
    episode = capitals.reset("row-000000", 0)
    result = episode.step(" \n")
    assert result.is_malformed
    assert result.observation == episode.observation
    episode.close()


def test_a_closed_episode_leaves_no_thread_and_no_file() -> None:
    capitals = registry.environment("verifiers:capitals")
    capitals.reset("row-000000", 0).close()
    before = threading.active_count(), len(os.listdir("/proc/self/fd"))
    for index in range(5):
        episode = capitals.reset("row-000000", 0)
        if index % 2:
            episode.step("Paris")
        episode.close()
    assert (threading.active_count(), len(os.listdir("/proc/self/fd"))) == before


async def test_it_plays_inside_an_event_loop_too() -> None:
    reference = TaskReference(environment="verifiers:capitals", task="row-000002", seed=0)
    async with LocalHub() as hub:
        session = await hub.create(reference, "function_calling")
        result = await session.step('{"function_name": "act", "arguments": {"action": "Lima"}}')
        assert result.is_success


@pytest.mark.parametrize(
    ("target", "error", "words_of_it"),
    [
        ("textarenas", PreflightError, "verifiers itself has textarena"),
        ("textarena", ConfigurationError, "game: Field required"),
        ("number_games?colour=red", ConfigurationError, "colour: Extra inputs"),
        ("json", ConfigurationError, "exports no Taskset"),
        ("capitals?success_at=x", ConfigurationError, "success_at = 'x': must be a number"),
        ("capitals?horizon=0", ConfigurationError, "horizon = '0': must be a whole number"),
        ("?horizon=2", ConfigurationError, "no taskset is named"),
        (":Y", PreflightError, "':Y' not found"),
        (".x", PreflightError, "pip install the package that has it"),
        ("a\nb", PreflightError, "not found"),
        ("capitals?env=user-sim", ConfigurationError, "it has the seats assistant, user"),
    ],
)
def test_what_cannot_be_played_is_refused_when_it_is_named(
    target: str, error: type[Exception], words_of_it: str
) -> None:
    with pytest.raises(error, match=words_of_it) as refused:
        registry.environment(f"verifiers:{target}")
    assert len(str(refused.value).splitlines()) == 1
