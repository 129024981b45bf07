"""Everything that `/v1` offers, in one table: the routes and their description are both made from it.

    for endpoint in ENDPOINTS:
        application.router.add_route(endpoint.method, endpoint.path, handlers[endpoint.name])

AgentGym's dialects, which are mounted beside it, are described by AgentGym.
"""

import re
from dataclasses import dataclass
from functools import cached_property
from typing import Final, Literal

from pydantic import BaseModel

from envhub import answers, bodies
from envhub.refusal import STATUS, Code

Group = Literal["Environments", "Sessions", "The hub"]

_PLACE = re.compile(r"\{(\w+)\}")
_LOST: Final[tuple[Code, ...]] = ("worker_hung", "worker_died", "worker_too_large", "no_worker")
"""What may befall whatever a worker is asked."""
_NAMED: Final[tuple[Code, ...]] = (
    "unknown_environment",
    "environment_unavailable",
    "environment_fault",
    *_LOST,
)
"""What may befall a request that names an environment."""
_PLAYED: Final[tuple[Code, ...]] = (
    "unknown_session",
    "environment_fault",
    "worker_hung",
    "worker_died",
    "worker_too_large",
)
"""What may befall a request that names a session."""


@dataclass(frozen=True)
class PathParameter:
    """A part of a path that the caller fills in, percent-encoded."""

    name: str
    description: str
    example: str
    kind: Literal["string", "integer"] = "string"


PATH_PARAMETERS: Final = {
    parameter.name: parameter
    for parameter in (
        PathParameter("name", "An environment, as /v1/environments names it.", "textcraft"),
        PathParameter("task", "A task's name, or the id that AgentGym has for it.", "textcraft_oak_boat"),
        PathParameter("index", "AgentGym's data_idx, from 0.", "307", "integer"),
        PathParameter("session", "The id that POST /v1/sessions answered.", "m3Xc0zq9ZcS8s7yUu1sTaw"),
    )
}


@dataclass(frozen=True)
class Endpoint:
    """One method of one path; `name` is that of its handler."""

    name: str
    method: Literal["GET", "POST", "DELETE"]
    path: str
    group: Group
    summary: str
    description: str
    answer: type[BaseModel] | str
    """A model, sent as JSON or MessagePack; or the media type of what is sent in no other way."""
    own_codes: tuple[Code, ...] = ()
    """Refusals besides those that any endpoint of its kind may give; see `codes`."""
    body: type[BaseModel] | None = None
    query: type[BaseModel] | None = None
    is_open: bool = False
    """Needs no token."""

    @cached_property
    def parameters(self) -> tuple[PathParameter, ...]:
        """Of the path, from left to right."""
        return tuple(PATH_PARAMETERS[name] for name in _PLACE.findall(self.path))

    @cached_property
    def codes(self) -> tuple[Code, ...]:
        """Every code that a refusal may have, sorted by status."""
        found: set[Code] = {"bad_request", "foreign_origin", "rate_limited", *self.own_codes}
        if not self.is_open:
            found.add("unauthorized")
        if self.parameters:
            # A part with a brace or a slash in it is not that path.
            found.add("unknown_path")
        if self.method == "POST":
            found |= {"too_large", "too_slow"}
        return tuple(sorted(found, key=lambda code: (STATUS[code], code)))


