"""What a checkpoint says about itself; reads it without torch."""

import json
from pathlib import Path
from typing import Any, Literal

import xxhash
from pydantic import Field, ValidationError, model_validator

from common.errors import CheckpointError
from common.trajectory import Record

FORMAT: Literal[2] = 2
NAME = "manifest.json"


def shard_name(rank: int) -> str:
    """The tensors of one rank."""
    return f"rank-{rank:05d}.safetensors"


def random_name(rank: int) -> str:
    """The random generators of one rank."""
    return f"random-{rank:05d}.json"


class Manifest(Record):
    """`manifest.json`, written last: a folder that has one is whole."""

    format: Literal[2] = FORMAT
    step: int = Field(ge=0)
    num_skipped: int = Field(ge=0)
    num_ranks: int = Field(ge=1)
    """How many wrote it; any number may read it."""
    ledger: dict[str, Any]
    """The ledger position of the copy, not of the moment when it was on the disk."""
    fingerprint: str
    """Which model, see `checkpoint.fingerprint`."""
    checksums: dict[str, str]
    """xxh3-64 of every other file, hexadecimal."""

    @model_validator(mode="after")
    def _is_complete(self) -> "Manifest":
        ranks = range(self.num_ranks)
        if missing := {name(r) for r in ranks for name in (shard_name, random_name)} - self.checksums.keys():
            raise ValueError(f"no checksum of {min(missing)}")
        return self

    @property
    def identity(self) -> str:
        """16 hexadecimal digits over the tensors of all ranks."""
        sums = [f"{name} {self.checksums[name]}" for name in map(shard_name, range(self.num_ranks))]
        return xxhash.xxh3_64("\n".join(sums).encode()).hexdigest()


def read_manifest(path: Path) -> Manifest:
    """The manifest of the checkpoint in `path`.

    Raises CheckpointError, one line that names the file, when it is not there, broken or of another format.
    """
    file = path / NAME
    try:
        rows = json.loads(file.read_text())
        found = rows.get("format") if isinstance(rows, dict) else None
        if isinstance(found, int) and found != FORMAT:
            raise CheckpointError(
                f"{file}: format {found}; this release reads format {FORMAT} alone: go on with the release "
                "that wrote it, or move the folder away"
            )
        return Manifest.model_validate(rows)
    except ValidationError as error:
        first = error.errors()[0]
        raise CheckpointError(f"{file}: {'.'.join(map(str, first['loc']))} {first['msg']}") from error
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{file}: {error}") from error


def verify(path: Path, manifest: Manifest, names: list[str] | None = None) -> None:
    """CheckpointError, naming the file, unless files (all, without `names`) are what was written."""
    for name in sorted(manifest.checksums) if names is None else names:
        file = path / name
        if not file.is_file():
            raise CheckpointError(f"{file}: missing")
        found = checksum(file)
        if found != manifest.checksums[name]:
            raise CheckpointError(
                f"{file}: checksum {found}, the manifest says {manifest.checksums[name]}: the file is torn"
            )


def checksum(file: Path) -> str:
    """xxh3-64 of a file, hexadecimal."""
    digest = xxhash.xxh3_64()
    with file.open("rb") as stream:
        while chunk := stream.read(1 << 22):
            digest.update(chunk)
    return digest.hexdigest()
