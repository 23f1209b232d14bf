"""Ways to share out data: parameters are sharded, or every rank has all."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from ..errors.arguments import checked
from ..model.blocks import blocks_of
from ..model.inputs import as_float_dtype
from .recipe import Recipe, along


@checked
def fully_shard(
    dim: str = "dp",
    *,
    replicate: str | None = None,
    blocks: tuple[Any, ...] = (),
    param_dtype: torch.dtype | str | None = None,
    reduce_dtype: torch.dtype | str | None = None,
    reshard_after_forward: bool | None = None,
    sync: bool = True,
) -> Recipe:
    """FSDP2, `torch.distributed.fsdp.fully_shard`: parameters are sharded, and gathered block by block.

    Args:
        dim: the dimension of the mesh over which parameters are sharded.
        replicate: a second dimension, over which the shards are replicated (HSDP).
        blocks: what is gathered at once: module classes or FQNs. By default the members of the model's outermost lists
            (`ModuleList`, `Sequential`) that are more than layers of PyTorch's, and the rest together.
        param_dtype: in which parameters are gathered and used; by default their own.
        reduce_dtype: in which gradients are reduced.
        reshard_after_forward: whether blocks are let go between forward and backward; by default all but the root.
        sync: False for a step that only accumulates gradients (`set_requires_gradient_sync(False)`).
    """
    dtypes = [None if dtype is None else as_float_dtype(dtype) for dtype in (param_dtype, reduce_dtype)]

    def apply(model: nn.Module, mesh: Any) -> None:
        from torch.distributed.fsdp import MixedPrecisionPolicy
        from torch.distributed.fsdp import fully_shard as shard

        part = along(mesh, dim) if replicate is None else mesh[replicate, dim]
        options: dict[str, Any] = {
            "mesh": part,
            "mp_policy": MixedPrecisionPolicy(param_dtype=dtypes[0], reduce_dtype=dtypes[1]),
        }
        if reshard_after_forward is not None:
            options["reshard_after_forward"] = reshard_after_forward
        for block in blocks_of(model, blocks):
            shard(block, **options)
        shard(model, **options)
        if not sync:
            model.set_requires_gradient_sync(False)  # type: ignore[operator]

    return Recipe("fully_shard", apply, 3)


@checked
def ddp(dim: str = "dp", **options: Any) -> Recipe:
    """`torch.nn.parallel.DistributedDataParallel`: every rank has all parameters, gradients are averaged in buckets.

    Args:
        dim: the dimension of the mesh over which the model is replicated.
        options: further arguments of the class, such as `bucket_cap_mb` and `gradient_as_bucket_view`.
    """

    def apply(model: nn.Module, mesh: Any) -> nn.Module:
        group = along(mesh, dim).get_group()
        return nn.parallel.DistributedDataParallel(model, process_group=group, **{"init_sync": False, **options})

    return Recipe("ddp", apply, 4)


@checked
def replicate(dim: str = "dp") -> Recipe:
    """PyTorch's composable `replicate`: as :func:`ddp`, without a wrapper, by the machinery of FSDP2.

    Args:
        dim: the dimension of the mesh over which the model is replicated.
    """

    def apply(model: nn.Module, mesh: Any) -> None:
        from torch.distributed._composable.replicate_with_fsdp import replicate

        for block in blocks_of(model, ()):
            replicate(block, mesh=along(mesh, dim))
        replicate(model, mesh=along(mesh, dim))

    return Recipe("replicate", apply, 3)
