"""Wordle's words: those that are shipped, and a person's own."""

import hashlib
from pathlib import Path

import pytest

from common.errors import ConfigurationError, PreflightError
from envhub import registry
from envhub.envs.wordle.environment import Wordle
from envhub.envs.wordle.lists import MAX_ALLOWED, MAX_WORDS, by_hash, read_words, shipped

FOLDER = Path(registry.__file__).parent / "envs" / "wordle"


def wordle() -> Wordle:
    found = registry.environment("wordle")
    assert isinstance(found, Wordle)
    return found


def test_the_words_and_their_frozen_order_never_change() -> None:
    words = shipped("nyt").words
    assert list(words) == sorted(set(words))
    assert set(shipped("lmrl").words) < set(words)
    order = "\n".join((*shipped("lmrl").words, *(words[index] for index in by_hash(words))))
    assert (
        hashlib.sha256(order.encode()).hexdigest()
        == "e3062f45505b2daceec7b8248f60f0e49b2f64495aec6835cdd817bbc37bb4a5"
    )


def test_the_notice_that_the_words_come_with_is_beside_them() -> None:
    notice = (FOLDER / "words_notice.txt").read_text(encoding="utf-8")
    assert "Copyright 2000-2011 by Kevin Atkinson" in notice
    assert "WordNet 1.6 Copyright 1997 by Princeton University" in notice


def test_a_persons_words_are_an_environment_for_both_rules(tmp_path: Path) -> None:
    file = tmp_path / "own.txt"
    file.write_text("shire\nS T O N E\n\nbribe\ntribe\n")
    environment = registry.environment(f"wordle_words:{file}")
    assert isinstance(environment, Wordle)
    assert environment.name == f"wordle_words:{file}"
    told = environment.reset("lmrl-000000", 0).detail()["filtered_vocab"]
    assert told == ["shire", "stone", "bribe", "tribe"]
    assert {environment.task(f"nyt-{number:06d}").kind for number in range(4)} == {"nyt"}
    for name in ("nyt-000000", "nyt-000001", "nyt-000002", "nyt-000003", "lmrl-000000", "wordle_77"):
        episode = environment.reset(name, 0)
        while not (result := episode.step(episode.expert().action)).is_over:
            pass
        assert result.is_success
    said = environment.reset("lmrl-000000", 0).observation
    assert said.endswith("s h i r e, s t o n e, b r i b e, t r i b e.")


def test_more_words_may_be_guessed_than_are_hidden_by_the_newspapers_rules(tmp_path: Path) -> None:
    alphabet = "abcdefghijklmnopqrstuvwxyz"
    many = [f"qz{a}{b}{c}" for a in alphabet for b in alphabet for c in alphabet][:15_000]
    (tmp_path / "answers.txt").write_text("shire\nstone\nbribe\ntribe\n")
    (tmp_path / "guesses.txt").write_text("\n".join(["tribe", *many, "rebut"]))
    environment = registry.environment(f"wordle_words:{tmp_path}/answers.txt,{tmp_path}/guesses.txt")
    assert isinstance(environment, Wordle)
    hidden = {}
    for number in range(4):
        episode = environment.reset(f"nyt-{number:06d}", 0)
        assert "Any of them may be hidden, and 15001 more may be guessed." in episode.observation
        hidden[episode.render().partition("Hidden: ")[2][:9].replace(" ", "")] = episode
    assert set(hidden) == {"shire", "stone", "bribe", "tribe"}
    assert hidden["tribe"].step("rebut").observation == "y y y b y"
    assert hidden["tribe"].detail()["filtered_vocab"] == ["tribe"]
    assert hidden["tribe"].detail()["tries_left"] == 5
    assert hidden["stone"].step("qzaaa").observation == "b b b b b"
    assert hidden["stone"].step("zzzzz").observation == "Not in word list"
    assert environment.reset("lmrl-000000", 0).step("rebut").observation == "invalid word"


def test_so_many_guesses_may_be_named() -> None:
    assert MAX_ALLOWED >= 15_000


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("shire\nhouses\n", "line 2: 'houses': allowed is one word of five letters from a to z"),
        ("shire\n\nsto ne\nna\u00efve\n", "line 4: 'na\u00efve'"),
        ("shire\nstone\ns h i r e\n", "line 3: 'shire' stands on line 1 too"),
        ("shire\n", f"1 words; allowed are 2 to {MAX_WORDS}"),
    ],
)
def test_a_bad_line_of_a_file_of_words_is_named(tmp_path: Path, text: str, complaint: str) -> None:
    file = tmp_path / "own.txt"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigurationError, match=complaint):
        read_words(file)


def test_a_file_of_words_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(PreflightError, match=r"own\.txt: there is no such file"):
        Wordle(str(tmp_path / "own.txt"))
