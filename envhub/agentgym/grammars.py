"""What a policy is told about the environments of AgentGym's servers: rules and actions."""

from typing import Final

from envhub.envs.babyai.text import FUNCTIONS as BABYAI
from envhub.envs.maze.texts import FUNCTIONS as MAZE
from envhub.envs.maze.texts import RULES as MAZE_RULES
from envhub.envs.textcraft.texts import FUNCTIONS as TEXTCRAFT
from envhub.functions import Function, Functions, Parameter

__all__ = ["BABYAI", "MAZE", "MAZE_RULES", "TEXTCRAFT"]


def _word(name: str, description: str = "") -> Parameter:
    return Parameter(name, "string", description)


_THING = _word("object", "a thing with its number, such as mug 1")
_PLACE = _word("place", "a place with its number, such as cabinet 2")
_NUMBER = Parameter("number", "integer", "its number")
_OBJECT = _word("object", "the name of a thing in sight")

TEXTCRAFT_RULES: Final = """You are given crafting commands and a goal. Craft the goal item.
What no command crafts is fetched; what a command crafts needs exactly the pieces that it names.
A command may name a kind of item such as planks: use one item of that kind, such as oak planks."""

ALFWORLD_RULES: Final = """You are in a room of a house and are given a household task in words.
You see only what is where you are, and what is in open places. You can hold one thing.
A lamp is switched on where it stands; heat, cool and clean what you hold at the right place."""
ALFWORLD: Final = Functions(
    Function("goto", "go to {place}", "walk to a place", (_PLACE,)),
    Function("take", "take {object} from {place}", "pick up a thing", (_THING, _PLACE)),
    Function("put", "put {object} in/on {place}", "put down what you hold", (_THING, _PLACE)),
    Function("move", "move {object} to {place}", "the same, as newer servers have it", (_THING, _PLACE)),
    Function("open", "open {place}", "open a place", (_PLACE,)),
    Function("close", "close {place}", "close a place", (_PLACE,)),
    Function("toggle", "toggle {object}", "switch a thing on or off", (_THING,)),
    Function("heat", "heat {object} with {place}", "warm what you hold", (_THING, _PLACE)),
    Function("cool", "cool {object} with {place}", "cool what you hold", (_THING, _PLACE)),
    Function("clean", "clean {object} with {place}", "wash what you hold", (_THING, _PLACE)),
    Function(
        "slice", "slice {object} with {place}", "cut a thing with a knife that you hold", (_THING, _PLACE)
    ),
    Function("examine", "examine {object}", "look closely at a thing or a place", (_THING,)),
    Function("use", "use {object}", "switch on a lamp", (_THING,)),
    Function("inventory", "inventory", "see what you hold"),
    Function("look", "look", "see where you are"),
    Function("help", "help", "list the commands"),
)

BABYAI_RULES: Final = """You are in a building of square rooms and are given a goal in words.
You see a part of the room ahead of you. Things have a color, a type and a number. You can carry one thing.
The fewer moves, the higher the reward."""

SCIWORLD_RULES: Final = """You are in a house with a laboratory and are given a task of school science.
Focus only on what the task tells you to: a wrong focus ends it. A question about what you mean is answered
with the number of the meaning."""
SCIWORLD: Final = Functions(
    Function("open", "open {object}", "open a thing or a door", (_OBJECT,)),
    Function("close", "close {object}", "close it", (_OBJECT,)),
    Function("activate", "activate {object}", "switch a device on", (_OBJECT,)),
    Function("deactivate", "deactivate {object}", "switch a device off", (_OBJECT,)),
    Function(
        "connect", "connect {object} to {other}", "connect parts of a circuit", (_OBJECT, _word("other"))
    ),
    Function("disconnect", "disconnect {object}", "take it out of the circuit", (_OBJECT,)),
    Function(
        "use_on", "use {object} on {other}", "use a device or a tool on a thing", (_OBJECT, _word("other"))
    ),
    Function("use", "use {object}", "use a device or a tool", (_OBJECT,)),
    Function("look_at", "look at {object}", "describe a thing", (_OBJECT,)),
    Function("look_in", "look in {object}", "see what is in a thing", (_OBJECT,)),
    Function("look_around", "look around", "describe the room"),
    Function("read", "read {object}", "read a note or a book", (_OBJECT,)),
    Function("move", "move {object} to {other}", "put a thing into another", (_OBJECT, _word("other"))),
    Function("pick_up", "pick up {object}", "put a thing into your inventory", (_OBJECT,)),
    Function("put_down", "put down {object}", "take it out again", (_OBJECT,)),
    Function("pour", "pour {object} in {other}", "pour a liquid into a thing", (_OBJECT, _word("other"))),
    Function("dunk", "dunk {object} in {other}", "dip a thing into a liquid", (_OBJECT, _word("other"))),
    Function("mix", "mix {object}", "let what is in a container react", (_OBJECT,)),
    Function("eat", "eat {object}", "eat a thing", (_OBJECT,)),
    Function("flush", "flush {object}", "flush a toilet", (_OBJECT,)),
    Function("go_to", "go to {place}", "walk to the next room", (_word("place"),)),
    Function(
        "teleport", "teleport to {place}", "be in a room at once, where the task allows it", (_word("place"),)
    ),
    Function("focus", "focus on {object}", "tell that this is what the task is about", (_OBJECT,)),
    Function("wait_once", "wait1", "let one step pass"),
    Function("wait", "wait", "let ten steps pass"),
    Function("inventory", "inventory", "list what you carry"),
    Function("task", "task", "repeat the task"),
    Function("reset_task", "reset task", "begin the task again"),
    Function("choose", "{number}", "answer what you mean", (_NUMBER,)),
)

