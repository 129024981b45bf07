"""Tasks are drawn by what their settled groups showed, as often as the weights say, also after a resume."""

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from common.messages import Grant, Sampling
from common.metric_names import is_known
from common.trajectory import TaskReference
from learner.config import CurriculumConfig, LearnerConfig
from learner.curriculum import POOLS, Curriculum, Pool, drawn_pool, pool_of
from learner.dispatcher import Dispatcher
from learner.leases import LeaseBook
from learner.ledger import Ledger
from tests import making

POOLS_ON = CurriculumConfig(kind="pools", recent_groups=2)
TASKS = [TaskReference(environment="toy", task=f"task-{i}") for i in range(8)]
SIZE = 4


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    ledger = Ledger(tmp_path / "ledger.sqlite", "test")
    yield ledger
    ledger.close()


def curriculum(ledger: Ledger, config: CurriculumConfig = POOLS_ON, seed: int = 3) -> Curriculum:
    return Curriculum(TASKS, seed, {}, config, ledger)


def opened(ledger: Ledger, source: Curriculum, number: int, version: int) -> list[tuple[int, str]]:
    """Open groups as the dispatcher does: (group, task)."""
    tasks = source.take(ledger.num_groups(), number, version)
    groups = ledger.open_groups(tasks, purpose="training", label="", horizon=5, size=SIZE, version=version)
    return [(group.id, group.task.task) for group in groups]


def played(ledger: Ledger, groups: Sequence[tuple[int, str]], num_solved: int) -> None:
    """Every member arrives, `num_solved` of each group successful."""
    ledger.commit_submissions(
        [
            making.trajectory(group, member, task=task, reward=float(member < num_solved))
            for group, task in groups
            for member in range(SIZE)
        ],
        version=0,
    )


def consumed(ledger: Ledger, step: int, groups: Sequence[tuple[int, str]]) -> None:
    ledger.consume(step, [group for group, _ in groups], horizon=5, max_staleness=0, num_tokens=1)


def reopened(ledger: Ledger) -> Ledger:
    (path,) = [row[2] for row in ledger.rows("PRAGMA database_list")]
    return Ledger(Path(path), "test")


def oracle_pools(ledger: Ledger, version: int, config: CurriculumConfig) -> dict[str, Pool]:
    """Straight from the definition: each task's last groups that a step up to `version` settled."""
    shown: dict[str, list[float]] = {task.task: [] for task in TASKS}
    for group, task, state, reason, step in ledger.rows(
        "SELECT id, task, state, reason, step FROM groups WHERE purpose = 'training' ORDER BY step, id"
    ):
        is_settled = state == "consumed" or (state == "dropped" and reason in ("zero_variance", "stale"))
        if is_settled and step <= version:
            members = ledger.group(group).trajectories
            shown[task].append(sum(t.is_success for t in members) / len(members))
    pools: dict[str, Pool] = {}
    for task, rates in shown.items():
        last = rates[-config.recent_groups :]
        rate = sum(last) / len(last) if last else None
        if rate is None:
            pools[task] = "unseen"
        elif rate <= config.hard_to:
            pools[task] = "hard"
        else:
            pools[task] = "easy" if rate >= config.easy_from else "middle"
    return pools


def test_before_anything_is_known_every_task_is_played_once_in_an_order_of_the_seeds(ledger: Ledger) -> None:
    first = [task.task for task in curriculum(ledger).take(0, 16, 0)]
    assert sorted(first[:8]) == sorted(task.task for task in TASKS)
    assert first[8:] == first[:8]
    assert first != [task.task for task in curriculum(ledger, seed=4).take(0, 16, 0)]


def test_the_seed_of_a_play_is_the_positions_own(ledger: Ledger) -> None:
    assert len({task.seed for task in curriculum(ledger).take(0, 50, 0)}) == 50


STEP = st.tuples(
    st.integers(1, 4),
    st.lists(
        st.sampled_from(["consumed", "zero_variance", "stale", "faulted", "open"]), min_size=4, max_size=4
    ),
    st.lists(st.integers(0, SIZE), min_size=4, max_size=4),
)


