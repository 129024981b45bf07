"""The words: 2,280 common ones derived from SCOWL, 40 of them for AgentGym's game, or a person's own file."""

import re
from functools import cache
from pathlib import Path
from typing import Final

from common.errors import ConfigurationError, PreflightError
from envhub.envs.wordle.engine import Lexicon, Rules
from envhub.task import rank

MAX_WORDS: Final = 5000
"""Of a person's file of words that may be hidden: the expert keeps a table of every pair, 25 MB at most."""
MAX_ALLOWED: Final = 20_000
"""Of a person's file of words that may be guessed beside them."""

_WORD = re.compile(r"[a-z](?: ?[a-z]){4}")
_SHIPPED: Final = {"lmrl": "game_words.txt", "nyt": "words.txt"}


@cache
def shipped(rules: Rules) -> Lexicon:
    """Pronghorn's own words for these rules."""
    return Lexicon(read_words(Path(__file__).with_name(_SHIPPED[rules])), rules)


@cache
def imported(file: Path, rules: Rules, guesses: Path | None = None) -> Lexicon:
    """A person's words for these rules, in the order of the file; `guesses` may be guessed too, by `nyt`."""
    allowed = read_words(guesses, MAX_ALLOWED) if guesses and rules == "nyt" else ()
    words = read_words(file)
    return Lexicon(words, rules, frozenset(allowed) - frozenset(words))


def read_words(file: Path, most: int = MAX_WORDS) -> tuple[str, ...]:
    """One word a line, `shire` or `s h i r e`; empty lines are passed over.

    PreflightError when there is no such file. ConfigurationError, with the line, for what is no word of five
    letters from a to z or has come before; and for fewer than 2 or more than `most` words.
    """
    if not file.is_file():
        raise PreflightError(
            f"words {file}: there is no such file; give one with a word of five letters a line"
        )
    found: dict[str, int] = {}
    for number, line in enumerate(file.read_text(encoding="utf-8", errors="replace").splitlines(), start=1):
        text = line.strip().lower()
        word = text.replace(" ", "")
        if text and _WORD.fullmatch(text) is None:
            raise ConfigurationError(
                f"words, line {number}: {text[:60]!r}: allowed is one word of five letters from a to z"
            )
        if word in found:
            raise ConfigurationError(
                f"words, line {number}: {word!r} stands on line {found[word]} too; allowed once"
            )
        if word:
            found[word] = number
    if not 2 <= len(found) <= most:
        raise ConfigurationError(
            f"words {file.name}: {len(found)} words; allowed are 2 to {most} "
            f"({MAX_WORDS} that may be hidden; wordle_words:ANSWERS,GUESSES takes {MAX_ALLOWED} guesses more)"
        )
    return tuple(found)


def by_hash(words: tuple[str, ...]) -> tuple[int, ...]:
    """The indices of the words in a frozen order that tells nothing about them."""
    return tuple(sorted(range(len(words)), key=lambda index: rank("wordle:nyt", words[index])))
