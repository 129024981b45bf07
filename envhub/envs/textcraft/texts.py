"""What the crafting environments say beside the recipes, and the words that it takes."""

from collections.abc import Iterable

from common.action_format import ACTION_FORMATS, checked, malformed_reply
from envhub.environment import words

RULES = """You are given a few crafting commands and a goal. Craft the goal item.
Every turn you write one action:
get N item: fetch N pieces of an item that no command crafts.
craft N item using N1 item1, N2 item2: craft with pieces you hold, exactly as a command says.
inventory: show what you hold.
A command may name a kind of item such as planks: use one item of that kind, such as oak planks."""

SHORT_RULES = "Craft the goal. Actions: get N item, craft N item using N item, inventory."

_ANSWER = {
    "plain": "Write the action alone, on one line.",
    "react": "Write your reasoning and one action:\nThought: your reasoning\nAction: your action",
}

# Every sentence that the engine, the episode and the expert fill in, without what they fill in.
_TEMPLATES = """Crafting commands:
craft using , Goal: craft .
get inventory Inventory: [] () You are not carrying anything.
Got Crafted Could not find Could not find enough items to craft Could not find a valid recipe for
Could not execute I need . I can craft . Thought: Action:"""


def instructions(rules: str, action_format: str) -> str:
    """The rules, and how to write an action."""
    return f"{rules}\n{_ANSWER[checked(action_format)]}"


def vocabulary(names: Iterable[str], rules: str, max_number: int) -> tuple[str, ...]:
    """Sorted words of every text around items of these `names`, and the numbers up to `max_number`."""
    found = set(words(_TEMPLATES)) | {str(number) for number in range(max_number + 1)}
    for action_format in ACTION_FORMATS:
        found.update(words(instructions(rules, action_format)))
        found.update(words(malformed_reply(action_format)))
    for name in names:
        found.update(words(name))
    # A refused action is repeated in lower case.
    found.update(word.lower() for word in tuple(found))
    return tuple(sorted(found))