@settings(max_examples=25, deadline=None)
@given(steps=st.lists(STEP, min_size=1, max_size=5), stop=st.integers(0, 4), recent=st.integers(1, 3))
def test_pools_are_those_of_the_definition_and_a_resumed_or_rewound_run_draws_the_same_tasks(
    tmp_path_factory, steps, stop, recent
):
    config = CurriculumConfig(kind="pools", recent_groups=recent)
    ledger = Ledger(tmp_path_factory.mktemp("run") / "ledger.sqlite", "test")
    source = curriculum(ledger, config)
    for step, (number, fates, solved) in enumerate(steps, 1):
        groups = opened(ledger, source, number, step - 1)
        trained = []
        for group, fate, num_solved in zip(groups, fates, solved, strict=False):
            if fate in ("consumed", "zero_variance", "stale"):
                played(ledger, [group], num_solved)
            if fate == "consumed":
                trained.append(group)
            elif fate != "open":
                ledger.drop(group[0], fate, step)
        consumed(ledger, step, trained)
        source.take(ledger.num_groups(), 0, step)
        (part,) = source._parts
        found = {key[1]: pool for pool, keys in part.pools.items() for key in keys}
        assert found == oracle_pools(ledger, step, config)
        again = curriculum(reopened(ledger), config)
        assert again.take(ledger.num_groups(), 6, step) == curriculum(ledger, config).take(
            ledger.num_groups(), 6, step
        )
    # The run stops at a checkpoint, forgets later steps, and takes them again: what was known then is known.
    version = min(stop, len(steps))
    before = curriculum(ledger, config).take(ledger.num_groups(), 6, version)
    ledger.rewind(version)
    assert curriculum(reopened(ledger), config).take(ledger.num_groups(), 6, version) == before
    ledger.close()


def test_what_arrives_between_two_steps_changes_no_choice(ledger: Ledger) -> None:
    source = curriculum(ledger)
    groups = opened(ledger, source, 8, 0)
    before = curriculum(ledger).take(8, 20, 0)
    played(ledger, groups[:4], 0)
    for group, _ in groups[:4]:
        ledger.drop(group, "zero_variance", 1)
    played(ledger, groups[4:], 2)
    assert curriculum(ledger).take(8, 20, 0) == before
    consumed(ledger, 1, groups[4:])
    assert curriculum(ledger).take(8, 20, 1) != before


def test_a_process_that_goes_on_and_one_that_resumes_draw_the_same_tasks(ledger: Ledger) -> None:
    source = curriculum(ledger)
    for step in range(1, 12):
        groups = opened(ledger, source, 5, step - 1)
        assert groups == [
            (group, task.task)
            for (group, _), task in zip(groups, _again_at(ledger, groups[0][0], step - 1), strict=True)
        ]
        played(ledger, groups, step % (SIZE + 1))
        consumed(ledger, step, groups)


def _again_at(ledger: Ledger, cursor: int, version: int) -> list[TaskReference]:
    """What a process that starts with only the groups before `cursor` draws for the five that follow."""
    ledger.rows("CREATE TEMP TABLE later AS SELECT * FROM groups WHERE id >= ?", (cursor,))
    ledger.rows("DELETE FROM groups WHERE id >= ?", (cursor,))
    drawn = curriculum(ledger).take(cursor, 5, version)
    ledger.rows("INSERT INTO groups SELECT * FROM later")
    ledger.rows("DROP TABLE later")
    return drawn


def test_tasks_are_played_as_often_as_the_weights_of_their_pools_say(ledger: Ledger) -> None:
    """Two tasks hard, two easy, four in the middle: shares proportional to weight, and even within a pool."""
    config = CurriculumConfig(kind="pools", hard=0.5, middle=2.0, easy=0.25, unseen=1.0)
    groups = opened(ledger, curriculum(ledger, config), 8, 0)
    for index, group in enumerate(groups):
        played(ledger, [group], (0, 0, 4, 4, 2, 2, 1, 3)[index])
        if index < 4:
            ledger.drop(group[0], "zero_variance", 1)
    consumed(ledger, 1, groups[4:])
    source = curriculum(ledger, config)
    number = 4000
    counts = Counter(task.task for task in source.take(8, number, 1))
    mass = 2 * 0.5 + 2 * 0.25 + 4 * 2.0
    for index, (_, task) in enumerate(groups):
        expected = number * (0.5 if index < 2 else 0.25 if index < 4 else 2.0) / mass
        assert counts[task] == pytest.approx(expected, rel=0.15)
    values = source.values()
    assert {name: values[f"curriculum/{name}/tasks"] for name in POOLS} == {
        "unseen": 0, "hard": 0.25, "middle": 0.5, "easy": 0.25
    }  # fmt: skip
    assert sum(values[f"curriculum/{name}/groups"] for name in POOLS) == pytest.approx(1)
    assert values["curriculum/middle/groups"] == pytest.approx(8 / mass, abs=0.03)
    assert "curriculum/middle/groups" not in source.values()


