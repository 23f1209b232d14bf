"""transformers' own way to shard its models."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn

from ..errors import ShardingError
from ..errors.arguments import checked
from ..records.tree import named_modules, table
from .recipe import Recipe

_DENSE = ("pp", "dp_replicate", "fsdp", "tp")


@checked
def transformers(
    *, ep_size: int | None = None, ep_implementation: str = "auto", fsdp_mixed_precision: bool = False
) -> Recipe:
    """transformers' own way, its `DistributedConfig`: tensor and expert parallel, FSDP and HSDP by a model's plans.

    The mesh has its dimensions by their names there: "pp", "dp_replicate", "fsdp", "tp", in this order; those that are
    missing have size 1. (A mesh of one dimension by another name is "tp".)

    Args:
        ep_size: how many ranks share the experts of a layer.
        ep_implementation: "all_to_all", "all_reduce" or "auto".
        fsdp_mixed_precision: parameters are gathered in bfloat16.
    """

    options = {"ep_size": ep_size, "ep_implementation": ep_implementation, "fsdp_mixed_precision": fsdp_mixed_precision}
    return Recipe("transformers", lambda model, mesh: _distributed(model, mesh, options), 1)


def _distributed(model: Any, mesh: Any, options: Mapping[str, Any]) -> Any:
    """A model sharded by its own plans along the dimensions of a mesh."""
    try:
        from transformers.distributed import DistributedConfig
        from transformers.distributed.utils import TransformersDeviceMesh
    except ImportError as error:
        raise ShardingError(f"transformers with transformers.distributed is needed (5.0 or later): {error}") from None
    from torch.distributed.device_mesh import init_device_mesh

    if not hasattr(model, "maybe_distribute_model"):
        raise ShardingError(f"a {type(model).__name__} is no model of transformers, which this recipe is for")
    names = mesh.mesh_dim_names
    sizes = dict(zip(names if len(names) > 1 or names[0] in _DENSE else ("tp",), mesh.shape, strict=True))
    if odd := [name for name in sizes if name not in _DENSE]:
        raise ShardingError(f"transformers knows no dimension {odd[0]!r}; it has {', '.join(_DENSE)}")
    whole = tuple(sizes.get(name, 1) for name in _DENSE)
    config = DistributedConfig(**{f"{name}_size": size for name, size in zip(_DENSE, whole, strict=True)}, **options)
    if torch.distributed.get_world_size() == mesh.size():
        experts = (*whole[:2], config.efsdp_size, config.ep_size)
        dense = init_device_mesh("cpu", whole, mesh_dim_names=_DENSE)
        sparse = init_device_mesh("cpu", experts, mesh_dim_names=(*_DENSE[:2], "efsdp", "ep"))
        meshes = TransformersDeviceMesh(dense, sparse)
        return _tied_again(model, lambda: type(model).maybe_distribute_model(model, config, meshes))
    if set(sizes) != {"tp"} or options["ep_size"] is not None:
        raise ShardingError("of transformers' parallelisms only tensor parallel can be had along a part of a mesh")
    plans = model._resolve_parallel_plans(config)
    from transformers.distributed.tensor_parallel import apply_tensor_parallelism

    return _tied_again(model, lambda: apply_tensor_parallelism(model, mesh, plans[0]))


def _tied_again(model: Any, shard: Callable[[], Any]) -> Any:
    """Shard a model of transformers whose weights are not tied yet, and tie them then, as loading one does."""
    seen: set[int] = set()
    tied = False
    for _, module in named_modules(model):
        for name, parameter in table(module, "_parameters").items():
            if parameter is not None and id(parameter) in seen:
                module._parameters[name] = nn.Parameter(parameter.detach(), requires_grad=parameter.requires_grad)
                tied = True
            seen.add(id(parameter))
    made = shard()
    if tied:
        made.tie_weights()
    return made
