"""Every shipped configuration is valid, can be written and read back, and asks for tasks that exist."""

import shutil
import tomllib
from pathlib import Path

import pytest
import tomli_w

from common.config import load
from common.errors import ConfigurationError, PreflightError
from launch.config import RunConfig
from launch.preflight import check_tasks

ROOT = Path(__file__).parents[1]
CONFIGS = sorted((ROOT / "configs").glob("*.toml"))
WORLDS = ("textcraft", "babyai", "sciworld", "alfworld", "maze", "wordle")
every_config = pytest.mark.parametrize("file", CONFIGS, ids=lambda file: file.stem)


def test_the_configurations_that_the_readme_names_are_there() -> None:
    named = {"quickstart", "debug", "textcraft_smollm2", "mixture", *WORLDS}
    assert named <= {file.stem for file in CONFIGS}


@every_config
def test_it_loads_and_its_run_is_named_after_it(file: Path) -> None:
    config = load(RunConfig, [file])
    assert config.run.name.replace("-", "_") == file.stem


@every_config
def test_written_out_in_full_it_reads_back_the_same(file: Path, tmp_path: Path) -> None:
    config = load(RunConfig, [file])
    (tmp_path / "full.toml").write_text(tomli_w.dumps(config.model_dump(mode="json", exclude_none=True)))
    assert load(RunConfig, [tmp_path / "full.toml"]) == config


@every_config
def test_its_tasks_exist(file: Path) -> None:
    config = load(RunConfig, [file])
    try:
        check_tasks(config)
    except PreflightError as missing:
        pytest.skip(str(missing))


@every_config
def test_its_model_holds_its_longest_episode(file: Path) -> None:
    config = load(RunConfig, [file])
    if config.model.source == "small":
        assert config.sampling.max_episode_tokens <= config.model.small.max_length


@every_config
def test_it_needs_no_ports_cores_or_paths_of_one_machine(file: Path) -> None:
    config = load(RunConfig, [file])
    assert (config.hub.port, config.bus.ledger_port) == (0, 0)
    assert not config.learner.cpu_cores
    assert not Path(config.run.directory).is_absolute()


def test_later_files_win_and_overrides_win_over_files(tmp_path: Path) -> None:
    debug = ROOT / "configs" / "debug.toml"
    overlay = tmp_path / "overlay.toml"
    overlay.write_text("[learner]\nsteps = 7\nlearning_rate = 0.5\n")
    config = load(RunConfig, [debug, overlay], ["--learner.learning-rate=0.25", "--run.name=mine"])
    assert (config.learner.steps, config.learner.learning_rate, config.run.name) == (7, 0.25, "mine")
    assert config.learner.group_size == load(RunConfig, [debug]).learner.group_size


def test_a_key_that_nothing_reads_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "typo.toml"
    shutil.copy(ROOT / "configs" / "debug.toml", file)
    values = tomllib.loads(file.read_text())
    values["learner"]["lr"] = 1e-4
    file.write_text(tomli_w.dumps(values))
    with pytest.raises(ConfigurationError, match=r"learner\.lr = 0\.0001: unknown key"):
        load(RunConfig, [file])
