"""One line per event, each naming the process."""

import logging
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from common.log import configure_logging


@pytest.fixture(autouse=True)
def _root_logger_is_restored() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    root.handlers = []
    yield
    root.handlers, root.level = handlers, level


def test_an_event_is_one_line_with_time_level_process_and_origin(tmp_path: Path) -> None:
    configure_logging("actor-1", tmp_path / "logs" / "actor-1.log")
    logging.getLogger("actors.actor").info("submitted group=%d text=%s", 3, "two\nlines")
    logging.getLogger("actors.actor").debug("not heard")
    (line,) = (tmp_path / "logs" / "actor-1.log").read_text().splitlines()
    time, _, event = line.partition(" ")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", time)
    assert event == r"INFO actor-1 actors.actor: submitted group=3 text=two\nlines"


def test_a_traceback_follows_its_event(tmp_path: Path) -> None:
    configure_logging("hub", tmp_path / "log")
    try:
        raise KeyError("gone")
    except KeyError:
        logging.getLogger("envhub").exception("lost session=%s", "a")
    lines = (tmp_path / "log").read_text().splitlines()
    assert lines[0].endswith("lost session=a")
    assert lines[-1] == "KeyError: 'gone'"


def test_without_a_file_the_log_goes_to_stderr_once(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("a")
    configure_logging("b", level="warning")
    logging.getLogger("x").warning("heard")
    logging.getLogger("x").info("not heard")
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    assert " WARNING b x: heard" in captured.err


def test_an_unknown_level_is_refused() -> None:
    with pytest.raises(ValueError, match="LOUD"):
        configure_logging("a", level="loud")


def test_a_percent_sign_in_a_name_is_harmless(tmp_path: Path) -> None:
    configure_logging("100%s", tmp_path / "log")
    logging.getLogger("x").info("heard")
    assert "100%s x: heard" in (tmp_path / "log").read_text()
