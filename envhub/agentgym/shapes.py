"""Replies that no list of fields describes."""

import base64
from typing import Any

from envhub.agentgym.view import View

_SHOWN = 10
"""So many hints does SciWorld's `/state` list."""


def actions(view: View) -> list[str]:
    """The hints."""
    return list(view.actions)


def facts(view: View) -> dict[str, Any]:
    """What the environment tells about its state, and where the episode stands."""
    standing = {name: getattr(view, name) for name in ("observation", "reward", "score", "done", "deleted")}
    return {**view.detail, **standing}


def ids(view: View) -> list[int]:
    """The caller's own ids; nobody's where callers are not told apart."""
    return list(view.ids)


def goal(view: View) -> str:
    """TextCraft's goal: the line of the first observation that names it."""
    lines = [line for line in view.opening.splitlines() if line.startswith("Goal:")]
    return lines[0].removeprefix("Goal:").strip() if lines else view.error


def commands(view: View) -> str:
    """TextCraft's commands: the first observation up to its goal."""
    return view.opening.partition("\n\nGoal:")[0]


def drawn(view: View) -> Any:
    """BabyAI's picture as browsers read it in place of an address; an object with the reason for none."""
    if view.error or not view.picture:
        return {"error": view.error or "this environment draws no pictures"}
    return "data:image/png;base64," + base64.b64encode(view.picture).decode()


def words(view: View) -> list[str]:
    """Wordle's words that are still open: told by the environment, or its hints without their spaces."""
    told = view.told("filtered_vocab", None)
    return list(told) if told is not None else ["".join(action.split()) for action in view.actions]


def household(view: View) -> dict[str, Any]:
    """ALFWorld's reset; the type is `type/trial`."""
    task_type = view.told("task_type") or f"{view.kind}/{view.task}"
    return {
        "id": view.id,
        "observation": view.observation,
        "available_actions": actions(view),
        "task_type": task_type,
    }


def household_step(view: View) -> dict[str, Any]:
    """ALFWorld's step."""
    return {
        "observation": view.observation,
        "reward": view.reward,
        "available_actions": actions(view),
        "done": view.done,
    }


def task_description(view: View) -> str:
    """SciWorld's task: told by the environment, or the first of several lines of the first observation."""
    first, line_break, _ = view.opening.partition("\n")
    return str(view.told("task_description") or (first if line_break else view.error))


def hints(view: View) -> dict[str, Any]:
    """SciWorld's actions and objects."""
    return {
        "possible_actions": view.told("possible_actions", actions(view)),
        "possible_objects": view.told("possible_objects", []),
    }


def goals(view: View) -> dict[str, Any]:
    """SciWorld's goals."""
    return {"goals": view.told("goals", [])}


def object_tree(view: View) -> Any:
    """SciWorld's world as a tree."""
    return view.told("object_tree", {})


def science_facts(view: View) -> dict[str, Any]:
    """SciWorld's reset; its clients put the description in front of the first look around themselves."""
    description = task_description(view)
    return {
        "task_name": view.told("task_name", view.kind),
        "var_num": view.told("variation", 0),
        "task_description": description,
        "observation": view.observation.removeprefix(description).lstrip("\n") or view.observation,
        "reward": view.reward,
        "score": view.score,
        "deleted": view.deleted,
        "done": view.done,
    }


def science_step(view: View) -> dict[str, Any]:
    """SciWorld's step as its pictures need it."""
    return {
        "observation": view.observation,
        "reward": view.reward,
        "score": view.score,
        "done": view.done,
        "info": {"score": view.score, "moves": view.moves},
        "object_tree": object_tree(view),
        "inventory": view.told("inventory"),
        "moves": view.moves,
    }


def science_state(view: View) -> dict[str, Any]:
    """Everything that SciWorld's page shows."""
    return {
        "observation": view.observation,
        "inventory": view.told("inventory"),
        "task_description": task_description(view),
        "goal_progress": view.told("goals"),
        **{name: shown[:_SHOWN] for name, shown in hints(view).items()},
        "current_moves": view.moves,
        "environment_info": {"task_name": view.told("task_name", view.kind), "score": view.score},
    }


def first_and_null(view: View) -> list[Any]:
    """WebShop's and SQLGym's reset: the observation in an array of two."""
    return [view.observation, {"error": view.error} if view.error else None]


def state_step(view: View) -> dict[str, Any]:
    """WebShop's and SQLGym's step; SQLGym's `info` has the answer in the original, and nothing here."""
    return {"state": view.observation, "reward": view.reward, "done": view.done, "info": None}


def shop_actions(view: View) -> dict[str, Any]:
    """WebShop's: whether there is a search bar, and what can be clicked."""
    clicks = [action for action in view.actions if not action.startswith("search[")]
    return {
        "has_search_bar": len(clicks) < len(view.actions),
        "clickables": [click.removeprefix("click[").removesuffix("]") for click in clicks],
    }


def instruction(view: View) -> str:
    """WebShop's task."""
    return str(view.told("instruction_text", view.opening))


def page(view: View) -> dict[str, Any]:
    """WebShop's page."""
    return {
        "url": view.told("url"),
        "html": view.told("html", view.observation),
        "instruction_text": instruction(view),
    }


def question_step(view: View) -> dict[str, Any]:
    """SearchQA's step."""
    return {"observation": view.observation, "reward": view.reward, "done": view.done, "info": None}


def site(view: View) -> dict[str, Any]:
    """WebArena's reset."""
    return {
        "observation": view.observation,
        "sites": view.told("sites", []),
        "object": view.told("object", view.task),
    }


def site_step(view: View) -> dict[str, Any]:
    """WebArena's step; its clients end with `terminated` alone, so running out of turns says that too."""
    return {
        "observation": view.observation,
        "reward": view.reward,
        "terminated": view.done,
        "truncated": view.truncated,
        "info": {},
    }


def site_closed(view: View) -> dict[str, str]:
    """WebArena's close."""
    return {"closed": "closed" if view.is_closed else "there was no such session"}
