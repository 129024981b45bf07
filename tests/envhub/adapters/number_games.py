"""A taskset as a user of verifiers writes one: TextArena's number game, played by verifiers' TextArenaEnv."""

import random
from collections.abc import Iterator

import textarena
import verifiers.v1 as vf
from verifiers.v1.tasksets.textarena import TextArenaData, TextArenaEnv, TextArenaTask

__all__ = ["NumberGames", "TextArenaEnv"]

NUM_GAMES = 12


class NumberGamesConfig(vf.TasksetConfig):
    game: str = "GuessTheNumber-v0"
    system_prompts: int = 1


class NumberGames(vf.Taskset[TextArenaTask, NumberGamesConfig]):
    def load(self) -> Iterator[TextArenaTask]:
        for seed in range(NUM_GAMES):
            random.seed(seed)
            game = textarena.make(env_id=self.config.game)
            game.reset(num_players=1)
            data = TextArenaData(
                prompt=str(game.get_observation()[1]),
                system_prompt=f"Play game {seed % self.config.system_prompts}.",
                info={"game": self.config.game, "seed": seed},
            )
            yield TextArenaTask(data, self.config.task)
