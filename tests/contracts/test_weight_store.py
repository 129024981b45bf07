"""What the weight store and those who read from it promise: whole or not at all, and never unverified."""

import mmap
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open

from common.errors import PreflightError, WeightError
from common.weights import store as store_module
from common.weights.manifest import is_local
from common.weights.store import WeightStore
from common.weights.verify import verify
from common.weights.writing import BLOCK_BYTES, NamedArray
from tests.contracts.weights import arrays, raw


@pytest.fixture
def store(tmp_path: Path) -> Iterator[WeightStore]:
    with WeightStore(tmp_path / "run", root=tmp_path) as store:
        yield store


def test_a_version_reads_back_as_safetensors_bit_for_bit(store: WeightStore) -> None:
    manifest = store.write(3, arrays())
    with safe_open(manifest.path, "pt") as file:
        assert file.metadata() == {"version": "3"}
        for array in arrays():
            name, dtype, _, shape = array
            tensor = file.get_tensor(name)
            assert (str(tensor.dtype), tuple(tensor.shape)) == (f"torch.{dtype}", shape)
            assert tensor.contiguous().view(torch.uint8).numpy().tobytes() == raw(array)


def test_a_manifest_tells_where_each_tensor_lies_in_the_file(store: WeightStore) -> None:
    manifest = store.write(0, arrays())
    content = Path(manifest.path).read_bytes()
    for tensor, array in zip(manifest.tensors, arrays(), strict=True):
        assert content[tensor.offset : tensor.offset + tensor.num_bytes] == raw(array)
    assert manifest.tensors[0].offset % 64 == 0
    assert manifest.num_bytes == 7 * 3 * 4 + 5 * 2
    assert is_local(manifest)
    verify(manifest, Path(manifest.path))


def test_a_header_that_outgrows_its_room_moves_the_data(store: WeightStore) -> None:
    many: list[NamedArray] = [
        (f"layer.{i:05d}." + "w" * 100, "float32", np.full(300, i, np.float32), (300,)) for i in range(2000)
    ]
    assert sum(len(raw(array)) for array in many) > 2 * BLOCK_BYTES
    for version in range(2):
        manifest = store.write(version, many)
        verify(manifest, Path(manifest.path))
        with safe_open(manifest.path, "pt") as file:
            assert file.get_tensor(many[1234][0]).tolist() == [1234] * 300


def test_only_the_newest_versions_are_kept(store: WeightStore) -> None:
    manifests = [store.write(version, arrays(version)) for version in range(4)]
    assert [Path(m.path).exists() for m in manifests] == [False, False, True, True]
    assert not is_local(manifests[0])


def test_a_map_of_an_unlinked_version_stays_readable(store: WeightStore) -> None:
    manifest = store.write(0, arrays(0))
    content = Path(manifest.path).read_bytes()
    with Path(manifest.path).open("rb") as file:
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    for version in range(1, 4):
        store.write(version, arrays(version))
    store.close()
    assert not Path(manifest.path).exists()
    assert mapped[:] == content


def test_writing_a_version_again_after_a_resume_replaces_it(store: WeightStore) -> None:
    store.write(1, arrays(1))
    other = store.write(1, arrays(2))
    verify(other, Path(other.path))


@pytest.mark.parametrize(
    ("array", "reason"),
    [
        (("a", "float64", b"12345678", (1,)), "dtype 'float64'; allowed are float32, bfloat16, float16"),
        (("a", "float32", b"123", (1,)), r"3 bytes are not float32 of shape \[1\]"),
        (("model.embed.weight", "float32", b"1234", (1,)), "comes twice"),
        (("a", "float32", b"1234", (1,)), "after an odd number of narrower values"),
    ],
)
def test_a_wrong_array_is_refused_and_leaves_nothing(
    store: WeightStore, array: NamedArray, reason: str
) -> None:
    first = arrays()[:1] if array[0] != "a" or "odd" not in reason else arrays()[:2]
    with pytest.raises(WeightError, match=reason):
        store.write(0, [*first, array])
    assert [file.name for file in store.directory.iterdir()] == ["lock"]


def test_a_store_that_is_made_while_the_one_before_is_closed_has_a_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = WeightStore(tmp_path / "run", root=tmp_path)
    monkeypatch.setattr(time, "sleep", lambda _: first.close())
    with WeightStore(tmp_path / "run", root=tmp_path) as second:
        verify(manifest := second.write(0, arrays()), Path(manifest.path))
        with pytest.raises(PreflightError, match="is running on this host"):
            WeightStore(tmp_path / "run", root=tmp_path)


def test_a_version_without_tensors_is_refused(store: WeightStore) -> None:
    with pytest.raises(WeightError, match="no tensors"):
        store.write(0, [])


