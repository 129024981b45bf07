"""FSDP2 over every rank: shards of float32 masters, gathered whole."""

from collections.abc import Iterator, Sequence
from typing import Protocol

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import (
    CPUOffloadPolicy,
    FSDPModule,
    MixedPrecisionPolicy,
    OffloadPolicy,
    fully_shard,
)
from torch.distributed.tensor import DTensor

from learner import lora
from learner.model import CausalPolicy


class Shardable(Protocol):
    """A network that is sharded block by block."""

    @property
    def layers(self) -> Sequence[nn.Module]:
        """Its transformer blocks."""
        ...


def shard(network: Shardable, device: torch.device, dtype: torch.dtype, *, offloads: bool = False) -> None:
    """Spread a network over all ranks of the process group, block by block, in place.

    Masters and gradient reduction stay float32; the forward and backward passes run in `dtype`. A block
    is gathered when it is needed and freed afterwards, so only one is whole at a time. With `offloads` the
    shards of a GPU's network stay in host memory until then.
    """
    assert isinstance(network, nn.Module)
    mesh = init_device_mesh(device.type, (dist.get_world_size(),))
    precision = MixedPrecisionPolicy(param_dtype=dtype, reduce_dtype=torch.float32)
    offload = CPUOffloadPolicy() if offloads and device.type == "cuda" else OffloadPolicy()
    is_offloaded = isinstance(offload, CPUOffloadPolicy)
    for block in network.layers:
        _move(block, device, is_offloaded)
        fully_shard(block, mesh=mesh, mp_policy=precision, offload_policy=offload)
    _move(network, device, is_offloaded)
    fully_shard(network, mesh=mesh, mp_policy=precision, offload_policy=offload)


def _move(module: nn.Module, device: torch.device, is_offloaded: bool) -> None:
    """To the device; of an offloaded module only the buffers, its parameters must begin on the host."""
    if not is_offloaded:
        module.to(device)
        return
    for part in module.modules():
        for name, buffer in part.named_buffers(recurse=False):
            setattr(part, name, buffer.to(device))


def reshard(network: nn.Module) -> None:
    """Free the whole parameters that a forward pass without backward leaves behind."""
    for module in network.modules():
        if isinstance(module, FSDPModule):
            module.reshard()


def parameters(policy: CausalPolicy) -> dict[str, nn.Parameter]:
    """The trained parameters by their Hugging Face names, adapters by PEFT's; a tied one once."""
    named = policy.causal_lm.named_parameters()
    return {lora.plain_name(name): parameter for name, parameter in named if parameter.requires_grad}


def adapter(policy: CausalPolicy, dtype: torch.dtype) -> Iterator[tuple[str, Tensor]]:
    """The tensors of the adapters by PEFT's names, whole, on the CPU; collective as it goes."""
    for name, parameter in policy.causal_lm.named_parameters():
        if lora.is_adapter(name):
            yield lora.plain_name(name), whole(parameter.detach().to(dtype))


def gathered(policy: CausalPolicy, dtype: torch.dtype) -> Iterator[tuple[str, Tensor]]:
    """Every weight by its Hugging Face name, whole, on the CPU; collective: all ranks must exhaust it.

    Tied weights come under each of their names (`lm_head.weight` too), one tensor for all of them. Adapters
    are merged, in float32.
    """
    adapted = lora.pairs(policy.causal_lm)
    every = policy.causal_lm.named_parameters(remove_duplicate=False)
    named = [(name, parameter) for name, parameter in every if not lora.is_adapter(name)]
    uses: dict[int, int] = {}
    for _, parameter in named:
        uses[id(parameter)] = uses.get(id(parameter), 0) + 1
    tied: dict[int, Tensor] = {}
    for name, parameter in named:
        whole_one = tied.get(id(parameter))
        if whole_one is None:
            if name in adapted:
                a, b, scale = adapted[name]
                whole_one = lora.merge(whole(parameter), whole(a), whole(b), scale).to(dtype)
            else:
                whole_one = whole(parameter.detach().to(dtype))
            if uses[id(parameter)] > 1:
                tied[id(parameter)] = whole_one
        yield lora.plain_name(name), whole_one
    for name, buffer in _persistent_buffers(policy.causal_lm):
        yield name, buffer.detach().cpu()


def _persistent_buffers(module: nn.Module) -> Iterator[tuple[str, Tensor]]:
    for prefix, part in module.named_modules():
        for name, buffer in part.named_buffers(prefix, recurse=False):
            if name.rpartition(".")[2] not in part._non_persistent_buffers_set:
                yield name, buffer


def whole(tensor: Tensor) -> Tensor:
    """A sharded tensor gathered from all ranks, on the CPU, owning its memory; collective."""
    gathered_tensor = tensor.full_tensor() if isinstance(tensor, DTensor) else tensor
    return gathered_tensor.detach().to("cpu", copy=True)
