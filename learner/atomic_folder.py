"""Folders that appear whole or not at all."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

DRAFT_PREFIX = ".draft-"


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """A draft to write into; becomes `path` when the body succeeds and vanishes when it does not.

        with atomic_folder(path) as draft:
            (draft / "config.json").write_text(...)

    Every file is on the disk before the draft gets its name, so a crash or a power cut leaves either no
    `path` or a whole one (at worst beside a draft, see `is_draft`). A folder that was there is replaced.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=f"{DRAFT_PREFIX}{path.name}-", dir=path.parent))
    try:
        yield draft
        draft.chmod(0o755)
        for file in draft.rglob("*"):
            if file.is_file() and not file.is_symlink():
                # safetensors writes for its owner alone; other accounts may serve the model
                file.chmod(0o644)
            sync(file)
        sync(draft)
        if path.exists():
            replaced = draft.with_name(draft.name + "-replaced")
            path.rename(replaced)
            draft.rename(path)
            shutil.rmtree(replaced)
        else:
            draft.rename(path)
        sync(path.parent)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def is_draft(path: Path) -> bool:
    """Whether `path` is what a crash may leave behind: never finished, never to be read."""
    return path.name.startswith(DRAFT_PREFIX)


def sync(path: Path) -> None:
    """Return when a file or a folder is on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
