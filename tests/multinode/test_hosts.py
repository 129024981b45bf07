"""One run over network namespaces, each a host with address, name, memory, folder and ssh of its own."""

from pathlib import Path

import pytest

from learner.fsck.examine import examine
from tests.multinode.namespaces import why_not
from tests.multinode.world import World

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(480),
    pytest.mark.skipif(bool(why_not()), reason=why_not()),
]


def test_a_run_over_hosts_takes_a_late_one_in_and_all_of_them_play(tmp_path: Path) -> None:
    with World.made(tmp_path, 3) as world:
        lines = [world.line("h1", "learner,hub"), world.line("h2", "learner,actors:1")]
        with world.run(lines, "--learner.steps=1000") as run:
            run.until_said("training")
            world.join("h3", "actors:1,relay")
            run.until_step(lambda: {"h2-actor-0", "h3-actor-0"} <= world.played())
            assert run.interrupt() == 130
        assert world.left() == []
        assert examine(world.led).violations == ()
        assert world.newest_checkpoint_ranks() == 2
        for name in ("h2", "h3"):
            folder = tmp_path / name / "tiny"
            assert not (folder / "ledger.sqlite").exists()
            assert {file.name for file in (folder / "keys" / "hosts").iterdir()} == {name}
