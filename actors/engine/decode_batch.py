"""Batched decoding with a Hugging Face model: requests come and go between two steps.

Every request owns its keys and values. The requests of a step lie side by side in one cache, padded on
the left to the longest; that cache is rebuilt only when a request has come or gone.
"""

from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

import torch
from torch.nn import functional as F
from transformers import DynamicCache

from common.messages import Sampling

KeyValues = list[tuple[torch.Tensor, torch.Tensor]]
"""By layer, [1, heads, T, head size] each."""


@dataclass(eq=False)
class Request:
    """One action being sampled."""

    context: list[int]
    """Prompt and sampled tokens."""
    max_tokens: int
    sampling: Sampling
    generator: torch.Generator
    future: Future["Request"] = field(default_factory=Future)
    """Set when the action is complete; cancelled by whoever no longer wants it."""
    logprobs: list[float] = field(default_factory=list)
    versions: list[int] = field(default_factory=list)
    """By token: the policy version that sampled it."""
    is_stopped: bool = False
    key_values: KeyValues | None = None
    """Of all of the context but its last token; None: not computed yet, or lying in the batch."""

    @property
    def is_complete(self) -> bool:
        """Ended by itself or cut."""
        return self.is_stopped or len(self.logprobs) >= self.max_tokens


class DecodeBatch:
    """The requests that are decoded together; not thread-safe."""

    def __init__(self, model: Any, end_token_ids: tuple[int, ...]) -> None:
        self.model = model
        self.requests: list[Request] = []
        self._end_token_ids = end_token_ids
        self._cache: DynamicCache | None = None
        """Of `requests`, in their order; None: must be rebuilt."""

    @torch.inference_mode()
    def step(self, version: int) -> None:
        """Sample one token, labelled `version`, for every request in it."""
        if self._cache is None:
            self._cache = self._gather()
        lengths = [len(request.context) - 1 for request in self.requests]
        device = self.model.device
        positions = torch.tensor(lengths, device=device)
        columns = torch.arange(max(lengths) + 1, device=device)
        output = self.model(
            input_ids=torch.tensor([[request.context[-1]] for request in self.requests], device=device),
            attention_mask=(columns >= max(lengths) - positions[:, None]).long(),
            position_ids=positions[:, None],
            past_key_values=self._cache,
        )
        for request, logits in zip(self.requests, output.logits[:, -1].float(), strict=True):
            token, logprob = sample(logits, request.sampling, request.generator)
            request.context.append(token)
            request.logprobs.append(logprob)
            request.versions.append(version)
            request.is_stopped = token in self._end_token_ids

    def replace(self, requests: list[Request]) -> None:
        """Decode `requests` from now on; those that were already here keep their keys and values."""
        if requests != self.requests:
            self._scatter(requests)
            self.requests = requests

    def forget_cache(self) -> None:
        """Let every request recompute its context, under the weights of that moment."""
        self._cache = None
        for request in self.requests:
            request.key_values = None

    def _scatter(self, keep: list[Request]) -> None:
        """Give the requests in `keep` their own keys and values back."""
        if self._cache is None:
            return
        for row, request in enumerate(self.requests):
            if request not in keep:
                continue
            length = len(request.context) - 1
            request.key_values = [
                (_last(layer.keys[row : row + 1], length), _last(layer.values[row : row + 1], length))
                for layer in self._cache.layers
            ]
        self._cache = None

    def _gather(self) -> DynamicCache:
        """One cache of all requests, padded on the left; computes the contexts that are new."""
        longest = max(len(request.context) - 1 for request in self.requests)
        rows = [request.key_values or self._read(request.context) for request in self.requests]
        cache = DynamicCache()
        for layer, parts in enumerate(zip(*rows, strict=True)):
            keys = torch.cat([_pad(keys, longest) for keys, _ in parts])
            values = torch.cat([_pad(values, longest) for _, values in parts])
            cache.update(keys, values, layer)
        for request in self.requests:
            request.key_values = None
        return cache

    def _read(self, context: list[int]) -> KeyValues:
        """Keys and values of all of `context` but its last token."""
        tokens = torch.tensor([context], device=self.model.device)
        cache = self.model(input_ids=tokens, past_key_values=DynamicCache(), logits_to_keep=1).past_key_values
        return [(layer.keys[:, :, :-1], layer.values[:, :, :-1]) for layer in cache.layers]


def sample(logits: torch.Tensor, sampling: Sampling, generator: torch.Generator) -> tuple[int, float]:
    """A token and its logprob, nats, after temperature, top-k and top-p; `logits` is float32 [V].

    At temperature 0 the likeliest token, which is certain: its logprob is 0.
    """
    if sampling.temperature == 0:
        return int(logits.argmax()), 0.0
    logprobs = (logits / sampling.temperature).log_softmax(-1)
    if sampling.top_k or sampling.top_p < 1:
        logprobs = _truncate(logprobs, sampling).log_softmax(-1)
    token = int(torch.multinomial(logprobs.exp(), 1, generator=generator))
    return token, float(logprobs[token])


def _truncate(logprobs: torch.Tensor, sampling: Sampling) -> torch.Tensor:
    """-inf outside the `top_k` likeliest and outside the smallest set that holds `top_p` of the mass."""
    ordered, tokens = logprobs.sort(descending=True)
    excluded = torch.zeros_like(ordered, dtype=torch.bool)
    if sampling.top_k:
        excluded[sampling.top_k :] = True
    masses = ordered.masked_fill(excluded, -torch.inf).softmax(-1)
    excluded |= masses.cumsum(-1) - masses >= sampling.top_p
    return logprobs.index_fill(0, tokens[excluded], -torch.inf)


def _last(states: torch.Tensor, length: int) -> torch.Tensor:
    """The last `length` positions, as a tensor that does not keep the batch alive."""
    return states[:, :, states.shape[2] - length :].clone()


def _pad(states: torch.Tensor, length: int) -> torch.Tensor:
    return F.pad(states, (0, 0, length - states.shape[2], 0))
