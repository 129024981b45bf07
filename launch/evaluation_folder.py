"""The folder of one evaluation: what was asked, every episode as it ends, and the result.

settings.json       what is played and by whom; a resumed evaluation must ask the same
episodes.jsonl      one line per episode with its transcript, on the disk before the next is counted
results.json        every number, the configuration, the versions of what played
episodes.parquet    one row per episode
"""

import fcntl
import json
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from pydantic import Field, ValidationError

from common.errors import ConfigurationError, PreflightError
from common.evaluation import EpisodeResult, TaskKey
from common.run_directory import write_json
from common.trajectory import Record, Trajectory

PlayKey = tuple[TaskKey, int]
"""A task and which of its plays."""


class SpokenTurn(Record):
    """One exchange, for people."""

    observation: str
    action: str
    reward: float
    is_malformed: bool


class Spent(Record):
    """What an episode cost at an API; all 0 for an engine of one's own."""

    num_requests: int = Field(default=0, ge=0)
    num_retries: int = Field(default=0, ge=0)
    prompt_tokens: int = Field(default=0, ge=0)
    completion_tokens: int = Field(default=0, ge=0)
    num_uncounted: int = Field(default=0, ge=0)


class EpisodeLine(Record):
    """One episode that was played, or that came to no end after it had cost something."""

    result: EpisodeResult | None = None
    """None: it broke or was interrupted, and is played again."""
    fault: str = ""
    spent: Spent = Spent()
    turns: tuple[SpokenTurn, ...] = ()


def spoken(trajectory: Trajectory) -> tuple[SpokenTurn, ...]:
    """The transcript of an episode."""
    return tuple(
        SpokenTurn(
            observation=turn.observation,
            action=turn.action,
            reward=turn.reward,
            is_malformed=turn.is_malformed,
        )
        for turn in trajectory.turns
    )


class EvaluationFolder:
    """The evaluation in `path` while this process plays it; see `opened`."""

    def __init__(self, path: Path, file: IO[bytes], lines: list[EpisodeLine]) -> None:
        self.path = path
        self.lines = lines
        """Every episode so far, of earlier starts too."""
        self._file = file
        self._lock = threading.Lock()

    @property
    def results(self) -> list[EpisodeResult]:
        """The counts of the episodes that were played to their end."""
        return [line.result for line in self.lines if line.result is not None]

    @property
    def done(self) -> set[PlayKey]:
        """What need not be played any more."""
        return {(result.key, result.sample) for result in self.results}

    def append(self, line: EpisodeLine) -> None:
        """Keep one episode; on the disk when this returns. PreflightError when the disk refuses."""
        with self._lock:
            try:
                self._file.write(line.model_dump_json().encode() + b"\n")
                self._file.flush()
                os.fsync(self._file.fileno())
            except OSError as error:
                raise PreflightError(f"{self.path / 'episodes.jsonl'}: {error.strerror}") from error
            self.lines.append(line)


@contextmanager
def opened(path: Path, settings: dict[str, Any], *, resumes: bool) -> Iterator[EvaluationFolder]:
    """Begin an evaluation in `path`, or go on with the one there.

    ConfigurationError when there is one already and `resumes` is False, when it was asked something else, or
    when its episodes cannot be read; PreflightError when another process plays it.
    """
    asked = path / "settings.json"
    if asked.exists():
        if not resumes:
            raise ConfigurationError(f"{path}: holds an evaluation already; give --resume, or another --out")
        _refuse_another(asked, settings)
    try:
        path.mkdir(parents=True, exist_ok=True)
        file = (path / "episodes.jsonl").open("a+b")
    except OSError as error:
        raise PreflightError(f"{path}: no place for an evaluation: {error.strerror}") from None
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise PreflightError(f"{path}: another process plays this evaluation") from None
        lines = _read(file, path / "episodes.jsonl")
        write_json(asked, settings)
        yield EvaluationFolder(path, file, lines)


def _refuse_another(asked: Path, settings: dict[str, Any]) -> None:
    before = json.loads(asked.read_text())
    now = json.loads(json.dumps(settings))
    for name in sorted(before.keys() | now.keys()):
        if before.get(name) != now.get(name):
            raise ConfigurationError(
                f"{name} = {_short(now.get(name))}: the evaluation in {asked.parent} began with "
                f"{_short(before.get(name))}; resume with that, or give another --out"
            )


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 200 else f"{text[:200]}..."


def _read(file: IO[bytes], path: Path) -> list[EpisodeLine]:
    """Every whole line; a last one that a crash has torn is cut off."""
    file.seek(0)
    lines, end = [], 0
    for number, text in enumerate(file, start=1):
        if not text.endswith(b"\n"):
            break
        try:
            lines.append(EpisodeLine.model_validate_json(text))
        except ValidationError as error:
            first = error.errors()[0]
            raise ConfigurationError(f"{path}: line {number}: {first['msg']}") from None
        end += len(text)
    file.truncate(end)
    return lines
