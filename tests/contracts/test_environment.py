"""What every environment promises. A new environment is done when its lines are in `frozen.json`.

The promises are `envhub.contract.CHECKS`, the same that authors run; how much is played is in `subjects`.
"""

from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from common.errors import ConfigurationError
from envhub import registry
from envhub.contract import CHECKS
from envhub.contract.checks import Check
from envhub.contract.episodes import sessions_of_one_task_keep_apart, survive
from envhub.task import SPLITS
from tests.contracts.digests import frozen, names_digest, shown_digest
from tests.contracts.subjects import missing, subject

ENVIRONMENTS = registry.names()
EXPENSIVE = {"alfworld_textworld", "sciworld"}
"""Where an example of hypothesis takes seconds: they meet the hostile texts of the contract alone."""


SLOW = {"alfworld_textworld"}
"""Its engine takes seconds to begin an episode: a minute and a half in all, with `-m slow`."""


@pytest.fixture(
    params=[pytest.param(name, marks=pytest.mark.slow if name in SLOW else ()) for name in ENVIRONMENTS]
)
def name(request: pytest.FixtureRequest) -> str:
    """Skipped, with the command that helps, only when a package is missing on this machine."""
    if why := missing(request.param):
        pytest.skip(why)
    return str(request.param)


@pytest.mark.parametrize("promise", CHECKS, ids=lambda promise: promise.__name__)
def test_the_contract(name: str, promise: Check) -> None:
    promise(subject(name))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["sciworld"], indirect=True)
def test_64_sessions_of_one_task_keep_apart_in_sciworld_too(name: str) -> None:
    sessions_of_one_task_keep_apart(replace(subject(name), num_sessions=64, num_played=1))


@pytest.mark.parametrize("split", SPLITS)
def test_task_names_are_frozen(name: str, split: str) -> None:
    assert names_digest(name, split) == frozen()[name][split]


def test_episodes_open_as_they_did_in_every_version(name: str) -> None:
    assert shown_digest(name) == frozen()[name]["shown"]


@pytest.mark.parametrize("name", sorted({*ENVIRONMENTS} - EXPENSIVE), indirect=True)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_no_text_crashes_an_episode(name: str, data: st.DataObject) -> None:
    examined = subject(name)
    environment = examined.environment
    task = data.draw(st.sampled_from(environment.tasks("test")[:50])).name
    hints = st.sampled_from(environment.reset(task, 0).actions() or ("look",))
    vocabulary = st.lists(st.sampled_from(environment.vocabulary()), max_size=12).map(" ".join)
    any_text = st.text(st.characters(exclude_categories=()), max_size=80)
    texts = data.draw(st.lists(any_text | vocabulary | hints, max_size=6))
    survive(examined, task, data.draw(st.integers(0, 5)), texts).close()


def test_an_unknown_environment_is_answered_with_the_nearest_name() -> None:
    with pytest.raises(ConfigurationError, match="did you mean 'textcraft'"):
        registry.environment("textcrafft")
