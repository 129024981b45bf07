"""Wordle: both rules, the words, the expert, AgentGym's numbers and a person's own words."""

from random import Random

import numpy as np
import pytest

from common.errors import ConfigurationError
from envhub import registry
from envhub.environment import StepResult
from envhub.envs.wordle.engine import NUM_ANSWERS, TRIES, Lexicon, Rules, decode, encode, feedback
from envhub.envs.wordle.environment import Wordle
from envhub.envs.wordle.episode import WordleEpisode
from envhub.envs.wordle.expert import Solver
from envhub.envs.wordle.lists import shipped
from envhub.envs.wordle.texts import MAX_TURNS, spell, thought
from envhub.task import SPLITS, Task, checked_split

BOTH: tuple[Rules, ...] = ("lmrl", "nyt")


def wordle() -> Wordle:
    found = registry.environment("wordle")
    assert isinstance(found, Wordle)
    return found


def listed() -> list[Task]:
    return [task for split in SPLITS for task in wordle().tasks(checked_split(split))]


def expert_result(episode: WordleEpisode) -> StepResult:
    """Of the expert's last move."""
    while not (result := episode.step(episode.expert().action)).is_over:
        assert not result.is_malformed
    return result


def fits_lmrl(word: str, guesses: list[tuple[str, str]]) -> bool:
    """LMRL-Gym's own test, by what is known of letters and places."""
    for guess, marks in guesses:
        for place, (letter, mark) in enumerate(zip(guess, marks, strict=True)):
            if mark == "g" and word[place] != letter:
                return False
            if mark == "y" and (letter not in word or word[place] == letter):
                return False
            if mark == "b" and letter in word:
                return False
    return True


@pytest.mark.parametrize(
    ("guess", "hidden", "lmrl", "nyt"),
    [
        ("shire", "shire", "ggggg", "ggggg"),
        ("shire", "heirs", "yyggy", "yyggy"),
        ("geese", "those", "byygg", "bbbgg"),
        ("sleep", "those", "ybyyb", "ybybb"),
        ("allay", "llama", "ygyyb", "ygyyb"),
        ("mamma", "llama", "yyygg", "bybgg"),
        ("aback", "zonal", "ybybb", "ybbbb"),
    ],
)
def test_marks_by_both_rules(guess: str, hidden: str, lmrl: str, nyt: str) -> None:
    assert feedback(guess, hidden, "lmrl") == lmrl
    assert feedback(guess, hidden, "nyt") == nyt


def test_a_code_is_its_marks() -> None:
    assert [encode(decode(code)) for code in range(NUM_ANSWERS)] == list(range(NUM_ANSWERS))


@pytest.mark.parametrize("rules", BOTH)
def test_the_answers_for_all_words_at_once_are_the_marks_of_each(rules: Rules) -> None:
    lexicon, random = Lexicon(shipped("nyt").words, rules), Random(0)
    twice = [word for word in lexicon.words if len(set(word)) < 4]
    for guess in (*random.sample(lexicon.words, 8), *random.sample(twice, 8)):
        codes = lexicon.answers(lexicon.index[guess])
        assert [decode(int(code)) for code in codes] == [feedback(guess, w, rules) for w in lexicon.words]


def test_by_lmrl_every_guess_is_compared_with_a_word_drawn_from_those_that_fit() -> None:
    words = list(shipped("lmrl").words)
    for number in range(200):
        episode, random = wordle().reset(f"lmrl-{number:06d}", 0), Random(number)
        guesses: list[tuple[str, str]] = []
        for guess in Random(f"guesses:{number}").sample(words, TRIES):
            fitting = [word for word in words if fits_lmrl(word, guesses)]
            assert episode.detail()["filtered_vocab"] == fitting
            marks = feedback(guess, random.choice(fitting), "lmrl")
            guesses.append((guess, marks))
            result = episode.step(spell(guess))
            assert result.observation == spell(marks)
            assert result.is_success == (marks == "ggggg")
            if result.is_over:
                break


