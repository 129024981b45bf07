"""System prompts: an environment's rules, its actions, and how an answer is written in every format."""

from common.action_format import CALL_FORMATS, checked
from envhub.functions import Functions

ANSWER = {
    "plain": "Write the action alone, on one line.",
    "react": "Write your reasoning and one action:\nThought: your reasoning\nAction: your action",
    "function_calling": (
        "Write your reasoning and one function call as one JSON object and nothing else:\n"
        '{"thought": "your reasoning", "function_name": "name", "arguments": {"parameter": "value"}}'
    ),
    "code_as_action": (
        "Write one block of code with your reasoning as a comment and one function call:\n"
        "```python\n# your reasoning\nname(parameter=value)\n```"
    ),
}


def instructions(rules: str, functions: Functions, action_format: str) -> str:
    """The rules, the actions in the format's own notation, and the form of an answer.

    ConfigurationError for an unknown format.
    """
    answer = ANSWER[checked(action_format)]
    if action_format not in CALL_FORMATS:
        actions = f"Every turn you write one action:\n{functions.grammar}"
    elif action_format == "function_calling":
        actions = f"Every turn you call one function:\n{functions.schemas}"
    else:
        actions = f"Every turn you call one function:\n{functions.signatures}"
    return f"{rules}\n{actions}\n{answer}"
