"""FSDP2 over every rank: shards of float32 masters, gathered and scattered whole."""

from collections.abc import Iterator

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor

from learner.model import CausalPolicy


def shard(policy: CausalPolicy, device: torch.device, dtype: torch.dtype) -> None:
    """Spread `policy` over all ranks of the process group, block by block, in place.

    Masters and gradient reduction stay float32; the forward and backward passes run in `dtype`. A block
    is gathered when it is needed and freed afterwards, so only one is whole at a time.
    """
    mesh = init_device_mesh(device.type, (dist.get_world_size(),))
    precision = MixedPrecisionPolicy(param_dtype=dtype, reduce_dtype=torch.float32)
    for block in policy.layers:
        block.to(device)
        fully_shard(block, mesh=mesh, mp_policy=precision)
    policy.to(device)
    fully_shard(policy, mesh=mesh, mp_policy=precision)


def reshard(policy: CausalPolicy) -> None:
    """Free the whole parameters that a forward pass without backward leaves behind."""
    for module in policy.modules():
        if isinstance(module, FSDPModule):
            module.reshard()


def parameters(policy: CausalPolicy) -> dict[str, nn.Parameter]:
    """The trained parameters by their Hugging Face names; a tied one once."""
    return dict(policy.causal_lm.named_parameters())


def gathered(policy: CausalPolicy, dtype: torch.dtype) -> Iterator[tuple[str, Tensor]]:
    """Every weight by its Hugging Face name, whole, on the CPU; collective: all ranks must exhaust it.

    Tied weights come under each of their names (`lm_head.weight` too), one tensor for all of them.
    """
    named = list(policy.causal_lm.named_parameters(remove_duplicate=False))
    uses: dict[int, int] = {}
    for _, parameter in named:
        uses[id(parameter)] = uses.get(id(parameter), 0) + 1
    tied: dict[int, Tensor] = {}
    for name, parameter in named:
        whole_one = tied.get(id(parameter))
        if whole_one is None:
            whole_one = whole(parameter.detach().to(dtype))
            if uses[id(parameter)] > 1:
                tied[id(parameter)] = whole_one
        yield name, whole_one
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


def scatter(source: Tensor | None, like: Tensor) -> Tensor:
    """`source`, which only rank 0 gives, cut as `like` is cut; collective."""
    device = like.device
    full = (
        torch.empty(like.shape, dtype=like.dtype, device=device)
        if source is None
        else source.to(device, like.dtype)
    )
    if not isinstance(like, DTensor):
        dist.broadcast(full, src=0)
        return full
    return distribute_tensor(full, like.device_mesh, like.placements)
