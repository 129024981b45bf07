"""What an actor has finished survives it, and its disk."""

import asyncio
import os
import shutil
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from actors import outbox
from actors.outbox import DiskOutbox, Outbox, check_name, packed
from common.aio import background
from common.errors import ConfigurationError, PreflightError
from common.trajectory import Member
from tests import making


def identity(group: int, run: str = "test") -> Member:
    return Member(run=run, group=group, member=0)


@asynccontextmanager
async def opened(folder: Path, **limits: int) -> AsyncIterator[Outbox]:
    """An outbox that serves; closed with the body."""
    bounds = {"max_number": 10, "max_bytes": 1 << 30} | limits
    made = Outbox(DiskOutbox(folder, "test"), on_room=lambda: None, **bounds)
    await made.open()
    async with background(made.serve()):
        yield made
    await made.close()


def read(folder: Path, run: str = "test") -> tuple[list[Member], int]:
    """What a later process finds, and how many files it refuses."""
    disk = DiskOutbox(folder, run)
    try:
        return [t.identity for t in disk.open()], disk.num_refused
    finally:
        disk.close()


async def test_what_is_not_acknowledged_is_read_back_as_it_was_oldest_first(tmp_path: Path) -> None:
    async with opened(tmp_path) as box:
        for group in (12, 3, 7):
            await box.keep(making.trajectory(group))
        box.forget(identity(3))
    disk = DiskOutbox(tmp_path, "test")
    found = disk.open()
    disk.close()
    assert [t.identity.group for t in found] == [12, 7]
    assert packed(found[0]) == packed(making.trajectory(12))


async def test_of_two_ledgers_the_same_member_is_kept_twice(tmp_path: Path) -> None:
    first, second = (making.trajectory(0, ledger=ledger) for ledger in ("", "../../another"))
    async with opened(tmp_path) as box:
        for trajectory in (first, second):
            await box.keep(trajectory)
    assert read(tmp_path) == ([first.identity, second.identity], 0)
    async with opened(tmp_path) as box:
        box.forget(first.identity)
    assert read(tmp_path) == ([second.identity], 0)


DAMAGES = {
    "cut": lambda content: content[:-5],
    "empty": lambda content: b"",
    "flipped": lambda content: content[:-20] + bytes([content[-20] ^ 1]) + content[-19:],
    "of something else": lambda content: b"x" * len(content),
}


@pytest.mark.parametrize("damage", DAMAGES)
async def test_a_damaged_file_is_set_aside_and_counted_and_the_others_are_read(
    tmp_path: Path, damage: str
) -> None:
    async with opened(tmp_path) as box:
        await box.keep(making.trajectory(0))
        await box.keep(making.trajectory(1))
    file = tmp_path / "0-0-0"
    file.write_bytes(DAMAGES[damage](file.read_bytes()))
    assert read(tmp_path) == ([identity(1)], 1)
    assert read(tmp_path) == ([identity(1)], 0)
    assert (tmp_path / "0-0-0.refused").exists()


async def test_what_was_never_finished_is_removed_and_another_runs_is_left_alone(tmp_path: Path) -> None:
    async with opened(tmp_path) as box:
        await box.keep(making.trajectory(0))
    (tmp_path / "1-0-0.draft").write_bytes(b"half")
    assert read(tmp_path, "another") == ([], 0)
    assert not (tmp_path / "1-0-0.draft").exists()
    assert read(tmp_path) == ([identity(0)], 0)


def test_two_processes_never_share_an_outbox(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbox, "LOCK_S", 0.0)
    first, second = DiskOutbox(tmp_path, "test"), DiskOutbox(tmp_path, "test")
    first.open()
    with pytest.raises(PreflightError, match="another process plays under this name"):
        second.open()
    first.close()
    second.open()
    second.close()


def test_an_outbox_that_cannot_be_tidied_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "1-0-0.draft").mkdir()  # cannot be unlinked, not even by root
    disk = DiskOutbox(tmp_path, "test")
    with pytest.raises(PreflightError, match=r"cannot open the outbox: Is a directory"):
        disk.open()
    disk.close()


@pytest.mark.parametrize("name", ["", "../learner", "a/b", ".hidden", "x" * 201])
def test_a_name_that_is_no_folder_is_refused(name: str) -> None:
    with pytest.raises(ConfigurationError, match="--name"):
        check_name(name)


async def test_a_full_outbox_has_no_room_until_something_is_acknowledged(tmp_path: Path) -> None:
    async with opened(tmp_path, max_number=2) as box:
        await box.keep(making.trajectory(0))
        assert box.has_room
        await box.keep(making.trajectory(1))
        assert not box.has_room
        box.forget(identity(0))
        assert box.has_room


async def test_the_bytes_are_bounded_too(tmp_path: Path) -> None:
    async with opened(tmp_path, max_bytes=600) as box:
        await box.keep(making.trajectory(0))
        assert box.has_room
        await box.keep(making.trajectory(1))
        assert not box.has_room


async def test_what_the_disk_refuses_is_written_once_it_takes_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(outbox, "RETRY_S", 0.01)
    folder = tmp_path / "outbox"
    async with opened(folder) as box:
        shutil.rmtree(folder)  # root may write anywhere, but not where there is nothing
        for group in range(3):
            await box.keep(making.trajectory(group))
        box.forget(identity(1))
        assert not box.has_room
        assert len([r for r in caplog.records if "cannot be written" in r.message]) == 1
        folder.mkdir()
        async with asyncio.timeout(10):
            while not box.has_room:  # noqa: ASYNC110 - nobody announces it
                await asyncio.sleep(0.01)
    assert sorted(name for name in os.listdir(folder)) == ["0-0-0", "2-0-0"]


class SlowDisk(DiskOutbox):
    """Writes when it is let, and notes how many writes there are at a time."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, "test")
        self.is_writing, self.may_go_on = threading.Event(), threading.Event()
        self.num_writing = self.most_writing = 0

    def write(self, identity: Member, content: bytes) -> None:
        self.num_writing += 1
        self.most_writing = max(self.most_writing, self.num_writing)
        self.is_writing.set()
        assert self.may_go_on.wait(20)
        super().write(identity, content)
        self.num_writing -= 1


async def test_an_outbox_that_is_closed_while_it_writes_never_writes_a_file_twice_at_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    disk = SlowDisk(tmp_path)
    box = Outbox(disk, max_number=10, max_bytes=1 << 30, on_room=lambda: None)
    await box.open()
    async with asyncio.timeout(20), asyncio.TaskGroup() as group:
        serving = group.create_task(box.serve())
        keeping = group.create_task(box.keep(making.trajectory(0)))
        await asyncio.to_thread(disk.is_writing.wait)
        serving.cancel()
        keeping.cancel()
        group.create_task(asyncio.to_thread(disk.may_go_on.set))
    await box.close()
    assert disk.most_writing == 1
    assert not caplog.records
    assert read(tmp_path) == ([identity(0)], 0)
