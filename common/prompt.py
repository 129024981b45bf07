"""A chat template applied turn by turn: only what is new is encoded, and what was sampled never again."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from jinja2 import TemplateError
from numpy.typing import NDArray

from common.errors import ConfigurationError

Tokens = NDArray[np.int32]

_FIRST = "observation"


class ChatTokenizer(Protocol):
    """What we use of a Hugging Face tokenizer that has a chat template."""

    @property
    def eos_token_id(self) -> int | None:
        """The token that ends a text; may differ from the one that ends a turn."""
        ...

    @property
    def added_tokens_decoder(self) -> Mapping[int, Any]:
        """Tokens that are never merged with their neighbours, by id."""
        ...

    def apply_chat_template(self, conversation: Any, *, tokenize: bool, add_generation_prompt: bool) -> Any:
        """Render a conversation to text when `tokenize` is False."""
        ...

    def encode(self, text: str, *, add_special_tokens: bool) -> Sequence[int]:
        """Token ids of `text`; the special tokens written in it are recognised."""
        ...

    def decode(self, token_ids: Any, *, skip_special_tokens: bool) -> str:
        """The text of token ids."""
        ...


class Dialogue:
    """Turns the messages of an episode into the tokens that the policy has not read before.

        context = dialogue.first_prompt(observation)
        action = engine(context)                       # sampled ids, kept as they are
        context += action + dialogue.next_prompt(observation, is_stopped)

    Prompts and actions laid end to end read as the template's rendering of the whole conversation, and are
    the same tokens whenever the actions survive decoding and encoding. What a template would remove from an
    earlier action (thinking) stays: the policy sampled it and goes on from it.

    Raises ConfigurationError when the template has no such increment: it drops or rewrites earlier turns,
    ends an action without a token of its own, or has no place for `instructions`.
    """

    def __init__(self, tokenizer: ChatTokenizer, instructions: str) -> None:
        self._tokenizer = tokenizer
        self._head = [_message("system", instructions)] if instructions else []
        self._mark = "ACTION"
        while self._mark in instructions or self._mark in _FIRST:
            self._mark += "N"
        self._history = [*self._head, _message("user", _FIRST), _message("assistant", self._mark)]
        opening, ending = self._around_the_action()
        self._space_before = opening
        self._end_text, self._space_after, end_token = self._closing(ending)
        self._forced_end = np.append(self._encode(self._space_after), np.int32(end_token))
        eos = tokenizer.eos_token_id
        self.end_token_ids = (end_token,) if eos is None or eos == end_token else (end_token, eos)
        """The tokens that end an action: the template's own, then the end of text where that is another."""
        self._check_increment()

    def first_prompt(self, observation: str) -> Tokens:
        """[P] the instructions, the first observation and the invitation to act."""
        return self._encode(self._render([*self._head, _message("user", observation)]))

    def next_prompt(self, observation: str, is_stopped: bool) -> Tokens:
        """[P] what follows a sampled action: the next observation and the invitation to act.

        When the action was cut (`is_stopped` False) the end token that was not sampled comes first:
        it is read, never trained.
        """
        text = self._render([*self._history, _message("user", observation)]).partition(self._mark)[2]
        new = self._encode(text.removeprefix(self._space_after + self._end_text))
        return new if is_stopped else np.concatenate([self._forced_end, new])

    def action_tokens(self, text: str) -> Tokens:
        """[A] a text that somebody else wrote, as the policy would have sampled it, with its end token."""
        action = self._encode(self._space_before + text + self._space_after)
        return np.append(action, np.int32(self.end_token_ids[0]))

    def text(self, tokens: Tokens) -> str:
        """Tokens as text for people and parsers, without special tokens."""
        return self._tokenizer.decode(tokens.tolist(), skip_special_tokens=True)

    def _around_the_action(self) -> tuple[str, str]:
        """The white space a template puts before an action, and all that follows an action."""
        opening = self._render([*self._head, _message("user", _FIRST)])
        before, found, after = self._render([*self._history, _message("user", _FIRST)]).partition(self._mark)
        if not found or not before.startswith(opening) or before[len(opening) :].strip():
            raise ConfigurationError(
                "chat template: a later turn changes how earlier ones are written; "
                "give the tokenizer a template that only ever adds text"
            )
        return before[len(opening) :], after

    def _closing(self, ending: str) -> tuple[str, str, int]:
        """The text and id of the token that ends an action, and the white space before it."""
        stripped = ending.lstrip()
        special = {str(token): index for index, token in self._tokenizer.added_tokens_decoder.items()}
        candidates = [text for text in special if text and stripped.startswith(text)]
        if not candidates:
            raise ConfigurationError(
                f"chat template: an action is followed by {ending[:20]!r}; it must end with a special token"
            )
        text = max(candidates, key=len)
        return text, ending[: len(ending) - len(stripped)], special[text]

    def _check_increment(self) -> None:
        """Two turns appended must equal three turns rendered and encoded at once."""
        messages = [*self._history, _message("user", "second"), _message("assistant", self._mark)]
        whole = self._encode(self._render([*messages, _message("user", "third")]))
        action = self.action_tokens(self._mark)
        parts = [self.first_prompt(_FIRST)]
        for observation in ("second", "third"):
            parts += [action, self.next_prompt(observation, is_stopped=True)]
        if self._written(np.concatenate(parts)) != self._written(whole):
            raise ConfigurationError(
                "chat template: turns appended one by one differ from the whole conversation; "
                "it must keep every earlier turn and write all turns alike"
            )

    def _render(self, messages: list[dict[str, str]]) -> str:
        try:
            text = self._tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        except (TemplateError, ValueError, TypeError) as error:
            roles = ", ".join(message["role"] for message in messages)
            raise ConfigurationError(
                f"chat template: it cannot write the messages {roles}: {error}"
            ) from None
        return str(text)

    def _written(self, tokens: Tokens) -> str:
        return self._tokenizer.decode(tokens.tolist(), skip_special_tokens=False)

    def _encode(self, text: str) -> Tokens:
        return np.asarray(self._tokenizer.encode(text, add_special_tokens=False), np.int32)


def _message(role: str, content: str) -> dict[str, str]:
    return {"role": role, "content": content}
