"""Models that are sharded or replicated already when they are given: never taken for what they would be alone.

Such a model can't be copied, or its copy would share a state with it. Only `DistributedDataParallel` is a plain wrapper
around a whole model, which is then analysed, and the report says so.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

from torch import nn

from ..errors import ShardingError
from ..records.tree import named_modules, table

UNWRAPPED = (
    "the model was given in a DistributedDataParallel: the numbers are those of one replica alone, without the "
    "all-reduce of its gradients and the memory of its buckets. For these give the bare model, and mesh={'dp': 8}, "
    "parallelize=fxcost.parallel.ddp()"
)


def unsharded(model: Any) -> tuple[Any, tuple[str, ...]]:
    """The model to analyse, and what is to be said of it.

    Raises:
        ShardingError: it is sharded.
    """
    if not isinstance(model, nn.Module):
        return model, ()
    notes: tuple[str, ...] = ()
    while type(model) is nn.parallel.DistributedDataParallel:
        model, notes = model.module, (UNWRAPPED,)
    for found in _sharded(model):
        raise ShardingError(
            f"the model is sharded already: {found}. fxcost shards a copy of its own, so that yours stays as it is: "
            "give the model as it is before, and the function that shards it, as in fxcost.analyze(model, inputs, "
            "mesh={'dp': 8}, parallelize=apply), where apply(model, mesh) calls fully_shard or the like"
        )
    return model, notes


def is_sharded(model: nn.Module) -> bool:
    """True if a model, or a part of it, is sharded or replicated."""
    return next(_sharded(model), None) is not None


def _sharded(model: nn.Module) -> Iterator[str]:
    """What in a model is sharded, in words."""
    fsdp = sys.modules.get("torch.distributed.fsdp")
    sharded_tensor: Any = getattr(sys.modules.get("torch.distributed.tensor"), "DTensor", None)
    wrappers = tuple(getattr(fsdp, name) for name in ("FSDPModule", "FullyShardedDataParallel") if hasattr(fsdp, name))
    for name, module in named_modules(model):
        where = f"module {name!r}" if name else "it"
        if isinstance(module, nn.parallel.DistributedDataParallel):
            yield f"{where} is a DistributedDataParallel"
        elif wrappers and isinstance(module, wrappers):
            yield f"{where} is a {type(module).__name__}, of FSDP"
        for kind in ("_parameters", "_buffers") if sharded_tensor else ():
            for local, tensor in table(module, kind).items():
                if isinstance(tensor, sharded_tensor):
                    yield f"{name}.{local} is a DTensor".removeprefix(".")
