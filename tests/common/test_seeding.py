"""Seeds are the same everywhere and unrelated to each other."""

import subprocess
import sys

from hypothesis import given
from hypothesis import strategies as st

from common.seeding import derive_seed


def test_a_seed_is_the_same_on_every_machine_and_in_every_release() -> None:
    assert derive_seed(0, "task", 1) == 7904526932975963967


def test_a_seed_does_not_depend_on_the_process() -> None:
    program = "from common.seeding import derive_seed; print(derive_seed(7, 'actor', 'a', 3))"
    environment = {"PYTHONHASHSEED": "12345"}
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        env=environment,
        check=True,
        timeout=60,
    )
    assert int(done.stdout) == derive_seed(7, "actor", "a", 3)


@given(st.integers(), st.lists(st.integers() | st.text(max_size=5), max_size=4))
def test_a_seed_fits_every_generator(seed: int, labels: list[int | str]) -> None:
    assert 0 <= derive_seed(seed, *labels) < 2**63


def test_different_labels_give_different_seeds() -> None:
    seeds = {
        derive_seed(s, *labels)
        for s in range(50)
        for labels in [("a",), ("b",), ("a", 0), ("a", 1), (0, "a")]
    }
    assert len(seeds) == 250
