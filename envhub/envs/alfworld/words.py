"""Everything that a generated game can say, for its vocabulary."""

from functools import cache

from envhub.envs.alfworld import package, scenes, sights
from envhub.envs.alfworld.generator import KINDS
from envhub.envs.alfworld.planner import THOUGHTS
from envhub.envs.alfworld.wording import standard

MAX_NUMBER = 60
"""No room has more receptacles or things of one kind."""


@cache
def texts() -> tuple[str, ...]:
    """Texts in which every word occurs that a game, its task or its expert can say."""
    found = standard()
    kinds = sorted({*scenes.capacity(), *scenes.carried(), scenes.LAMP})
    sentences = [sentence for kind in KINDS for sentence in package.goal(kind)[1]]
    return (
        " ".join(kinds).lower(),
        " ".join(map(str, range(1, MAX_NUMBER + 1))),
        *found.answers.values(),
        found.task,
        *(sentence.replace("{", " ").replace("}", " ") for sentence in sentences),
        *THOUGHTS.values(),
        *sights.TEXTS,
    )
