"""`pronghorn eval`: what is played, by whom, what is kept, and what happens when it is interrupted."""

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from actors.chat_client import Usage
from actors.engine.scripted import ScriptedEngine
from actors.rollout import Table, play
from common.errors import ConfigurationError, EngineFault, PreflightError
from common.messages import Lease, Sampling
from common.trajectory import TaskReference, Trajectory
from envhub.envs.guess_number import HIGHEST
from envhub.local import LocalHub
from launch.cli import main
from launch.evaluated import latest, model_of_run
from launch.evaluation_folder import EvaluationFolder, opened
from launch.evaluation_play import Play, play_all
from launch.evaluation_results import EPISODES, read_episodes, write_results
from launch.persistence import MAX_ATTEMPTS
from tests.actors.fake_api import FakeApi, completion, refusal
from tests.actors.spelled import END, SpelledDialogue, action
from tests.launch.making import run_config

TASKS = [TaskReference(environment="guess_number", task=f"number-00{index}", seed=3) for index in range(4)]
PLAYS = [Play(index, task, sample) for index, task in enumerate(TASKS) for sample in range(2)]
SETTINGS = {"samples": 2, "horizon": 2}


def files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def texts(folder: Path) -> list[str]:
    return [path.read_text(errors="replace") for path in files(folder)]


class Seat:
    """A scripted engine at a table, as a player."""

    def __init__(self, *texts: str) -> None:
        self.engine = ScriptedEngine([action(text) for text in texts], end_token_ids=(END,))
        self.engine._is_running = True
        self._table = Table("evaluation", LocalHub(), self.engine, SpelledDialogue, "plain", episode_s=60)

    async def __call__(self, lease: Lease, usage: Usage, /) -> Trajectory:
        return await play(lease, self._table)


async def evaluate(folder: EvaluationFolder, player: Any, plays: list[Play], **changes: Any) -> None:
    values = {"run": "r", "horizon": 2, "sampling": Sampling(max_episode_tokens=4000), "max_sessions": 4}
    await play_all(plays, player, folder, **values | changes)


async def test_every_task_is_played_so_often_with_the_evaluations_horizon(tmp_path: Path) -> None:
    with opened(tmp_path, SETTINGS, resumes=False) as folder:
        await evaluate(folder, Seat("guess 1"), PLAYS)
    assert folder.done == {
        (("guess_number", f"number-00{i}", 3), sample) for i in range(4) for sample in (0, 1)
    }
    assert {result.num_turns for result in folder.results} == {2}
    assert {result.outcome for result in folder.results} == {"truncated_by_horizon"}


async def test_an_episode_that_broke_by_a_fault_is_played_again(tmp_path: Path) -> None:
    seat = Seat("guess 1")
    seat.engine.fail_next(MAX_ATTEMPTS - 1)
    with opened(tmp_path, SETTINGS, resumes=False) as folder:
        await evaluate(folder, seat, PLAYS, max_sessions=1)
    assert len(folder.results) == len(PLAYS)


async def test_episodes_that_break_together_end_the_evaluation_with_one_error(tmp_path: Path) -> None:
    seat = Seat("guess 1")
    seat.engine.fail_next(MAX_ATTEMPTS * len(PLAYS))
    with (
        opened(tmp_path, SETTINGS, resumes=False) as folder,
        pytest.raises(EngineFault, match="told to fail"),
    ):
        await evaluate(folder, seat, PLAYS)


async def test_what_was_played_before_a_death_is_not_played_again(tmp_path: Path) -> None:
    with opened(tmp_path, SETTINGS, resumes=False) as folder:
        await evaluate(folder, Seat("guess 1"), PLAYS[:3])
    with (tmp_path / "episodes.jsonl").open("ab") as file:
        file.write(b'{"result": {"environment": "gue')  # torn by a kill
    with opened(tmp_path, SETTINGS, resumes=True) as again:
        assert len(again.lines) == 3
        missing = [
            p for p in PLAYS if ((p.task.environment, p.task.task, p.task.seed), p.sample) not in again.done
        ]
        assert missing == PLAYS[3:]
        seat = Seat("guess 1")
        await evaluate(again, seat, missing)
        assert len(again.results) == len(PLAYS)
    assert len(seat.engine.prompts) == 2 * len(missing)
    lines = (tmp_path / "episodes.jsonl").read_text().splitlines()
    assert len([json.loads(line) for line in lines]) == len(PLAYS)
    assert json.loads(lines[0])["turns"][0]["action"] == "guess 1"


