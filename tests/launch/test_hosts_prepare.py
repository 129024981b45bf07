"""The stages before training, begun by hand or by a Job: with a hub that runs already, in an empty folder."""

import asyncio
import sys
from pathlib import Path

import pytest

from common.config import load
from launch.config import RunConfig
from tests.envhub.hub_process import HubProcess

ROOT = Path(__file__).parents[2]
FEW = """
[run]
name = "tiny"
[tasks]
environment = "guess_number"
action_format = "plain"
[model]
source = "small"
[sft]
num_demonstrations = 0
[evaluation]
num_tasks = 0
"""


@pytest.mark.timeout(240)
async def test_it_needs_no_one_who_settled_the_run_before(tmp_path: Path) -> None:
    (tmp_path / "few.toml").write_text(FEW)
    files = [ROOT / "tests" / "tiny.toml", tmp_path / "few.toml"]
    hub = HubProcess()
    try:
        await hub.start()
        settings = [f"--run.directory={tmp_path}", f"--hub.port={hub.port}"]
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "launch.hosts.prepare", *map(str, files), *settings),
            cwd=ROOT,
            stderr=asyncio.subprocess.PIPE,
        )
        _, said = await process.communicate()
    finally:
        await hub.kill()
    assert process.returncode == 0, said.decode()
    folder = tmp_path / "tiny"
    assert (folder / "model" / "config.json").is_file()
    assert load(RunConfig, [folder / "config.toml"]).hub.port == hub.port