ENDPOINTS: Final = (
    Endpoint(
        *("environments", "GET", "/v1/environments", "Environments"),
        "What there is to play",
        "Every environment that this hub serves. One that cannot be played here says what is missing.",
        answers.EnvironmentsAnswer,
        _LOST,
    ),
    Endpoint(
        *("describe", "GET", "/v1/environments/{name}", "Environments"),
        "One environment",
        "How many tasks it has, how long they take, which action formats it reads, what backs it.",
        answers.EnvironmentInfo,
        _NAMED,
    ),
    Endpoint(
        *("tasks", "GET", "/v1/environments/{name}/tasks", "Environments"),
        "Its tasks",
        "The tasks of one split in their frozen order: the first hundred are the same hundred everywhere.",
        answers.TasksAnswer,
        _NAMED,
        query=bodies.TaskQuery,
    ),
    Endpoint(
        *("find_task", "GET", "/v1/environments/{name}/tasks/{task}", "Environments"),
        "One task",
        "What is known about a task, under its canonical name. Tasks that no split lists are found too.",
        answers.TaskAnswer,
        ("unknown_task", *_NAMED),
    ),
    Endpoint(
        *("indexed", "GET", "/v1/environments/{name}/indexed/{index}", "Environments"),
        "The task of an AgentGym index",
        "The task that AgentGym's data_idx means; the range is told for any other number.",
        answers.TaskAnswer,
        ("unknown_task", *_NAMED),
    ),
    Endpoint(
        *("vocabulary", "GET", "/v1/environments/{name}/vocabulary", "Environments"),
        "Every word it can say",
        "The words of its instructions, its observations and its expert's moves, for word-level tokenizers.",
        answers.VocabularyAnswer,
        _NAMED,
    ),
    Endpoint(
        *("open", "POST", "/v1/sessions", "Sessions"),
        "Begin an episode",
        "A new session under an unguessable id. It ends when closed, or when nobody touches it for a while.",
        answers.OpenedAnswer,
        ("unknown_task", "hub_full", "hub_draining", *_NAMED),
        body=bodies.CreateBody,
    ),
    Endpoint(
        *("step", "POST", "/v1/sessions/{session}/step", "Sessions"),
        "Play one turn",
        "Every turn has its index, so a step sent again after its answer was lost is not played twice.",
        answers.StepAnswer,
        ("wrong_index", "episode_over", "hub_full", *_PLAYED),
        body=bodies.StepBody,
    ),
    Endpoint(
        *("step_many", "POST", "/v1/step", "Sessions"),
        "Play one turn of many sessions",
        "Steps are answered in their order. Sessions are played side by side, several turns of one session "
        "one after the other. A step that is refused says so in its place, with the codes of a single step.",
        answers.BatchAnswer,
        body=bodies.BatchBody,
    ),
    Endpoint(
        *("observation", "GET", "/v1/sessions/{session}/observation", "Sessions"),
        "What was shown last",
        "The observation of the last turn, or the first one of all.",
        answers.ObservationAnswer,
        _PLAYED,
    ),
    Endpoint(
        *("actions", "GET", "/v1/sessions/{session}/actions", "Sessions"),
        "What could be done now",
        "Hints: some actions that are possible in this state, where the environment knows them.",
        answers.ActionsAnswer,
        _PLAYED,
    ),
    Endpoint(
        *("render", "GET", "/v1/sessions/{session}/render", "Sessions"),
        "The world as text",
        "The state for people, including what the policy may not see.",
        answers.RenderAnswer,
        _PLAYED,
    ),
    Endpoint(
        *("detail", "GET", "/v1/sessions/{session}/detail", "Sessions"),
        "The world as facts",
        "The state for programs, such as an inventory; never the answer to the task.",
        answers.DetailAnswer,
        _PLAYED,
    ),
    Endpoint(
        *("picture", "GET", "/v1/sessions/{session}/picture", "Sessions"),
        "The world as a picture",
        "A PNG, where the environment draws one.",
        "image/png",
        ("no_picture", *_PLAYED),
    ),
    Endpoint(
        *("close", "DELETE", "/v1/sessions/{session}", "Sessions"),
        "End a session",
        "Gives back what it holds. A session that is not closed ends by its time to live.",
        answers.ClosedAnswer,
        ("unknown_session",),
    ),
    Endpoint(
        *("health", "GET", "/healthz", "The hub"),
        "Whether it lives",
        "Answered without a token and without asking a worker.",
        answers.HealthAnswer,
        is_open=True,
    ),
    Endpoint(
        *("load", "GET", "/v1/load", "The hub"),
        "How busy it is",
        "What a client with several hubs chooses by; answered without asking a worker.",
        answers.LoadAnswer,
    ),
    Endpoint(
        *("metrics", "GET", "/metrics", "The hub"),
        "Counters for Prometheus",
        "Sessions, steps, refusals and faults, and how long steps take; text format 0.0.4.",
        "text/plain",
    ),
    Endpoint(
        *("openapi", "GET", "/openapi.json", "The hub"),
        "This description for programs",
        "OpenAPI 3.1.",
        "application/json",
    ),
    Endpoint(
        *("docs", "GET", "/docs", "The hub"),
        "This description for people",
        "One page of HTML without scripts.",
        "text/html",
    ),
)
OPEN_PATHS: Final = tuple(endpoint.path for endpoint in ENDPOINTS if endpoint.is_open)
"""What needs no token."""