WORDLE_RULES: Final = """Find a hidden word of five letters in six tries.
Each letter of a guess is answered: g at the right place, y elsewhere in the word, b not in the word.
A word that is not in the list costs a try too."""
WORDLE: Final = Functions(
    Function("guess", "{word}", "guess a word", (_word("word", "letters with spaces, such as s h i r e"),))
)

WEBSHOP_RULES: Final = """You are in a web shop and are told what to buy.
Search for it, open a product that fits, choose its options, and buy it: buying ends the task."""
WEBSHOP: Final = Functions(
    Function("search", "search[{keywords}]", "search for products", (_word("keywords"),)),
    Function("click", "click[{item}]", "click a button, a product or an option", (_word("item"),)),
)

SQLGYM_RULES: Final = """You are told about a database and asked a question.
Answer it with one SQL statement on one line; there is one try."""
SQLGYM: Final = Functions(Function("query", "{sql}", "the statement", (_word("sql"),)))

SEARCHQA_RULES: Final = "You are asked a question. Search for passages as often as you need, then answer."
SEARCHQA: Final = Functions(
    Function("search", "<search>{query}</search>", "search for passages", (_word("query"),)),
    Function("answer", "<answer>{answer}</answer>", "answer the question in a few words", (_word("answer"),)),
)

_ELEMENT = Parameter("element", "integer", "the number of an element of the page")
WEBARENA_RULES: Final = """You use web pages to do what the objective says.
The page is told as a tree of elements with numbers. The task ends when you stop with an answer."""
WEBARENA: Final = Functions(
    Function("click", "click [{element}]", "click an element", (_ELEMENT,)),
    Function(
        "type",
        "type [{element}] [{content}] [{enter}]",
        "write into a field, and press Enter if the last is 1",
        (_ELEMENT, _word("content"), Parameter("enter", "integer", "0 or 1")),
    ),
    Function("hover", "hover [{element}]", "point at an element", (_ELEMENT,)),
    Function("press", "press [{keys}]", "press keys together", (_word("keys", "such as ctrl+v"),)),
    Function("scroll", "scroll [{direction}]", "scroll the page", (_word("direction", "down or up"),)),
    Function("new_tab", "new_tab", "open an empty tab"),
    Function("tab_focus", "tab_focus [{tab}]", "go to a tab", (Parameter("tab", "integer", "its number"),)),
    Function("close_tab", "close_tab", "close this tab"),
    Function("goto", "goto [{url}]", "open an address", (_word("url"),)),
    Function("go_back", "go_back", "to the page before"),
    Function("go_forward", "go_forward", "to the page after"),
    Function("stop", "stop [{answer}]", "end with an answer, which may be N/A", (_word("answer"),)),
)

_TOOLS: Final = {
    "weather": "answer a question about weather and places with tools for dates, places, weather and air",
    "movie": "answer a question about films and people with tools that look them up",
    "academia": "answer a question about papers and their authors with tools that walk two graphs",
    "sheet": "change a table as you are told with tools that read and write cells",
    "todo": "do what you are told with tools for projects and tasks of a to-do list",
}
TOOL: Final = Functions(
    Function(
        "use_tool",
        "{tool} with Action Input: {arguments}",
        "use a tool; check_valid_actions lists them, finish ends with an answer",
        (
            _word("tool", "its name, such as check_valid_actions or finish"),
            _word("arguments", "a Python dictionary on one line, such as {'answer': 12}"),
        ),
    )
)


def tool_rules(name: str) -> str:
    """The rules of a world of tools."""
    return f"You {_TOOLS[name]}.\nWhat a tool answers comes with the next turn."


UNKNOWN_RULES: Final = "You act in a world of text. What you can do is told there."
UNKNOWN: Final = Functions(Function("act", "{action}", "do it", (_word("action", "one line of text"),)))
