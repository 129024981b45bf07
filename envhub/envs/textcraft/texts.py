"""What the crafting environments say beside the recipes, and the words that it takes."""

from collections.abc import Iterable

from common.action_format import CALL_FORMATS, checked
from envhub.environment import Environment, prompt_words
from envhub.functions import Function, Functions, Parameter
from envhub.instructions import ANSWER
from envhub.instructions import instructions as call_instructions

RULES = """You are given a few crafting commands and a goal. Craft the goal item.
Every turn you write one action:
get N item: fetch N pieces of an item that no command crafts.
craft N item using N1 item1, N2 item2: craft with pieces you hold, exactly as a command says.
inventory: show what you hold.
A command may name a kind of item such as planks: use one item of that kind, such as oak planks."""

SHORT_RULES = "Craft the goal. Actions: get N item, craft N item using N item, inventory."

FUNCTIONS = Functions(
    Function(
        "get",
        "get {count} {item}",
        "fetch pieces of an item that no command crafts",
        (Parameter("count", "integer", "how many pieces"), Parameter("item", "string", "the item's name")),
    ),
    Function(
        "craft",
        "craft {count} {item} using {ingredients}",
        "craft with pieces you hold, exactly as a command says",
        (
            Parameter("count", "integer", "how many pieces the command makes"),
            Parameter("item", "string", "what is crafted"),
            Parameter("ingredients", "string", "such as 2 oak planks, 1 stick"),
        ),
    ),
    Function("inventory", "inventory", "show what you hold"),
)
_CALL_RULES = """You are given a few crafting commands and a goal. Craft the goal item.
A command may name a kind of item such as planks: use one item of that kind, such as oak planks."""

TEMPLATES = """Crafting commands:
craft using , Goal: craft .
get inventory Inventory: [] () You are not carrying anything.
Got Crafted Could not find Could not find enough items to craft Could not find a valid recipe for
Could not execute I need . I can craft ."""
"""Every sentence that the engine, the episode and the expert fill in, without what they fill in."""


def instructions(rules: str, action_format: str) -> str:
    """The rules, and how to write an action; calls are explained by what the functions say of themselves."""
    if checked(action_format) in CALL_FORMATS:
        return call_instructions(_CALL_RULES, FUNCTIONS, action_format)
    return f"{rules}\n{ANSWER[action_format]}"


def vocabulary(environment: Environment, names: Iterable[str], max_number: int) -> tuple[str, ...]:
    """Sorted words of every text around items of these `names`, and the numbers up to `max_number`."""
    found = prompt_words(environment, [TEMPLATES, *names])
    found.update(str(number) for number in range(max_number + 1))
    # A refused action is repeated in lower case.
    found.update(word.lower() for word in tuple(found))
    return tuple(sorted(found))
