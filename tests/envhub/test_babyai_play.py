"""BabyAI episodes on the real levels."""

import struct
import zlib
from random import Random

import pytest

from envhub.environment import StepResult
from envhub.envs.babyai import levels
from envhub.envs.babyai.environment import BabyAI
from envhub.envs.babyai.exclusions import doubled, is_won, lost

pytest.importorskip("minigrid")

from envhub.envs.babyai.episode import BabyAIEpisode

LOCKED_IN = "BabyAI-GoToImpUnlock-v0-seed107"
"""The one key that opens the way lies behind its own door: the package's bot loops for ever."""
STRICT_SEQUENCE = "BabyAI-OpenDoorsOrderN4Debug-v0-seed100"


@pytest.fixture
def environment() -> BabyAI:
    return BabyAI()


def win(environment: BabyAI, episode: BabyAIEpisode) -> StepResult:
    for _ in range(environment.horizon):
        result = episode.step(episode.expert().action)
        if result.is_over:
            return result
    raise AssertionError(episode.render())


def test_the_goal_is_told_as_it_is_and_once(environment: BabyAI) -> None:
    episode = environment.reset("BabyAI-GoToSeqS5R2-v0-seed1", 0)
    mission = episode.detail()["mission"]
    assert "then" in mission or "after you" in mission
    assert episode.observation.startswith(f"Your goal: {mission}\nIn front of you")
    assert "Your goal" not in episode.step("turn left").observation


def test_success_is_paid_once_by_the_share_of_steps_left(environment: BabyAI) -> None:
    episode = environment.reset("BabyAI-GoToLocalS8N7-v0-seed3", 0)
    result = win(environment, episode)
    facts = episode.detail()
    assert result.is_success
    assert result.reward == result.score == 1 - 0.9 * facts["steps"] / facts["max_steps"]
    after = episode.step("turn left")
    assert (after.reward, after.score, after.observation) == (0.0, result.score, result.observation)
    assert episode.detail() == facts


def test_what_is_no_action_or_not_possible_takes_no_step(environment: BabyAI) -> None:
    episode = environment.reset("BabyAI-GoToLocalS8N7-v0-seed3", 0)
    before = episode.render().splitlines()[:9]
    refused = [episode.step(action) for action in ("drop", "go to purple key 9", "check available actions")]
    malformed = [episode.step(text) for text in ("", "fly", "\ud800", "x" * 10**6)]
    assert not any(result.is_malformed for result in refused)
    assert all(result.is_malformed for result in malformed)
    assert all("\nAvailable actions: [" in result.observation for result in (*refused, *malformed))
    assert episode.detail()["steps"] == 0
    assert episode.render().splitlines()[:9] == before


def test_the_steps_of_a_level_are_primitive_and_cut_the_episode(environment: BabyAI) -> None:
    episode = environment.reset("BabyAI-GoToObj-v0-seed1", 0)
    limit = episode.detail()["max_steps"]
    results = [episode.step("turn left") for _ in range(limit)]
    assert not any(result.is_over for result in results[:-1])
    assert results[-1].is_truncated
    assert not results[-1].is_terminated
    assert results[-1].observation.startswith("No steps are left.\n")
    assert episode.actions() == ()


def test_an_action_of_several_moves_stops_where_the_episode_ends(environment: BabyAI) -> None:
    episode = environment.reset("BabyAI-OpenDoor-v0-seed0", 0)
    result = win(environment, episode)
    # The last action opens the door and would step into it.
    assert result.is_success
    assert "right in front of you 1 steps away" in result.observation


def test_a_failed_mission_terminates_without_reward(environment: BabyAI) -> None:
    result = win(environment, environment.reset(STRICT_SEQUENCE, 0))
    assert (result.is_terminated, result.is_success, result.score) == (True, False, 0.0)
    assert result.observation.startswith("The goal can no longer be reached.\n")


