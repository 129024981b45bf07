"""What a delta promises: the learner's file, bit for bit, or an error."""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from common.errors import WeightError
from common.messages import WeightManifest
from common.weights import delta as delta_module
from common.weights.delta import apply_delta, make_delta
from common.weights.gaps import GAP_DTYPES, code_gaps, positions_of
from common.weights.store import WeightStore
from common.weights.writing import NamedArray

WIDTHS = {"float32": 4, "bfloat16": 2, "float16": 2}
SPECIAL = {
    4: [0x80000000, 0x7F800001, 0xFFC00123, 0x7F800000, 0],  # -0.0, NaNs with a payload, infinity, 0.0
    2: [0x8000, 0x7F81, 0xFFC3, 0x7F80, 0],
}


@pytest.fixture
def store(tmp_path: Path) -> Iterator[WeightStore]:
    with WeightStore(tmp_path / "run", root=tmp_path) as store:
        yield store


@st.composite
def pairs(draw: st.DrawFn) -> tuple[list[NamedArray], list[NamedArray]]:
    """The tensors of two versions: the same names and shapes, other bits."""
    random = np.random.default_rng(draw(st.integers(0, 1 << 32)))
    old: list[NamedArray] = []
    new: list[NamedArray] = []
    for number, dtype in enumerate(draw(st.lists(st.sampled_from(sorted(WIDTHS)), min_size=1, max_size=5))):
        width = WIDTHS[dtype]
        # Even sizes: a float32 after an odd number of narrower values cannot be mapped.
        size = 2 * draw(st.one_of(st.just(0), st.integers(1, 3000)))
        before = random.integers(0, 1 << 8 * width, size, dtype=np.uint64).astype(f"<u{width}")
        share = draw(st.sampled_from([0.0, 0.0005, 0.02, 0.3, 1.0]))
        after = changed(before, share, random, draw(st.sampled_from(["next", "special", "random"])))
        old.append((f"t{number}", dtype, before.view(np.uint8), (size,)))
        new.append((f"t{number}", dtype, after.view(np.uint8), (size,)))
    return old, new


def changed(before: NDArray[Any], share: float, random: np.random.Generator, how: str) -> NDArray[Any]:
    width = before.itemsize
    values = {
        "next": before + random.choice(np.array([1, -1]).astype(before.dtype), len(before)),
        "special": random.choice(np.array(SPECIAL[width], before.dtype), len(before)),
        "random": random.integers(0, 1 << 8 * width, len(before), dtype=np.uint64).astype(before.dtype),
    }[how]
    return np.where(random.random(len(before)) < share, values, before)


