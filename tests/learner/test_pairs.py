"""Pairs have a gap: which trajectories are compared, and what is left out and counted."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from common import agenttraj, json_rows
from common.errors import ConfigurationError, LedgerError
from learner.ledger import Ledger
from learner.offline.config import DpoConfig
from learner.offline.examples import Example, ExampleTurn
from learner.offline.pairs import Pair, from_files, from_ledger, mine, read_pairs, write_pairs
from tests.making import trajectory, turn

CONFIG = DpoConfig(min_gap=0.1)


def play(action: str, value: float | None, *, is_success: bool | None = None) -> Example:
    won = is_success if is_success is not None or value is None else value >= 1
    turns = (ExampleTurn(observation="seen", action=action),)
    return Example(item_id="t", turns=turns, episode_return=value, is_success=won)


def names(pairs: list[Pair]) -> list[tuple[str, str]]:
    return [(pair.chosen.turns[0].action, pair.rejected.turns[0].action) for pair in pairs]


def test_a_success_is_compared_with_what_returned_less_by_the_gap() -> None:
    plays = [("t", play("won", 1.0)), ("t", play("near", 0.95, is_success=False)), ("t", play("lost", 0.2))]
    mined = mine(plays, CONFIG)
    assert names(mined.pairs) == [("won", "lost")]
    assert mined.pairs[0].gap == pytest.approx(0.8)


def test_a_better_failure_is_never_chosen() -> None:
    mined = mine([("t", play("better", 0.6)), ("t", play("worse", 0.1))], CONFIG)
    assert mined.pairs == []
    assert mined.without_success == 1


def test_tasks_are_never_mixed_and_what_gives_no_pair_is_counted() -> None:
    plays = [
        ("a", play("won", 1.0)),
        ("b", play("lost", 0.0)),
        ("c", play("won", 1.0)),
        ("c", play("lost", 0.0)),
    ]
    mined = mine(plays, CONFIG)
    assert [pair.task for pair in mined.pairs] == ["c"]
    assert str(mined) == ("1 pairs of 3 tasks; left out: 1 tasks without a success, 1 without a gap")


def test_plays_that_did_the_same_are_one() -> None:
    plays = [("t", play("won", 1.0))] * 3 + [("t", play("lost", 0.0))] * 2
    assert names(mine(plays, CONFIG).pairs) == [("won", "lost")]


def test_everybody_stands_once_before_anybody_stands_twice_and_the_limit_holds() -> None:
    plays = [("t", play(f"won {n}", 1.0)) for n in range(2)] + [
        ("t", play(f"lost {n}", 0.0)) for n in range(2)
    ]
    limited = mine(plays, CONFIG.model_copy(update={"max_pairs_per_task": 2})).pairs
    assert names(limited) == [("won 0", "lost 0"), ("won 1", "lost 1")]
    everything = mine(plays, CONFIG).pairs
    assert len(set(names(everything))) == len(everything) == 4


def test_a_ledger_gives_pairs_of_the_same_task_and_seed(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger.sqlite", "somebody's")
    tasks = [trajectory(task=name).task for name in ("same", "same", "other")]
    tasks[1] = tasks[1].model_copy(update={"seed": 5})
    groups = ledger.open_groups(tasks, purpose="training", label="", horizon=5, size=2, version=0)
    for group, rewards in zip(groups, ((1.0, 0.0), (0.0, 0.0), (1.0, 0.5)), strict=True):
        for member, reward in enumerate(rewards):
            made = trajectory(
                group.id, member, task=group.task.task, turns=(turn(reward=reward, action=f"play {member}"),)
            )
            made = made.model_copy(update={"task": group.task, "is_success": reward == 1, "score": reward})
            ledger.commit_submissions([made], 0)
    evaluated = ledger.open_groups(
        tasks[:1], purpose="evaluation", label="after", horizon=5, size=1, version=0
    )
    ledger.commit_submissions([trajectory(evaluated[0].id, 0, task="same", turns=(turn(num_action=3),))], 0)
    ledger.close()
    # `making.turn` gives every play the same tokens: told apart by what the plays of one group really did.
    plays = [
        (
            task,
            example.model_copy(
                update={"turns": (example.turns[0].model_copy(update={"action_tokens": (n,)}),)}
            ),
        )
        for n, (task, example) in enumerate(from_ledger(tmp_path / "ledger.sqlite"))
    ]
    assert len(plays) == 6
    mined = mine(plays, CONFIG)
    assert [(pair.task, round(pair.gap, 3)) for pair in mined.pairs] == [
        ("toy/same/0", 1.0),
        ("toy/other/0", 0.5),
    ]
    assert mined.without_success == 1


def test_only_plays_of_policies_that_are_old_enough_are_read_when_asked(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger.sqlite", "somebody's")
    task = trajectory().task
    (group,) = ledger.open_groups([task], purpose="training", label="", horizon=5, size=3, version=0)
    ledger.commit_submissions([trajectory(group.id, n, version=n, reward=float(n)) for n in range(3)], 0)
    ledger.rows("ALTER TABLE steps DROP COLUMN groups_json")
    ledger.close()
    for limit, wanted in ((-1, [0.0, 1.0, 2.0]), (0, [0.0]), (1, [0.0, 1.0])):
        plays = from_ledger(tmp_path / "ledger.sqlite", limit)
        assert [example.episode_return for _, example in plays] == wanted
    with closing(sqlite3.connect(tmp_path / "ledger.sqlite")) as db:
        columns = [row[1] for row in db.execute("PRAGMA table_info(steps)")]
    assert "groups_json" not in columns, "somebody's ledger, of an older release, was changed"


def test_the_experts_row_is_chosen_over_what_was_sampled_for_the_same_item(tmp_path: Path) -> None:
    def row(item: str, action: str, **known: object) -> dict[str, object]:
        return agenttraj.row_of(agenttraj.demonstration(item, "", [("seen", action)])) | known

    json_rows.write(tmp_path / "expert.json", [row("a", "expert"), row("b", "expert")])
    sampled = [row("a", "lost", reward=0.0, success=False), row("b", "also won", reward=1.0, success=True)]
    json_rows.write(tmp_path / "sampled.jsonl", sampled, "lines")
    mined = mine(from_files([tmp_path / "expert.json", tmp_path / "sampled.jsonl"]), CONFIG)
    assert names(mined.pairs) == [("expert", "lost")]
    assert mined.without_gap == 1


def test_pairs_come_back_from_their_file_and_those_without_a_gap_are_counted(tmp_path: Path) -> None:
    pairs = [
        Pair(task="t", chosen=play("won", 1.0), rejected=play("lost", 0.0)),
        Pair(task="u", chosen=play("won", 1.0), rejected=play("near", 0.95)),
    ]
    write_pairs(tmp_path / "pairs.jsonl", pairs)
    assert read_pairs(tmp_path / "pairs.jsonl", CONFIG) == (pairs[:1], 1)


def test_a_broken_pair_is_named_by_its_line(tmp_path: Path) -> None:
    file = tmp_path / "pairs.jsonl"
    write_pairs(file, [Pair(task="t", chosen=play("won", 1.0), rejected=play("lost", 0.0))])
    file.write_text(file.read_text() + '{"task": "u"}\n')
    with pytest.raises(ConfigurationError, match=r"pairs\.jsonl: line 2: row 1: chosen: Field required"):
        read_pairs(file, CONFIG)


def test_no_ledger_and_no_database_are_one_line_each(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="no ledger; give --data, --pairs or another --ledger"):
        list(from_ledger(tmp_path / "none.sqlite"))
    (tmp_path / "text").write_text("not a database at all, but long enough to be looked at " * 20)
    with pytest.raises(LedgerError, match="cannot read the ledger"):
        list(from_ledger(tmp_path / "text"))
