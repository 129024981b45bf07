"""What BabyAI shows and understands, on windows drawn by hand."""

import pytest

from envhub.envs.babyai import text
from envhub.envs.babyai.macros import DROP, FORWARD, LEFT, PICKUP, RIGHT, TOGGLE, WAIT, possible
from envhub.envs.babyai.view import COLORS, DOOR_STATES, TYPES, View

_CODES = {
    ".": (1, 0, 0),
    "?": (0, 0, 0),
    "#": (2, 5, 0),
    "b": (6, 0, 0),
    "B": (7, 1, 0),
    "k": (5, 2, 0),
    "o": (4, 4, 0),
    "c": (4, 4, 1),
    "l": (4, 2, 2),
    "g": (8, 1, 0),
}
ROOM = ["???????"] * 3 + ["#######", "#.....#", "#.....#", "#.....#"]


def view(rows: list[str], carried: tuple[str, str] | None = None, *, has_full_box: bool = False) -> View:
    image = [[_CODES[rows[row][column]] for row in range(7)] for column in range(7)]
    return View(image, carried, has_full_box)


def room(**cells: str) -> list[str]:
    """The room with things at `x<column>y<row>`."""
    rows = [list(row) for row in ROOM]
    for place, sign in cells.items():
        rows[int(place[3])][int(place[1])] = sign
    return ["".join(row) for row in rows]


def test_codes_are_the_package_s() -> None:
    constants = pytest.importorskip("minigrid.core.constants")
    assert {name: index for index, name in enumerate(TYPES)} == constants.OBJECT_TO_IDX
    assert {name: index for index, name in enumerate(COLORS)} == constants.COLOR_TO_IDX
    assert {name: index for index, name in enumerate(DOOR_STATES)} == constants.STATE_TO_IDX


def test_an_observation_has_agentgym_s_form() -> None:
    shown = text.describe(view(room(x3y4="b", x1y5="b", x5y3="c"), ("yellow", "ball")))
    assert shown == (
        "In front of you in this room, you can see several objects: "
        "There is a red ball 1 right in front of you 2 steps away.  "
        "There is a red ball 2 1 steps in front of you and 2 steps to your left.  "
        "There is a yellow closed door 1 3 steps in front of you and 2 steps to your right.  "
        "The room has walls around you. You are facing a wall 3 steps away. You are carrying a yellow ball."
    )


def test_an_empty_sight_is_said_as_such() -> None:
    assert text.describe(view(["......."] * 7)) == (
        "In front of you in this room, you can see several objects: "
        "The room has walls around you. You are not carrying anything."
    )


def test_available_actions_are_a_list_in_json() -> None:
    assert text.available(["turn left", "drop"]) == 'Available actions: ["turn left", "drop"]'


def test_every_action_stands_for_its_primitive_moves() -> None:
    to_the_door = (RIGHT, FORWARD, FORWARD, LEFT, FORWARD, FORWARD)
    plans = possible(view(room(x3y4="b", x5y3="c")))
    assert plans == {
        "turn left": (LEFT,),
        "turn right": (RIGHT,),
        "move forward": (FORWARD,),
        "pickup red ball 1": (FORWARD, PICKUP),
        "toggle and go through yellow closed door 1": (*to_the_door, TOGGLE, FORWARD),
        "go to red ball 1": (FORWARD,),
        "go to yellow closed door 1": to_the_door,
        "check available actions": (),
    }


def test_what_is_right_ahead_is_gone_to_by_waiting_a_step() -> None:
    plans = possible(view(room(x3y5="b")))
    assert plans["go to red ball 1"] == (WAIT,)
    assert plans["pickup red ball 1"] == (PICKUP,)
    assert "move forward" not in plans


def test_things_are_picked_up_with_free_hands_and_dropped_on_free_cells() -> None:
    assert "pickup red ball 1" not in possible(view(room(x3y4="b"), ("blue", "key")))
    assert possible(view(room(x3y4="b"), ("blue", "key")))["drop"] == (DROP,)
    assert "drop" not in possible(view(room(x3y5="b"), ("blue", "key")))
    assert "drop" not in possible(view(room()))


