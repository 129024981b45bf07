"""The process group that torchrun describes, and how rank 0 speaks to the other ranks in it."""

import os
from datetime import timedelta
from typing import Any

import msgpack
import torch
import torch.distributed as dist
from torch.distributed import HashStore  # type: ignore[attr-defined]  # exported at run time only

from common.errors import ConfigurationError

_IDLE = timedelta(days=1)
"""How long a rank waits for a command: as long as episodes take. The death of rank 0 is noticed at once."""


def connect(device: str) -> torch.device:
    """Join the process group that torchrun describes, or make one of a single rank; the device of this rank.

    A process that is in a group already stays in it.
    gloo carries commands and everything on a CPU, NCCL everything on GPUs. Raises ConfigurationError when
    `cuda` is asked for and there is none.
    """
    if device == "cuda" and not torch.cuda.is_available():
        raise ConfigurationError("learner.device = 'cuda': no CUDA device here; allowed are 'cpu' and 'auto'")
    is_cuda = device != "cpu" and torch.cuda.is_available()
    backend = "cpu:gloo,cuda:nccl" if is_cuda else "gloo"
    if dist.is_initialized():
        pass
    elif "WORLD_SIZE" in os.environ:
        dist.init_process_group(backend)
    else:
        dist.init_process_group(backend, store=HashStore(), rank=0, world_size=1)
    if not is_cuda:
        return torch.device("cpu")
    here = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
    torch.cuda.set_device(here)
    return here


class CommandChannel:
    """Messages from rank 0 to each other rank and back: msgpack over gloo; made by all ranks together."""

    def __init__(self) -> None:
        self._group = dist.new_group(backend="gloo", timeout=_IDLE)

    def send(self, messages: list[dict[str, Any]]) -> None:
        """`messages[r]` to rank r; the first is rank 0's own and goes nowhere."""
        payloads = [
            torch.frombuffer(bytearray(msgpack.packb(message)), dtype=torch.uint8) for message in messages
        ]
        dist.broadcast(torch.tensor([len(payload) for payload in payloads]), src=0, group=self._group)
        for rank, payload in enumerate(payloads[1:], start=1):
            dist.send(payload, dst=rank, group=self._group)

    def collect(self, message: Any) -> list[Any]:
        """Every rank's message, in order, on rank 0; nothing elsewhere. All ranks call it together."""
        payload = torch.frombuffer(bytearray(msgpack.packb(message)), dtype=torch.uint8)
        sizes = [torch.zeros(1, dtype=torch.int64) for _ in range(dist.get_world_size())]
        dist.all_gather(sizes, torch.tensor([len(payload)]), group=self._group)
        if dist.get_rank():
            dist.send(payload, dst=0, group=self._group)
            return []
        messages = [message]
        for rank, size in enumerate(sizes[1:], start=1):
            payload = torch.empty(int(size), dtype=torch.uint8)
            dist.recv(payload, src=rank, group=self._group)
            messages.append(msgpack.unpackb(payload.numpy().tobytes()))
        return messages

    def receive(self) -> dict[str, Any]:
        """Wait for the next message of rank 0."""
        sizes = torch.zeros(dist.get_world_size(), dtype=torch.int64)
        dist.broadcast(sizes, src=0, group=self._group)
        payload = torch.empty(int(sizes[dist.get_rank()]), dtype=torch.uint8)
        dist.recv(payload, src=0, group=self._group)
        message: dict[str, Any] = msgpack.unpackb(payload.numpy().tobytes())
        return message
