"""AgentGym's clients as the compatibility checklist describes them: the same requests, the same keys read.

Synchronous, a connection per request, and nothing is checked but the status: a missing key is a KeyError here
as it is there.
"""

import http.client
import json
import re
from typing import Any, ClassVar
from urllib.parse import urlencode, urlsplit


class StatusError(AssertionError):
    """The status was not 200."""


def call(
    method: str, url: str, body: Any = None, raw: bytes | None = None, **headers: str
) -> tuple[int, Any]:
    """One request over its own connection; no body and no content type unless one is given."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=30)
    path = parts.path + (f"?{parts.query}" if parts.query else "")
    if body is not None:
        raw, headers = json.dumps(body).encode(), {"Content-Type": "application/json", **headers}
    try:
        connection.request(method, path, body=raw, headers=headers)
        response = connection.getresponse()
        return response.status, json.loads(response.read())
    finally:
        connection.close()


class Client:
    """`create` in the constructor, then `reset`, `observe`, `step`, `close`."""

    create_body: ClassVar[Any] = None
    id_key: ClassVar[str] = "id"
    task_key: ClassVar[str] = "data_idx"

    def __init__(self, base: str) -> None:
        self.base = base
        self.id = self.created(self.post("create", self.create_body))
        assert isinstance(self.id, int)
        self.info: dict[str, Any] = {}

    def post(self, path: str, body: Any = None) -> Any:
        status, answer = call("POST", f"{self.base}/{path}", body)
        if status != 200:
            raise StatusError(f"{path}: {status} {answer}")
        return answer

    def get(self, path: str) -> Any:
        status, answer = call("GET", f"{self.base}/{path}?{urlencode({self.id_key: self.id})}")
        if status != 200:
            raise StatusError(f"{path}: {status} {answer}")
        return answer

    def created(self, answer: Any) -> int:
        return int(answer["id"])

    def act(self, text: str) -> Any:
        return self.post("step", {self.id_key: self.id, "action": self.parsed(text)})

    def parsed(self, text: str) -> str:
        """The action that is sent for what a policy wrote."""
        return text.removesuffix("</s>").split("Action:", 1)[-1].strip()

    def begin(self, index: Any, **more: Any) -> Any:
        return self.post("reset", {self.id_key: self.id, self.task_key: index, **more})

    def reset(self, index: int) -> None:
        self.info = dict(self.begin(index))

    def observe(self) -> str:
        return str(self.info["observation"])

    def step(self, text: str) -> tuple[str, float, bool]:
        self.info = dict(self.act(text))
        return self.info["observation"], self.info["reward"], self.info["done"]

    def close(self) -> Any:
        return self.post("close", {self.id_key: self.id})


class TextCraftClient(Client):
    create_body: ClassVar[Any] = {"minecraft_dir": "agentenv_textcraft/", "commands": None, "goal": None}

    def created(self, answer: Any) -> int:
        self.info = {"observation": answer["observation"], "reward": 0, "done": False}
        return int(answer["id"])

    def parsed(self, text: str) -> str:
        (found,) = re.findall(r"Action:\s*(.*?)(?=\n|$)", text, re.DOTALL)
        return " ".join(re.sub(r"[^A-Za-z0-9, ]+", "", found).split())


class BabyAIClient(TextCraftClient):
    create_body: ClassVar[Any] = None

    def created(self, answer: Any) -> int:
        return int(answer["id"])

    def reset(self, index: int) -> None:
        answer = self.begin(index)
        self.info = {key: answer[key] for key in ("observation", "reward", "score", "done")}

    def step(self, text: str) -> tuple[str, float, bool]:
        answer = self.act(text)
        self.info = {key: answer[key] for key in ("observation", "reward", "score", "done")}
        return answer["observation"], answer["score"], answer["done"]


class SciWorldClient(Client):
    def reset(self, index: int) -> None:
        answer = self.begin(index)
        self.info = {"observation": answer["task_description"] + "\n" + answer["observation"]}

    def step(self, text: str) -> tuple[str, float, bool]:
        answer = self.act(text)
        assert isinstance(answer["reward"], int | float)
        return answer["observation"], answer["score"], answer["done"]


class AlfWorldClient(Client):
    task_key: ClassVar[str] = "game"

    def reset(self, index: int) -> None:
        answer = self.begin(index, world_type="Text")
        self.info = {key: answer[key] for key in ("observation", "available_actions")}

    def observe(self) -> str:
        return f"{self.info['observation']}\nAVAILABLE ACTIONS: {','.join(self.info['available_actions'])}"

    def step(self, text: str) -> tuple[str, float, bool]:
        answer = self.act(text)
        self.info = {key: answer[key] for key in ("observation", "available_actions", "reward", "done")}
        return answer["observation"], answer["reward"], answer["done"]


class MazeClient(Client):
    task_key: ClassVar[str] = "game"


class WordleClient(Client):
    task_key: ClassVar[str] = "seed"

    def __init__(self, base: str) -> None:
        super().__init__(base)
        self.words: list[str] = self.get("filtered_vocab")
        assert all(isinstance(word, str) for word in self.words)


class WebShopClient(Client):
    id_key: ClassVar[str] = "env_idx"
    task_key: ClassVar[str] = "session_id"

    def created(self, answer: Any) -> int:
        assert isinstance(answer, int)
        return answer

    def reset(self, index: int) -> None:
        answer = self.begin(index)
        assert isinstance(answer, list)
        self.info = {"observation": answer[0]}

    def observe(self) -> str:
        return str(self.get("observation"))

    def step(self, text: str) -> tuple[str, float, bool]:
        answer = self.act(text)
        return answer["state"], answer["reward"], answer["done"]


class SqlGymClient(WebShopClient):
    task_key: ClassVar[str] = "item_id"


class ToolClient(WebShopClient):
    create_body: ClassVar[Any] = {"id": 0}
    task_key: ClassVar[str] = "id"

    def reset(self, index: int) -> None:
        self.begin(index)

    def parsed(self, text: str) -> str:
        return text

    def step(self, text: str) -> tuple[str, float, bool]:
        answer = self.act(text)
        return answer["observation"], answer["reward"], answer["done"]


class SearchQaClient(ToolClient):
    pass


class WebArenaClient(ToolClient):
    create_body: ClassVar[Any] = None
    task_key: ClassVar[str] = "idx"

    def created(self, answer: Any) -> int:
        return int(answer["env_idx"])

    def reset(self, index: int) -> None:
        assert self.begin(index, seed=0)["observation"] != "TimeoutError"

    def step(self, text: str) -> tuple[str, float, bool]:
        answer = self.act(text)
        return answer["observation"], answer["reward"], answer["terminated"]


CLIENTS: dict[str, type[Client]] = {
    "A": Client,
    "textcraft": TextCraftClient,
    "babyai": BabyAIClient,
    "sciworld": SciWorldClient,
    "alfworld": AlfWorldClient,
    "maze": MazeClient,
    "wordle": WordleClient,
    "webshop": WebShopClient,
    "sqlgym": SqlGymClient,
    "tools": ToolClient,
    "searchqa": SearchQaClient,
    "webarena": WebArenaClient,
}
