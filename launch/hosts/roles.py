"""The commands of a run over several hosts: as those of `launch/roles.py`, for the Python of another host."""

from pathlib import Path

from envhub.config import TOKEN_VARIABLE
from launch.config import RunConfig
from launch.hosts.settings import learner_keys
from launch.processes import Command
from launch.roles import TORCHRUN_LEAVE_S, share_of_cores


class HostRoles:
    """What one host starts; `config` is its own, `folder` the coordinator's, where its logs are gathered."""

    def __init__(self, name: str, config: RunConfig, folder: Path, token: str) -> None:
        self.name = name
        self._config = config
        self._folder = folder
        self._token = token

    @property
    def file(self) -> str:
        """The host's configuration, below its run folder."""
        return f"hosts/{self.name}.toml"

    def hub(self) -> Command:
        """The environment server."""
        return self._command("hub", "-m", "envhub", self._path)

    def prepare(self) -> Command:
        """Every stage before training."""
        threads = self._config.learner.num_threads + self._config.actor.engine.num_threads
        return self._command("prepare", "-m", "launch.hosts.prepare", self._path, num_threads=threads)

    def learner(self) -> Command:
        """All ranks of the learner on this host."""
        config = self._config
        return self._command(
            "learner",
            *("-m", "launch.cli", "learner", self._path, learner_keys(config)),
            num_threads=config.learner.num_threads,
            cpu_cores=config.learner.cpu_cores,
            stop_s=config.supervision.learner_stop_s + TORCHRUN_LEAVE_S,
        )

    def relay(self) -> Command:
        """The weight relay."""
        return self._command("relay", "-m", "launch.cli", "relay", self._path, f"--name={self.name}")

    def actors(self) -> list[Command]:
        """All actors; each has a name that no other host's has."""
        engine, number = self._config.actor.engine, self._config.actor.num_actors
        return [
            self._command(
                f"actor-{index}",
                *("-m", "actors", self._path, f"--name={self.name}-actor-{index}"),
                num_threads=engine.num_threads,
                cpu_cores=share_of_cores(engine.cpu_cores, index, number),
            )
            for index in range(number)
        ]

    @property
    def _path(self) -> str:
        return str(self._config.run.folder.path / self.file)

    def _command(
        self,
        role: str,
        *arguments: str,
        num_threads: int = 1,
        cpu_cores: tuple[int, ...] = (),
        stop_s: float | None = None,
    ) -> Command:
        name = f"{self.name}-{role}"
        return Command(
            name=name,
            arguments=arguments,
            log=self._folder / "logs" / f"{name}.log",
            num_threads=num_threads,
            cpu_cores=cpu_cores,
            stop_s=self._config.supervision.stop_s if stop_s is None else stop_s,
            environment={TOKEN_VARIABLE: self._token},
        )
