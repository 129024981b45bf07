"""Promises about texts: prompts in every format, actions that survive all of them, and a vocabulary."""

import re
from collections import Counter

from common.action_format import ACTION_FORMATS, CALL_FORMATS, parse, render
from common.calls import read
from common.errors import ConfigurationError
from envhub.contract.subject import Subject
from envhub.environment import words

MAX_ACTIONS = 3000
"""Different actions that are written in every format."""


def instructions_exist_in_every_format_and_no_other(subject: Subject) -> None:
    """A prompt may be empty; in the call formats it names every function."""
    for action_format in ACTION_FORMATS:
        prompt = subject.environment.instructions(action_format)
        missing = [f.name for f in subject.environment.functions if f.name not in prompt]
        if action_format in CALL_FORMATS:
            subject.require(not missing, f"the {action_format} prompt does not name {missing}")
    refusal = ""
    try:
        subject.environment.instructions("xml")
    except ConfigurationError as error:
        refusal = str(error)
    subject.require("allowed are plain, react" in refusal, "there are instructions for the format xml")


def functions_are_well_formed(subject: Subject) -> None:
    """Python names, none twice; a template names each parameter once; each is described in a line."""
    functions = subject.environment.functions
    subject.require(len({f.name for f in functions}) == len(functions) > 0, "function names are not unique")
    for function in functions:
        places = re.findall(r"\{(\w+)\}", function.template)
        parameters = [parameter.name for parameter in function.parameters]
        subject.require(sorted(places) == sorted(parameters), f"{function.template!r} takes {parameters}")
        subject.require(
            all(name.isidentifier() for name in (function.name, *parameters)),
            f"{function.signature} is not Python",
        )
        subject.require(len(function.description.splitlines()) == 1, f"{function.name} is not described")


def actions_survive_every_format(subject: Subject) -> None:
    """Every action of the expert and of the hints is read back from what is written, in all formats."""
    thoughts: dict[str, str] = {}
    for played in subject.plays:
        for turn in played.turns:
            thoughts |= dict.fromkeys((hint for hint in turn.hints if hint not in thoughts), "")
            if subject.environment.has_expert:
                thoughts[turn.move.action] = turn.move.thought
    for action, thought in list(thoughts.items())[:MAX_ACTIONS]:
        for action_format in ACTION_FORMATS:
            meant = _read_back(subject, action, action_format, thought)
            subject.require(meant == action, f"{action!r} in {action_format} is read as {meant!r}")


def _read_back(subject: Subject, action: str, action_format: str, thought: str) -> str | None:
    functions = subject.environment.functions
    try:
        written = functions.call(action).text if action_format in CALL_FORMATS else action
        parsed = parse(render(written, action_format, thought), action_format)
        call = read(parsed or "") if action_format in CALL_FORMATS else None
        return functions.action(call) if call else parsed
    except ValueError as mistake:
        return f"nothing: {mistake}"


def the_vocabulary_has_what_is_said(subject: Subject) -> None:
    """Sorted, without doubles, with every word of the prompts and (nearly) all words of the plays."""
    vocabulary = subject.environment.vocabulary()
    known = set(vocabulary)
    subject.require(list(vocabulary) == sorted(known), "the vocabulary is not sorted or has doubles")
    prompts = {word for f in ACTION_FORMATS for word in words(subject.environment.instructions(f))}
    subject.require(prompts <= known, f"the vocabulary lacks the prompt's {sorted(prompts - known)[:5]}")
    said: Counter[str] = Counter()
    for played in subject.plays:
        said.update(words(played.opening))
        for turn in played.turns:
            said.update(words(turn.result.observation))
            if subject.environment.has_expert:
                said.update(words(render(turn.move.action, "react", turn.move.thought)))
    unknown = {word: count for word, count in said.items() if word not in known}
    share = 1 - sum(unknown.values()) / max(1, said.total())
    subject.require(
        share >= subject.covered,
        f"the vocabulary has {share:.4f} of what is said, less than {subject.covered}; "
        f"it lacks {sorted(unknown, key=lambda word: -unknown[word])[:10]}",
    )
