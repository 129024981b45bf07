"""What a hub that was killed leaves behind, and what the next one does with it."""

import os
import subprocess
import sys
from pathlib import Path

from envhub.scratch import PREFIX, sweep

HUB = """
import sys
from envhub.scratch import worker_folder

print(worker_folder(), flush=True)
sys.stdin.read()
"""

MANY = """
import os
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from envhub.scratch import worker_folder

together = Barrier(16)
with ThreadPoolExecutor(16) as pool:
    folders = list(pool.map(lambda _: together.wait() and 0 or worker_folder(), range(16)))
print(len({os.path.dirname(folder) for folder in folders}))
"""


def variables(root: Path) -> dict[str, str]:
    return {"TMPDIR": str(root), "PYTHONPATH": str(Path(__file__).parents[2])}


def hub(root: Path) -> tuple[subprocess.Popen[str], Path]:
    """A process that has asked for a worker's folder, and that folder."""
    process = subprocess.Popen(
        [sys.executable, "-c", HUB],
        env=variables(root),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    return process, Path(process.stdout.readline().strip())


def test_what_a_killed_hub_left_is_removed_and_what_a_living_one_has_is_not(tmp_path: Path) -> None:
    living, kept = hub(tmp_path)
    dead, left = hub(tmp_path)
    (left / "file").write_text("left")
    dead.kill()
    dead.communicate()
    sweep(tmp_path)
    assert kept.is_dir()
    assert not left.parent.exists()
    living.communicate()
    assert living.returncode == 0
    assert list(tmp_path.iterdir()) == []


def test_workers_that_start_side_by_side_share_the_folder_of_their_hub(tmp_path: Path) -> None:
    said = subprocess.run(
        [sys.executable, "-c", MANY], env=variables(tmp_path), stdout=subprocess.PIPE, check=True
    )
    assert said.stdout.strip() == b"1"


def test_a_folder_that_was_left_too_deep_is_removed_too(tmp_path: Path) -> None:
    dead, left = hub(tmp_path)
    dead.kill()
    dead.communicate()
    here = os.getcwd()
    try:
        os.chdir(left)
        for _ in range(3000):
            os.mkdir("d")
            os.chdir("d")
    finally:
        os.chdir(here)
    sweep(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_nothing_that_is_not_a_hubs_is_removed(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / f"{PREFIX}link").symlink_to(tmp_path / "elsewhere")
    (tmp_path / f"{PREFIX}bare").mkdir()
    sweep(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"elsewhere", f"{PREFIX}link", f"{PREFIX}bare"}
