"""Ways to share out a model's own work: layers are split, or the tokens."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from ..errors import ShardingError, nearest, shown
from ..errors.arguments import checked
from ..model.blocks import matches
from ..records.tree import named_modules
from .of_transformers import transformers
from .recipe import Recipe, along


@checked
def tensor_parallel(dim: str = "tp", plan: Mapping[str, Any] | None = None) -> Recipe:
    """`torch.distributed.tensor.parallel.parallelize_module`: layers are split, activations are reduced or gathered.

    Args:
        dim: the dimension of the mesh over which layers are split.
        plan: how: FQNs, in which `*` stands for one name ("layers.*.mlp.up"), with a style: "colwise", "rowwise",
            "colwise_gathered" (the whole result on every rank), "sequence", or a `ParallelStyle` of PyTorch's. By
            default the plan that a model of transformers has.
    """

    def apply(model: nn.Module, mesh: Any) -> Any:
        from torch.distributed.tensor.parallel import parallelize_module

        part = along(mesh, dim)
        if plan is None:
            return transformers()(model, part) if _has_plan(model) else _no_plan(model)
        parallelize_module(model, part, dict(_expanded(model, plan)))
        return None

    return Recipe("tensor_parallel", apply, 1)


@checked
def context_parallel(dim: str = "cp", rotate: str = "allgather") -> Recipe:
    """PyTorch's experimental `context_parallel`: each rank has a part of the tokens, keys and values go round.

    Inputs are those of one rank: its part of the sequence. Attention that is called as
    `torch.nn.functional.scaled_dot_product_attention`, without a mask, then runs as ring attention, with the kernel
    that CUDA has for it.

    Args:
        dim: the dimension of the mesh over which tokens are split.
        rotate: how keys and values get from rank to rank: "allgather" or "alltoall".
    """
    if rotate not in ("allgather", "alltoall"):
        raise ShardingError(f"rotate={shown(rotate)}: give 'allgather' or 'alltoall'")

    @contextmanager
    def around(mesh: Any) -> Iterator[None]:
        from torch.distributed.tensor.experimental import _attention, context_parallel

        part = along(mesh, dim)
        before = _attention._cp_options.rotate_method
        rows = torch.empty(2 * part.size())  # PyTorch wants something to split
        try:
            _attention.set_rotate_method(rotate)
            with context_parallel(part, buffers=[rows], buffer_seq_dims=[0]):
                yield
        finally:
            _attention._cp_options.rotate_method = before

    return Recipe("context_parallel", lambda model, mesh: None, 2, around)


def _expanded(model: nn.Module, plan: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """A plan for modules by their FQNs."""
    names = [name for name, _ in named_modules(model)]
    for pattern, style in plan.items():
        found = [name for name in names if matches(pattern, name)]
        if not found:
            near = nearest(pattern, names)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise ShardingError(f"the plan names {shown(pattern)}, and the model has no such module{hint}")
        yield from ((name, _style(style)) for name in found)


def _style(style: Any) -> Any:
    from torch.distributed.tensor import Replicate
    from torch.distributed.tensor.parallel import ColwiseParallel, RowwiseParallel, SequenceParallel
    from torch.distributed.tensor.parallel.style import ParallelStyle

    made: dict[str, Callable[[], Any]] = {
        "colwise": ColwiseParallel,
        "rowwise": RowwiseParallel,
        "colwise_gathered": lambda: ColwiseParallel(output_layouts=Replicate()),
        "sequence": SequenceParallel,
    }
    if isinstance(style, ParallelStyle):
        return style
    if style not in made:
        raise ShardingError(f"there is no style {shown(style)}; choose from {', '.join(made)}, or give a ParallelStyle")
    return made[style]()


def _has_plan(model: Any) -> bool:
    return bool(getattr(model, "supports_tp_plan", False))


def _no_plan(model: Any) -> Any:
    raise ShardingError(
        f"a {type(model).__name__} has no plan for tensor parallel: give one, such as "
        "tensor_parallel(plan={'layers.*.up': 'colwise', 'layers.*.down': 'rowwise'})"
    )
