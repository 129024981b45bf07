"""What Wordle says: rules, first observations, refusals, and the expert's thoughts."""

from typing import Final

from envhub.envs.wordle.engine import LETTERS, TRIES, Lexicon
from envhub.functions import Function, Functions, Parameter

MAX_TURNS: Final = 30
"""Texts of any sort: what costs no try could go on for ever."""
RULES: Final = f"""Find a hidden word of five letters in {TRIES} tries.
The answer to a guess marks its five letters in order.
g: the hidden word has this letter at this place.
y: the hidden word has this letter at another place.
b: neither of them.
What happens to a guess that is not in the list of words is told at the beginning.
After {MAX_TURNS} texts, guesses or not, the game is over."""

FUNCTIONS: Final = Functions(
    Function(
        "guess",
        "{word}",
        "guess a word of the list, its letters with spaces between",
        (Parameter("word", "string", "five letters such as s h i r e"),),
    )
)
INVALID: Final = "invalid word"
"""By the rules `lmrl`; costs a try."""
UNLISTED: Final = "Not in word list"
"""By the newspaper's; costs none."""
REFUSAL: Final = "Not a guess. Write five letters with spaces between, such as s h i r e"

MAX_LISTED: Final = 100
"""Lists of so many words are shown in the first observation."""

_OPENING: Final[dict[str, str]] = {
    "lmrl": "A letter is marked y whenever the hidden word has it elsewhere, however often you write it. "
    f"A guess that is not in the list is answered with {INVALID} and costs a try too.",
    "nyt": "A letter that you write twice is marked g or y twice only if the hidden word has it twice. "
    f"A guess that is not in the list is answered with {UNLISTED} and costs no try.",
}
_LEFT: Final = {1: "One word fits.", 2: "Two words fit."}
_FEW: Final = 10


def spell(word: str) -> str:
    """`shire` as it is written in the game, `s h i r e`."""
    return " ".join(word)


def opening(lexicon: Lexicon) -> str:
    """The first observation: the rules that hold, and the words or their number."""
    words = lexicon.words
    shown = (
        f"The words of the list: {', '.join(map(spell, words))}."
        if len(words) <= MAX_LISTED
        else f"The list has {len(words)} English words."
    )
    if lexicon.rules == "nyt":
        shown += f" {_more(len(lexicon.allowed))}"
    return f"Let's start Wordle! {_OPENING[lexicon.rules]}\n{shown}"


def _more(num_allowed: int) -> str:
    """What may be guessed beside the words that may be hidden: the newspaper takes thousands of words."""
    if num_allowed:
        return f"Any of them may be hidden, and {num_allowed} more may be guessed."
    return "Any of them may be hidden, and no others may be guessed, unlike in the newspaper."


def thought(guesses: list[tuple[str, str]], num_fitting: int) -> str:
    """What the answers say so far, and how many words are left."""
    known = ["_"] * LETTERS
    for guess, marks in guesses:
        for place, mark in enumerate(marks):
            if mark == "g":
                known[place] = guess[place]
    marked = [(letter, mark) for guess, marks in guesses for letter, mark in zip(guess, marks, strict=True)]
    somewhere = {letter for letter, mark in marked if mark == "y"} - set(known)
    absent = {letter for letter, _ in marked} - {letter for letter, mark in marked if mark != "b"}
    parts = [f"Known: {' '.join(known)}."]
    if somewhere:
        parts.append(f"Somewhere: {' '.join(sorted(somewhere))}.")
    if absent:
        parts.append(f"Not: {' '.join(sorted(absent))}.")
    few = "A few words fit." if num_fitting <= _FEW else "Many words fit."
    return " ".join([*parts, _LEFT.get(num_fitting, few)])


THOUGHTS: Final = (
    "Known: _ . Somewhere: . Not: . One word fits. Two words fit. A few words fit. Many words fit."
)
"""The words of every thought but the letters."""