def test_by_the_newspapers_rules_the_hidden_word_stays() -> None:
    episode = wordle().reset("nyt-000003", 0)
    assert "Hidden: t r i b e" in episode.render()
    assert episode.step("bribe").observation == "b g g g g"
    assert episode.step("eerie").observation == "b b y y g"
    assert "Hidden: t r i b e" in episode.render()
    assert episode.step("t r i b e").is_success


def test_six_tries_without_the_word_are_lost_and_pay_nothing() -> None:
    episode = wordle().reset("nyt-000003", 0)
    results = [episode.step("raise") for _ in range(TRIES)]
    assert [result.is_terminated for result in results] == [False] * 5 + [True]
    assert not any(result.is_success or result.is_truncated or result.reward for result in results)
    after = episode.step("tribe")
    assert (after.observation, after.is_terminated, after.is_success) == (
        results[-1].observation,
        True,
        False,
    )
    assert episode.detail()["tries_left"] == 0


def test_a_word_that_is_not_listed_costs_a_try_and_tells_nothing() -> None:
    episode = wordle().reset("lmrl-000005", 0)
    before = episode.detail()["filtered_vocab"]
    result = episode.step("z z z z z")
    assert (result.observation, result.is_malformed, result.reward) == ("invalid word", False, 0.0)
    assert episode.detail() == {
        "rules": "lmrl",
        "tries_left": 5,
        "guesses": [],
        "filtered_vocab": before,
    }
    assert episode.step("tribe").observation == "invalid word"  # a word of the newspaper's list alone


def test_by_the_newspapers_rules_a_word_that_is_not_listed_costs_no_try() -> None:
    episode = wordle().reset("nyt-000003", 0)
    before = episode.detail()
    result = episode.step("z z z z z")
    assert (result.observation, result.is_malformed, result.reward) == ("Not in word list", False, 0.0)
    assert episode.detail() == before
    assert before["tries_left"] == TRIES


@pytest.mark.parametrize("text", ["z z z z z", "no guess"])
def test_a_game_of_texts_that_cost_no_try_is_cut(text: str) -> None:
    episode = wordle().reset("nyt-000003", 0)
    results = [episode.step(text) for _ in range(MAX_TURNS)]
    assert [result.is_truncated for result in results] == [False] * (MAX_TURNS - 1) + [True]
    assert not any(result.is_terminated or result.is_success for result in results)
    after = episode.step("t r i b e")
    assert (after.is_truncated, after.is_success, after.reward) == (True, False, 0.0)
    assert after.observation == results[-1].observation


def test_the_word_on_the_last_turn_wins() -> None:
    episode = wordle().reset("nyt-000003", 0)
    for _ in range(MAX_TURNS - 1):
        episode.step("zzzzz")
    result = episode.step("tribe")
    assert (result.is_success, result.is_terminated, result.is_truncated) == (True, True, False)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "shir",
        "s h i r e s",
        "guess shire",
        "s-h-i-r-e",
        "s \u212a i r e",
        "x" * 10**6,
        "\ud800",
        "s  h ire " * 50,
    ],
)
def test_what_is_no_five_letters_is_malformed_and_costs_no_try(text: str) -> None:
    episode = wordle().reset("lmrl-000005", 0)
    result = episode.step(text)
    assert result.is_malformed
    assert result.observation.startswith("Not a guess. Write five letters")
    assert episode.detail()["tries_left"] == TRIES


def test_letters_may_stand_apart_or_together_in_either_case() -> None:
    shown = {
        wordle().reset("lmrl-000005", 0).step(text).observation
        for text in ("t r a i n", "train", " T R A I N\n", "Train", "t  r  a  i  n")
    }
    assert shown == {"b y y b b"}


def test_the_expert_finds_every_word_of_the_newspapers_list() -> None:
    environment = wordle()
    tasks = [task for task in listed() if task.kind == "nyt"]
    assert len(tasks) == 2280
    lost = [task.name for task in tasks if not expert_result(environment.reset(task.name, 0)).is_success]
    assert lost == []


def test_the_expert_wins_every_listed_game_of_lmrl() -> None:
    environment = wordle()
    tasks = [task for task in listed() if task.kind == "lmrl"]
    assert len(tasks) == 2200
    assert all(expert_result(environment.reset(task.name, 0)).is_success for task in tasks)