def test_a_pool_without_weight_is_played_only_when_no_other_has_a_task(ledger: Ledger) -> None:
    config = CurriculumConfig(kind="pools", hard=0, easy=0)
    groups = opened(ledger, curriculum(ledger, config), 8, 0)
    for group in groups:
        played(ledger, [group], 0)
        ledger.drop(group[0], "zero_variance", 1)
    assert len({task.task for task in curriculum(ledger, config).take(8, 8, 1)}) == 8


async def test_the_dispatcher_opens_the_tasks_of_the_curriculum_also_after_a_restart_amid_evaluations(
    tmp_path: Path,
) -> None:
    config = LearnerConfig.model_validate(
        {
            "groups_per_step": 2,
            "group_size": 2,
            "staleness": {"max_staleness": 1},
            "curriculum": {"kind": "pools", "recent_groups": 1},
        }
    )
    for version in range(4):
        ledger = Ledger(tmp_path / "ledger.sqlite", "test")
        source = Curriculum(TASKS, 0, {}, config.curriculum, ledger)
        dispatcher = Dispatcher(
            config,
            ledger,
            LeaseBook("test", float, ledger=ledger.name),
            source,
            Sampling(),
            horizon=5,
            version=version,
        )
        await dispatcher.restore()
        dispatcher.is_training = True
        expected = Curriculum(TASKS, 0, {}, config.curriculum, ledger).take(
            ledger.num_groups(), 2 if version else 4, version
        )
        known = ledger.num_groups()
        await dispatcher.join("a")
        dispatcher.book.add_credits("a", 100, is_first=True)
        leases = [m.lease for _, m in await dispatcher.grants() if isinstance(m, Grant)]
        asked = "SELECT environment, task, seed FROM groups WHERE purpose = 'training' ORDER BY id"
        new = [TaskReference(environment=e, task=t, seed=s) for e, t, s in ledger.rows(asked)[known:]]
        assert new == expected
        await dispatcher.submit(
            [
                ("a", making.trajectory(reward=float(x.identity.member), version=version).model_copy(
                    update={"identity": x.identity, "task": x.task}))
                for x in leases
            ]
        )  # fmt: skip
        groups = await dispatcher.take_batch()
        await dispatcher.consumed(version + 1, groups, max_staleness=0, num_tokens=1)
        values = dispatcher.tally.flush([])
        assert sum(values[f"curriculum/{pool}/groups"] for pool in POOLS) == pytest.approx(1)
        assert sum(values[f"curriculum/{pool}/tasks"] for pool in POOLS) == pytest.approx(1)
        assert all(is_known(name) for name in values)
        ledger.open_groups(
            TASKS[:3], purpose="evaluation", label=f"step {version}", horizon=5, size=1, version=version
        )
        dispatcher.close()
        ledger.close()


def test_environments_of_a_mixture_take_turns_whatever_their_pools_are(ledger: Ledger) -> None:
    tasks = [TaskReference(environment=name, task=f"t-{i}") for name in ("maze", "wordle") for i in range(3)]
    source = Curriculum(tasks, 0, {"maze": 3.0, "wordle": 1.0}, POOLS_ON, ledger)
    drawn = [task.environment for task in source.take(0, 40, 0)]
    assert drawn[:4].count("maze") == 3
    assert drawn.count("maze") == 30


@given(
    sizes=st.lists(st.integers(0, 5), min_size=4, max_size=4).filter(any),
    draw=st.floats(0, 1, exclude_max=True),
)
def test_a_drawn_pool_has_a_task(sizes: list[int], draw: float) -> None:
    config = CurriculumConfig(kind="pools", hard=0)
    assert dict(zip(POOLS, sizes, strict=True))[
        drawn_pool(dict(zip(POOLS, sizes, strict=True)), config, draw)
    ]


@pytest.mark.parametrize(
    ("shown", "pool"),
    [
        ([], "unseen"),
        ([0.0], "hard"),
        ([0.1], "hard"),
        ([0.0, 0.25], "middle"),
        ([0.8], "easy"),
        ([1, 0.5], "middle"),
    ],
)
def test_the_bounds_belong_to_the_outer_pools(shown: list[float], pool: Pool) -> None:
    assert pool_of(shown, POOLS_ON) == pool


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"hard_to": 0.9}, r"hard_to = 0\.9: must be below easy_from = 0\.8"),
        ({"unseen": 0, "hard": 0, "middle": 0, "easy": 0}, "give one of them a weight"),
        ({"recent_groups": 0}, "recent_groups"),
        ({"kind": "random"}, "'off' or 'pools'"),
    ],
)
def test_a_curriculum_that_cannot_be_is_refused(values: dict[str, object], reason: str) -> None:
    with pytest.raises(ValidationError, match=reason):
        CurriculumConfig.model_validate(values)