@given(pair=pairs(), block=st.sampled_from([1, 7, 1000, 1 << 20]))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_delta_gives_the_learners_file_bit_for_bit(
    pair: tuple[list[NamedArray], list[NamedArray]], block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    if block < 1000 and sum(len(array[2]) for array in pair[0]) > 4000:
        block = 1000  # thousands of blocks show nothing new
    monkeypatch.setattr(delta_module, "BLOCK_ELEMENTS", block)
    with TemporaryDirectory() as folder, WeightStore(Path(folder) / "run", root=Path(folder)) as store:
        base, target = (store.write(version, arrays) for version, arrays in enumerate(pair, 4))
        file, result = Path(folder) / "delta", Path(folder) / "result"
        size = make_delta(base, Path(base.path), target, Path(target.path), file)
        assert size == file.stat().st_size
        apply_delta(base, Path(base.path), target, file, result)
        assert result.read_bytes() == Path(target.path).read_bytes()


@given(st.lists(st.integers(0, 1 << 40), min_size=1, max_size=200, unique=True).map(sorted))
def test_gaps_tell_positions_of_any_size(positions: list[int]) -> None:
    far = np.array(positions, np.int64)
    assert positions[-1] < 1 << 31 or far.dtype == np.int64
    width, coded = code_gaps_cheaply(far)
    assert positions_of(width, coded).tolist() == positions


def code_gaps_cheaply(positions: NDArray[np.int64]) -> tuple[int, bytes]:
    """`code_gaps`, which takes gigabytes where few positions lie so far apart that every width is long."""
    width, coded = code_gaps(positions)
    assert len(coded) <= 4 * (len(positions) + int(positions[-1]) // ((1 << 32) - 1))
    return width, coded


@pytest.mark.parametrize("gap", [0, 1, 254, 255, 256, 510, 65534, 65535, 65536, (1 << 32) - 1, 1 << 32])
def test_a_gap_at_the_limit_of_a_width_is_told_exactly(gap: int) -> None:
    positions = np.array([gap, gap + 1, 2 * gap + 2], np.int64)
    width, coded = code_gaps(positions)
    assert width in GAP_DTYPES
    assert positions_of(width, coded).tolist() == positions.tolist()


def two_versions(store: WeightStore, step: int = 1) -> tuple[WeightManifest, WeightManifest]:
    weights = np.arange(40_000, dtype=np.uint16)
    moved = weights.copy()
    moved[::97] += step
    shape = weights.shape
    base = store.write(1, [("a", "bfloat16", weights, shape), ("b", "bfloat16", weights, shape)])
    return base, store.write(2, [("a", "bfloat16", moved, shape), ("b", "bfloat16", weights, shape)])


def made(base: WeightManifest, target: WeightManifest, folder: Path) -> Path:
    file = folder / "delta"
    make_delta(base, Path(base.path), target, Path(target.path), file)
    return file


def test_few_changes_take_few_bytes_and_none_take_next_to_none(store: WeightStore, tmp_path: Path) -> None:
    base, target = two_versions(store)
    assert made(base, target, tmp_path).stat().st_size < 1000 < target.num_bytes / 100
    same = store.write(3, [(t.name, t.dtype, bytes(t.num_bytes), t.shape) for t in base.tensors])
    again = store.write(4, [(t.name, t.dtype, bytes(t.num_bytes), t.shape) for t in base.tensors])
    assert made(same, again, tmp_path).stat().st_size < 300


def test_a_torn_delta_is_refused(store: WeightStore, tmp_path: Path) -> None:
    base, target = two_versions(store)
    whole = made(base, target, tmp_path).read_bytes()
    torn = tmp_path / "torn"
    cuts = [whole[:length] for length in range(0, len(whole), 5)]
    flips = [whole[:i] + bytes([whole[i] ^ 0x40]) + whole[i + 1 :] for i in range(0, len(whole), 3)]
    for content in [*cuts, *flips, whole + b"x"]:
        torn.write_bytes(content)
        with suppress(WeightError):
            apply_delta(base, Path(base.path), target, torn, tmp_path / "result")
            # A bit without meaning, such as the compressor's level: what came out was verified.
            assert (tmp_path / "result").read_bytes() == Path(target.path).read_bytes()
            assert content in flips


def test_a_delta_of_another_base_or_version_is_refused(store: WeightStore, tmp_path: Path) -> None:
    base, target = two_versions(store)
    delta = made(base, target, tmp_path)
    other_base = base.model_copy(update={"version": 0})
    other_life = base.model_copy(
        update={"tensors": tuple(t.model_copy(update={"checksum": t.checksum ^ 1}) for t in base.tensors)}
    )
    for before, after in ((other_base, target), (other_life, target), (target, base), (base, base)):
        with pytest.raises(WeightError, match="the delta makes version 2 of 1"):
            apply_delta(before, Path(base.path), after, delta, tmp_path / "result")


def test_a_base_that_is_not_what_it_is_said_to_be_is_refused(store: WeightStore, tmp_path: Path) -> None:
    base, target = two_versions(store)
    delta = made(base, target, tmp_path)
    content = bytearray(Path(base.path).read_bytes())
    content[-1] ^= 1
    (tmp_path / "damaged").write_bytes(content)
    with pytest.raises(WeightError, match="tensor 'b' fails its checksum"):
        apply_delta(base, tmp_path / "damaged", target, delta, tmp_path / "result")
    (tmp_path / "damaged").write_bytes(content[:-1])
    with pytest.raises(WeightError, match="is not the file of version 1"):
        apply_delta(base, tmp_path / "damaged", target, delta, tmp_path / "result")
    with pytest.raises(WeightError, match="No such file"):
        apply_delta(base, tmp_path / "none", target, delta, tmp_path / "result")


def test_between_different_models_there_is_no_delta(store: WeightStore, tmp_path: Path) -> None:
    base = store.write(1, [("a", "float32", bytes(8), (2,))])
    for other in (("b", "float32", bytes(8), (2,)), ("a", "float32", bytes(8), (1, 2))):
        target = store.write(2, [other])
        with pytest.raises(WeightError, match="hold different tensors"):
            make_delta(base, Path(base.path), target, Path(target.path), tmp_path / "delta")