def test_both_spellings_of_picking_up_do_the_same(environment: BabyAI) -> None:
    shown = []
    for verb in ("pickup", "pick up"):
        episode = environment.reset("BabyAI-PickupDist-v0-seed0", 0)
        thing = next(action for action in episode.actions() if action.startswith("pickup "))
        shown.append(episode.step(thing.replace("pickup", verb)))
    assert shown[0] == shown[1]


def test_nothing_is_printed(environment: BabyAI, capfd: pytest.CaptureFixture[str]) -> None:
    for seed in range(20):
        environment.reset(f"BabyAI-PutNextLocalS5N3-v0-seed{seed}", 0)
    assert capfd.readouterr().out == ""


def test_the_picture_is_a_png_of_the_whole_grid(environment: BabyAI) -> None:
    picture = environment.reset("BabyAI-GoToObj-v0-seed1", 0).picture()
    assert picture[:8] == b"\x89PNG\r\n\x1a\n"
    width, height, depth, color = struct.unpack(">IIBB", picture[16:26])
    assert (width, height, depth, color) == (8 * 24, 8 * 24, 8, 2)
    length = struct.unpack(">I", picture[33:37])[0]
    assert len(zlib.decompress(picture[41 : 41 + length])) == height * (1 + 3 * width)


def test_the_expert_wins_levels_that_the_package_s_bot_does_not(environment: BabyAI) -> None:
    for level in ("KeyInBox", "PutNextS7N4Carrying", "PutNextS5N2Carrying", "UnlockToUnlock"):
        for seed in (102, 103):
            assert is_won(environment, f"BabyAI-{level}-v0-seed{seed}"), (level, seed)


def test_the_expert_wins_a_sample_of_every_level(environment: BabyAI) -> None:
    found = {task.kind: task.name for task in reversed(environment.tasks("train"))}
    assert len(found) == 40
    slow = {"GoToImpUnlock", "BossLevel", "BossLevelNoUnlock", "SynthSeq", "KeyCorridorS6R3"}
    assert not list(lost(environment, [name for kind, name in found.items() if kind not in slow]))


def test_the_expert_never_hangs_where_nothing_can_be_done(environment: BabyAI) -> None:
    episode = environment.reset(LOCKED_IN, 0)
    for _ in range(75):
        result = episode.step(episode.expert().action)
        assert not result.is_malformed
    assert LOCKED_IN not in {task.name for task in environment.tasks("train")}


def test_the_expert_says_the_same_when_asked_again(environment: BabyAI) -> None:
    episode = environment.reset("BabyAI-PutNextLocalS6N4-v0-seed1", 0)
    assert episode.expert() == episode.expert()
    episode.step("drop")
    assert episode.expert() == episode.expert()


@pytest.mark.parametrize("kind", ["UnlockPickupDist", "PutNextLocalS6N4", "KeyInBox", "MiniBossLevel"])
def test_the_expert_wins_after_wrong_moves(environment: BabyAI, kind: str) -> None:
    for seed in range(3):
        random = Random(f"{kind}:{seed}")
        episode = environment.reset(f"BabyAI-{kind}-v0-seed{seed}", 0)
        for _ in range(12):
            result = episode.step(random.choice(episode.actions()))
        if not result.is_over:
            result = win(environment, episode)
        assert result.is_success or result.is_truncated, (seed, episode.render())


def test_every_level_can_be_begun(environment: BabyAI) -> None:
    for level in levels.known():
        episode = environment.reset(levels.task_name(level, 5), 0)
        assert episode.detail()["max_steps"] > 0
        assert episode.actions()[:2] == ("turn left", "turn right")


def test_a_test_task_that_is_a_training_task_by_another_seed_is_left_out(environment: BabyAI) -> None:
    train, test = (
        [levels.task_name(*one) for one in levels.candidates(split) if one[0] == "BabyAI-OpenRedDoor-v0"]
        for split in ("train", "test")
    )
    assert list(doubled(environment, test, train)) == ["BabyAI-OpenRedDoor-v0-seed1"]
    assert "BabyAI-OpenRedDoor-v0-seed1" in levels.excluded()
    assert "Apache-2.0 by its LICENSE file, MIT by its metadata" in environment.source