def test_a_folder_that_holds_an_evaluation_is_never_overwritten(tmp_path: Path) -> None:
    with opened(tmp_path, SETTINGS, resumes=False):
        pass
    with (
        pytest.raises(ConfigurationError, match="holds an evaluation already; give --resume"),
        opened(tmp_path, SETTINGS, resumes=False),
    ):
        pass
    with (
        pytest.raises(ConfigurationError, match=r"horizon = 3: the evaluation in .* began with 2"),
        opened(tmp_path, SETTINGS | {"horizon": 3}, resumes=True),
    ):
        pass


def test_two_processes_never_play_one_evaluation(tmp_path: Path) -> None:
    with (
        opened(tmp_path, SETTINGS, resumes=False),
        pytest.raises(PreflightError, match="another process plays this evaluation"),
        opened(tmp_path, SETTINGS, resumes=True),
    ):
        pass


def test_a_broken_line_is_told_with_its_number(tmp_path: Path) -> None:
    with opened(tmp_path, SETTINGS, resumes=False):
        pass
    (tmp_path / "episodes.jsonl").write_text('{"fault": "x"}\n{"result": 3}\n{"fault": "y"}\n')
    with (
        pytest.raises(ConfigurationError, match=r"episodes\.jsonl: line 2: "),
        opened(tmp_path, SETTINGS, resumes=True),
    ):
        pass


async def test_results_are_the_same_when_they_are_read_back(tmp_path: Path) -> None:
    with opened(tmp_path, SETTINGS, resumes=False) as folder:
        await evaluate(folder, Seat("guess 1", "guess 2"), PLAYS)
        values = write_results(folder, settings=SETTINGS, config={"a": 1}, prices=(0.0, 0.0))
        assert sorted(read_episodes(tmp_path / EPISODES), key=lambda r: (*r.key, r.sample)) == sorted(
            folder.results, key=lambda r: (*r.key, r.sample)
        )
    assert json.loads((tmp_path / "results.json").read_text()) == json.loads(json.dumps(values))
    assert values["summary"]["num_tasks"] == 4
    assert sorted(path.name for path in files(tmp_path)) == [
        "episodes.jsonl",
        "episodes.parquet",
        "results.json",
        "settings.json",
    ]


def test_the_model_is_the_final_one_else_what_learning_began_with(tmp_path: Path) -> None:
    config = run_config(tmp_path)
    folder = config.run.folder
    with pytest.raises(ConfigurationError, match="has no model yet"):
        model_of_run(config)
    for model in (folder.model, folder.warm_start, folder.final_model):
        model.mkdir(parents=True)
        assert model_of_run(config) == model


def test_what_is_no_run_has_no_latest_weights(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="not a run"):
        latest(run_config(tmp_path).run.folder)


def test_the_help_says_which_model_is_played(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["eval", "--help"])
    said = " ".join(capsys.readouterr().out.split())
    assert "default: the run's final model, or what reinforcement learning began with" in said


CONFIG = """
[run]
name = "trial"
directory = "{directory}"
[model]
source = "small"
[tasks]
environment = "guess_number"
action_format = "plain"
[evaluation]
num_tasks = 3
horizon = 4
[api]
calls_per_s = 1000
first_wait_s = 0.001
max_wait_s = 0.01
max_retries = 2
"""


class Arguments:
    """`pronghorn eval` of an API, as it is typed."""

    def __init__(self, folder: Path, url: str) -> None:
        self.out = folder / "out"
        config = folder / "config.toml"
        config.write_text(CONFIG.format(directory=folder / "runs"))
        self.base = ["eval", str(config), f"--api={url}", "--api-model=m", f"--out={self.out}"]

    async def run(self, *more: str) -> int:
        return await asyncio.to_thread(main, [*self.base, *more])

    @property
    def results(self) -> dict[str, Any]:
        return json.loads((self.out / "results.json").read_text())


def halving(messages: list[dict[str, str]]) -> str:
    """Bisects, so that some numbers are found within the horizon and others are not."""
    low, high = 1, HIGHEST
    for said, heard in zip(messages[2::2], messages[3::2], strict=False):
        number = int(said["content"].split()[1])
        if "higher" in heard["content"].lower():
            low = number + 1
        elif "lower" in heard["content"].lower():
            high = number - 1
    return f"guess {(low + high) // 2}"