@pytest.mark.parametrize("rules", BOTH)
def test_the_expert_still_wins_nearly_always_after_a_wasted_and_a_random_try(rules: Rules) -> None:
    environment, random = wordle(), Random(7)
    tasks = [task.name for task in environment.tasks("test") if task.kind == rules][:150]
    words = shipped(rules).words
    num_won = 0
    for task in tasks:
        episode = environment.reset(task, 0)
        episode.step("zzzzz")
        is_won = episode.step(random.choice(words)).is_success
        num_won += is_won or expert_result(episode).is_success
    assert num_won >= 0.98 * len(tasks)


def test_with_two_tries_left_the_expert_takes_the_guess_that_can_win_most() -> None:
    lexicon = Lexicon(("batch", "catch", "hatch", "latch", "match", "patch", "blimp", "chimp"), "nyt")
    fitting = np.arange(6)
    # Six words differ in one letter: blimp tells b, l, m and p apart, any of the six only itself.
    assert lexicon.words[Solver(lexicon).guess(fitting, 2)] == "blimp"
    assert Solver(lexicon).guess(fitting, 1) == 0


def test_a_thought_tells_what_the_answers_say() -> None:
    guesses = [("train", "byybb"), ("early", "ygybb")]
    assert thought(guesses, 1) == "Known: _ a _ _ _. Somewhere: e r. Not: i l n t y. One word fits."
    assert thought([], 40) == "Known: _ _ _ _ _. Many words fit."


def test_the_first_observation_lists_the_forty_words_but_not_the_many() -> None:
    few, many = (wordle().reset(name, 0).observation for name in ("lmrl-000000", "nyt-000000"))
    assert ", ".join(map(spell, shipped("lmrl").words)) in few
    assert "The list has 2280 English words. Any of them may be hidden, and no others may be guessed" in many
    assert "answered with invalid word and costs a try" in few
    assert "answered with Not in word list and costs no try" in many


def test_all_words_still_fit_before_the_first_guess() -> None:
    assert tuple(wordle().reset("lmrl-000000", 0).detail()["filtered_vocab"]) == shipped("lmrl").words
    assert len(shipped("lmrl").words) == 40


def test_tasks_of_both_rules_are_mixed_and_no_name_tells_its_word() -> None:
    environment = wordle()
    for split, counts in (("train", (2000, 2052)), ("test", (200, 228))):
        tasks = environment.tasks(checked_split(split))
        kinds = [task.kind for task in tasks]
        assert (kinds.count("lmrl"), kinds.count("nyt")) == counts
        assert 30 <= kinds[:100].count("lmrl") <= 70
        assert not {word for task in tasks for word in task.name.split("-")} & set(shipped("nyt").words)
    assert environment.tasks("unseen") == ()


def test_every_number_of_agentgym_is_a_game_by_lmrls_rules() -> None:
    environment = wordle()
    assert environment.indexed(5) == environment.task("wordle_5") == environment.task("lmrlgym_wordle_5")
    assert environment.indexed(5).name == "lmrl-000005"
    assert environment.task("wordle_123456789").name == "lmrl-123456789"
    assert environment.task("lmrl-0000005").name == "lmrl-000005"
    for number in (-1, 10**18):
        with pytest.raises(ConfigurationError, match="has the tasks 0 to"):
            environment.indexed(number)


def test_agentgyms_own_numbers_are_in_no_listed_split() -> None:
    environment = wordle()
    assert not {task.name for task in listed()} & {environment.indexed(number).name for number in range(980)}
    assert environment.task("lmrl-899999").split == "train"
    assert environment.task("lmrl-900000").split == "test"


def test_agentgyms_own_numbers_are_for_testing() -> None:
    assert {wordle().indexed(number).split for number in (0, 5, 979, 999)} == {"test"}
    assert wordle().task("lmrl-001000").split == "train"


@pytest.mark.parametrize("name", ["nyt-002280", "nyt-3", "lmrl-", "tribe", "wordle_-1", "lmrl-00000\uff15"])
def test_other_names_are_no_tasks(name: str) -> None:
    with pytest.raises(ConfigurationError, match="no such task; one is 'lmrl-000123'"):
        wordle().reset(name, 0)