def test_a_failure_while_gathering_leaves_the_version_before(store: WeightStore) -> None:
    held = store.write(0, arrays())

    def breaking() -> Iterator[NamedArray]:
        yield arrays()[0]
        raise RuntimeError("a rank died")

    with pytest.raises(RuntimeError, match="a rank died"):
        store.write(1, breaking())
    verify(held, Path(held.path))
    assert sorted(file.name for file in store.directory.iterdir()) == ["lock", Path(held.path).name]


FULL = """
import resource, sys
from pathlib import Path
from common.errors import WeightError
from common.weights.store import WeightStore
with WeightStore(Path(sys.argv[1]) / "run", root=Path(sys.argv[1])) as store:
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))
    try:
        store.write(5, [("w", "float32", bytes(4 << 20), (1 << 20,))])
    except WeightError as error:
        print(error)
    print([file.name for file in store.directory.iterdir()])
"""


def test_a_full_memory_is_one_clear_line_and_leaves_nothing(tmp_path: Path) -> None:
    """A limit on the size of files stops the write halfway, as a full file system does."""
    printed = python(FULL, tmp_path).splitlines()
    assert printed[0].startswith(f"version 5 cannot be written to {tmp_path}")
    assert printed[1:] == ["['lock']"]


KILLED = """
import os, signal, sys
from pathlib import Path
from common.weights.store import WeightStore
store = WeightStore(Path(sys.argv[1]) / "run", root=Path(sys.argv[1]))
store.write(1, [("w", "float32", bytes(4), (1,))])
def arrays():
    yield "w", "float32", bytes(4), (1,)
    print(sorted(file.name for file in store.directory.iterdir()), flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
store.write(2, arrays())
"""


def test_what_a_killed_learner_left_is_removed_by_the_next_one(tmp_path: Path) -> None:
    assert "version-000000002.part" in python(KILLED, tmp_path, code=-9)
    with WeightStore(tmp_path / "run", root=tmp_path) as store:
        assert [file.name for file in store.directory.iterdir()] == ["lock"]
    assert list(tmp_path.iterdir()) == []


def test_a_second_learner_of_a_run_is_refused_and_harms_nothing(store: WeightStore, tmp_path: Path) -> None:
    manifest = store.write(0, arrays())
    with pytest.raises(PreflightError, match=r"another learner of .*run is running"):
        WeightStore(tmp_path / "run", root=tmp_path)
    verify(manifest, Path(manifest.path))
    with WeightStore(tmp_path / "other", root=tmp_path) as other:
        assert other.directory != store.directory


def test_nobody_else_may_read_or_replace_the_files(store: WeightStore, tmp_path: Path) -> None:
    assert store.directory.stat().st_mode & 0o077 == 0
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    store.close()
    store.directory.symlink_to(elsewhere)
    with pytest.raises(PreflightError, match="belongs to somebody else"):
        WeightStore(tmp_path / "run", root=tmp_path)


def test_weights_lie_in_memory_where_the_host_offers_it() -> None:
    expected = Path("/dev/shm") if os.access("/dev/shm", os.W_OK) else Path(os.environ.get("TMPDIR", "/tmp"))
    assert store_module.host_memory() == expected


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda content, m: content[:-1], "bytes, not"),
        (lambda content, m: content + b"x", "bytes, not"),
        (lambda content, m: content[:-1] + bytes([content[-1] ^ 1]), "fails its checksum"),
        (lambda content, m: b"\xff" * 8 + content[8:], "claims a header"),
        (lambda content, m: content[:8] + b"[" + content[9:], "no weight header"),
        (lambda content, m: content.replace(b"model.norm", b"model.morn"), "disagree about 2 tensors"),
        (lambda content, m: content.replace(b'"version":"3"', b'"version":"4"'), "the file is version 4"),
        (lambda content, m: b"", "bytes, not"),
    ],
)
def test_a_damaged_file_is_never_verified(store: WeightStore, damage, reason: str) -> None:  # type: ignore[no-untyped-def]
    manifest = store.write(3, arrays())
    path = store.directory / "damaged"
    path.write_bytes(damage(Path(manifest.path).read_bytes(), manifest))
    with pytest.raises(WeightError, match=reason):
        verify(manifest, path)


def test_a_missing_file_is_a_weight_error(store: WeightStore, tmp_path: Path) -> None:
    with pytest.raises(WeightError, match=r"version 3: .*No such file"):
        verify(store.write(3, arrays()), tmp_path / "none")


def python(program: str, directory: Path, code: int = 0) -> str:
    """What `program` prints, in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-c", program, str(directory)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == code, done.stderr
    return done.stdout