async def test_an_api_plays_is_counted_and_its_key_is_nowhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PRONGHORN_API_KEY", "sk-very-secret")
    api = FakeApi(policy=halving)
    async with api as url:
        assert await Arguments(tmp_path, url).run("--price-in=2", "--price-out=8", "--samples=2") == 0
        results = Arguments(tmp_path, url).results
    requests = len(api.requests)
    assert results["cost"]["num_requests"] == requests
    assert results["cost"]["money"] == pytest.approx(requests * (10 * 2 + 3 * 8) / 1e6)
    assert (results["summary"]["num_tasks"], results["summary"]["samples"]) == (3, 2)
    assert set(api.keys) == {"Bearer sk-very-secret"}
    assert [m["role"] for m in api.requests[-1]["messages"]][:3] == ["system", "user", "assistant"]
    said = capsys.readouterr()
    kept = texts(tmp_path)
    assert not any("sk-very-secret" in text for text in [*kept, said.out, said.err])
    assert "avg@2" in said.out
    assert 0 < results["summary"]["success"] < 1
    assert all(len(line) <= 80 for line in said.out.splitlines()[:6])


async def test_an_api_that_dies_leaves_what_was_played_and_resume_asks_for_the_rest_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    api = FakeApi(policy=lambda _: "guess 1")
    api.plan = [lambda: completion("guess 1")] * 4 + [lambda: refusal(401, "key withdrawn")]
    async with api as url:
        arguments = Arguments(tmp_path, url)
        assert await arguments.run("--actor.max_sessions=1") == 1
        assert "key withdrawn" in capsys.readouterr().err
        assert not (arguments.out / "results.json").exists()
        lines = (arguments.out / "episodes.jsonl").read_text().splitlines()
        assert sum(json.loads(line)["result"] is not None for line in lines) == 1
        assert await arguments.run() == 2  # not without --resume
        before = len(api.requests)
        assert await arguments.run("--resume") == 0
        assert len(api.requests) - before == 2 * 4
        assert arguments.results["cost"]["num_requests"] == len(api.requests) == 13
        assert await arguments.run("--resume") == 0  # nothing left to play
        assert len(api.requests) - before == 2 * 4


async def test_what_a_broken_episode_cost_is_counted_too(tmp_path: Path) -> None:
    api = FakeApi(policy=lambda _: "guess 1")
    api.plan = [lambda: completion("guess 1"), *[lambda: refusal(500)] * 3]
    async with api as url:
        arguments = Arguments(tmp_path, url)
        assert await arguments.run("--actor.max_sessions=1") == 0
    results = arguments.results
    assert results["num_unfinished"] == 1
    assert results["cost"]["num_requests"] == len(api.requests) == 4 + 3 * 4
    assert results["cost"]["prompt_tokens"] == (1 + 3 * 4) * 10


async def test_an_api_without_a_model_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = Arguments(tmp_path, "http://nowhere/v1")
    arguments.base = [part for part in arguments.base if "api-model" not in part]
    assert await arguments.run() == 2
    assert "--api-model: say which model" in capsys.readouterr().err


async def test_greedy_plays_of_one_task_are_not_counted_as_many(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert await Arguments(tmp_path, "http://nowhere/v1").run("--greedy", "--samples=4") == 2
    assert "greedy plays of a task are alike" in capsys.readouterr().err


async def test_a_killed_evaluation_goes_on_where_it_was(tmp_path: Path) -> None:
    api = FakeApi(policy=lambda _: "guess 1")
    api.plan = [*[lambda: completion("guess 1")] * 5, "hang"]
    async with api as url:
        arguments = Arguments(tmp_path, url)
        command = [sys.executable, "-m", "launch.cli", *arguments.base, "--actor.max_sessions=1"]
        process = await asyncio.create_subprocess_exec(*command)
        async with asyncio.timeout(120):
            while len(api.requests) < 6:  # noqa: ASYNC110 - nobody announces it
                await asyncio.sleep(0.05)
        process.kill()
        await process.wait()
        assert await arguments.run("--resume") == 0
    assert len(api.requests) == 6 + 2 * 4
    assert arguments.results["summary"]["num_episodes"] == 3
    assert arguments.results["cost"]["num_requests"] == 3 * 4


def test_a_run_that_would_train_on_greedy_episodes_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"sampling\.temperature = 0: greedy episodes"):
        run_config(tmp_path, sampling={"temperature": 0})