def test_a_locked_door_takes_the_key_of_its_color() -> None:
    door = room(x3y3="l")
    through = "toggle and go through blue locked door 1"
    assert possible(view(door, ("blue", "key")))[through] == (FORWARD, FORWARD, TOGGLE, FORWARD)
    for carried in (None, ("red", "key"), ("blue", "ball")):
        assert through not in possible(view(door, carried))
        assert (
            text.refusal(view(door, carried), through) == "The blue door is locked: carry a blue key to it."
        )


def test_an_open_door_is_gone_through_and_toggled_when_right_ahead() -> None:
    assert possible(view(room(x3y3="o")))["go through yellow open door 1"] == (FORWARD,) * 3
    assert possible(view(room(x3y5="o")))["toggle"] == (TOGGLE,)


def test_a_box_is_toggled_only_when_something_is_in_it() -> None:
    assert "toggle" not in possible(view(room(x3y5="B")))
    assert possible(view(room(x3y5="B"), has_full_box=True))["toggle"] == (TOGGLE,)


def test_a_goal_is_walked_onto() -> None:
    assert possible(view(room(x3y4="g")))["go to goal"] == (FORWARD, FORWARD)


def test_no_path_leads_through_things_or_unseen_cells() -> None:
    walled = ["???????"] * 3 + ["#######", "#.b...#", "#######", "#.....#"]
    assert not [action for action in possible(view(walled)) if "ball" in action]
    assert text.refusal(view(walled), "go to red ball 1") == "You see no way to red ball 1."


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("Turn Left", "turn left"),
        ("  move   forward ", "move forward"),
        ("pick up red ball 1", "pickup red ball 1"),
        ("pickup red ball 1", "pickup red ball 1"),
        ("go to the grey closed door 12", "go to grey closed door 12"),
        ("Toggle and go through purple locked door 1", "toggle and go through purple locked door 1"),
        ("check available actions", "check available actions"),
        ("go to red ball", None),
        ("go to red ball one", None),
        ("go to red ball 0", None),
        ("turn left turn left", None),
        ("check", None),
        ("", None),
        ("go to " + "red " * 1000 + "ball 1", None),
        (" " * 300 + "turn left" + " " * 300, "turn left"),
        ("turn left" + " " * 300 + "drop", None),
    ],
)
def test_an_action_has_one_spelling(written: str, read: str | None) -> None:
    assert text.read(written) == read


@pytest.mark.parametrize(
    ("action", "why"),
    [
        ("move forward", "You cannot move forward: there is a red ball right in front of you."),
        ("drop", "You cannot drop anything: you are not carrying anything."),
        ("toggle", "Nothing in front of you can be toggled."),
        ("go to goal", "You see no way to a goal."),
        ("go to red ball 2", "You do not see red ball 2."),
        ("pickup yellow closed door 1", "You cannot pick up yellow closed door 1."),
        ("go through red ball 1", "You cannot go through red ball 1: it is not a door."),
        (
            "go through yellow closed door 1",
            "You cannot go through yellow closed door 1: it is closed. Toggle and go through it.",
        ),
    ],
)
def test_a_refusal_says_why(action: str, why: str) -> None:
    assert text.refusal(view(room(x3y5="b", x5y3="c")), action) == why


def test_every_possible_action_is_a_call_and_survives_agentgym_s_filter() -> None:
    shown = view(room(x3y4="b", x5y3="c", x1y3="o", x1y5="k", x3y3="g"))
    carrying = view(room(x5y3="l", x3y4="g"), ("blue", "key"))
    for action in {**possible(shown), **possible(carrying)}:
        assert text.FUNCTIONS.action(text.FUNCTIONS.call(action)) == action
        assert text.read(action) == action
        assert all(sign.isascii() and (sign.isalnum() or sign == " ") for sign in action)
