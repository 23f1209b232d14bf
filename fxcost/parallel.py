"""Ready recipes for `fxcost.analyze(…, mesh=…, parallelize=…)`: PyTorch's own parallelisms, each along a dimension.

>>> import fxcost, torch
>>> model = torch.nn.Sequential(torch.nn.Linear(64, 256), torch.nn.ReLU(), torch.nn.Linear(256, 64))
>>> plan = {"0": "colwise", "2": "rowwise"}
>>> report = fxcost.analyze(model, (8, 64), mesh={"tp": 4}, parallelize=fxcost.parallel.tensor_parallel("tp", plan))
>>> report.macs * 4 == 2 * 8 * 64 * 256, report.communication.by_kind()["all_reduce"].payload_bytes
(True, 2048)

A recipe is a function of a model and a `DeviceMesh`; so any function of your own is one. :func:`together` makes one of
several, in the order in which PyTorch wants them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from .errors import ShardingError, nearest, shown
from .errors.arguments import checked
from .model.inputs import as_float_dtype
from .records.tree import named_modules, table

__all__ = [
    "Recipe",
    "context_parallel",
    "ddp",
    "fully_shard",
    "replicate",
    "tensor_parallel",
    "together",
    "transformers",
]

Apply = Callable[[Any, Any], Any]
_LISTS = (nn.ModuleList, nn.Sequential, nn.ModuleDict)
_LAYERS = (nn.TransformerEncoderLayer, nn.TransformerDecoderLayer)


@dataclass(frozen=True, slots=True)
class Recipe:
    """What shards a model; `order` says which of several is applied first."""

    name: str
    apply: Apply
    order: int
    around: Callable[[Any], AbstractContextManager[None]] | None = None
    """For a mesh, a context in which the sharded model runs."""

    def __call__(self, model: Any, mesh: Any) -> Any:
        """Shard a model over a mesh."""
        return self.apply(model, mesh)

    def __repr__(self) -> str:
        return f"fxcost.parallel.{self.name}"


def along(mesh: Any, dim: str) -> Any:
    """The part of a mesh along a dimension.

    Raises:
        ShardingError: it has no such dimension.
    """
    names = mesh.mesh_dim_names or ()
    if dim not in names:
        near = nearest(dim, names)
        hint = f"did you mean {near[0]!r}?" if near else f"it has {', '.join(map(repr, names))}"
        raise ShardingError(f"the mesh has no dimension {shown(dim)}; {hint}")
    return mesh[dim] if len(names) > 1 else mesh


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
        for block in _blocks(model, blocks):
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

        for block in _blocks(model, ()):
            replicate(block, mesh=along(mesh, dim))
        replicate(model, mesh=along(mesh, dim))

    return Recipe("replicate", apply, 3)


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

    def apply(model: Any, mesh: Any) -> Any:
        try:
            from transformers.distributed import DistributedConfig
            from transformers.distributed.utils import TransformersDeviceMesh
        except ImportError as error:
            raise ShardingError(
                f"transformers with transformers.distributed is needed (5.0 or later): {error}"
            ) from None
        from torch.distributed.device_mesh import init_device_mesh

        if not hasattr(model, "maybe_distribute_model"):
            raise ShardingError(f"a {type(model).__name__} is no model of transformers, which this recipe is for")
        names = mesh.mesh_dim_names
        sizes = dict(zip(names if len(names) > 1 or names[0] in _DENSE else ("tp",), mesh.shape, strict=True))
        if odd := [name for name in sizes if name not in _DENSE]:
            raise ShardingError(f"transformers knows no dimension {odd[0]!r}; it has {', '.join(_DENSE)}")
        config = DistributedConfig(
            **{f"{name}_size": sizes.get(name, 1) for name in _DENSE},
            ep_size=ep_size,
            ep_implementation=ep_implementation,
            fsdp_mixed_precision=fsdp_mixed_precision,
        )
        whole = tuple(sizes.get(name, 1) for name in _DENSE)
        if torch.distributed.get_world_size() == mesh.size():
            experts = (*whole[:2], config.efsdp_size, config.ep_size)
            dense = init_device_mesh("cpu", whole, mesh_dim_names=_DENSE)
            sparse = init_device_mesh("cpu", experts, mesh_dim_names=(*_DENSE[:2], "efsdp", "ep"))
            meshes = TransformersDeviceMesh(dense, sparse)
            return _tied_again(model, lambda: type(model).maybe_distribute_model(model, config, meshes))
        if set(sizes) != {"tp"} or ep_size is not None:
            raise ShardingError("of transformers' parallelisms only tensor parallel can be had along a part of a mesh")
        plans = model._resolve_parallel_plans(config)
        from transformers.distributed.tensor_parallel import apply_tensor_parallelism

        return _tied_again(model, lambda: apply_tensor_parallelism(model, mesh, plans[0]))

    return Recipe("transformers", apply, 1)


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


_DENSE = ("pp", "dp_replicate", "fsdp", "tp")


@checked
def together(*recipes: Any) -> Recipe:
    """Several recipes as one: tensor parallel first, then FSDP, then DDP, whatever their order here.

    Functions of your own go first, in their order.
    """

    def apply(model: Any, mesh: Any) -> Any:
        for recipe in sorted(recipes, key=lambda recipe: recipe.order if isinstance(recipe, Recipe) else 0):
            made = recipe(model, mesh)
            model = model if made is None else made
        return model

    contexts = [recipe.around for recipe in recipes if isinstance(recipe, Recipe) and recipe.around is not None]

    @contextmanager
    def around(mesh: Any) -> Iterator[None]:
        with ExitStack() as stack:
            for context in contexts:
                stack.enter_context(context(mesh))
            yield

    return Recipe("together", apply, 0, around if contexts else None)


def _blocks(model: nn.Module, wanted: tuple[Any, ...]) -> list[nn.Module]:
    """The modules whose parameters are gathered at once, beside the root."""
    if wanted:
        modules = dict(named_modules(model))
        for name in wanted:
            if isinstance(name, str) and not any(_matches(name, fqn) for fqn in modules):
                near = nearest(name, modules)
                hint = f"; did you mean {near[0]!r}?" if near else ""
                raise ShardingError(f"blocks names {shown(name)}, and the model has no such module{hint}")
        chosen = [
            module
            for fqn, module in modules.items()
            if any(_matches(b, fqn) if isinstance(b, str) else isinstance(module, b) for b in wanted)
        ]
        return list(reversed(chosen))  # inner ones first
    return list(_members(model))


def _members(module: nn.Module) -> Iterator[nn.Module]:
    """Members of the outermost lists that are more than one layer of PyTorch's."""
    for child in table(module, "_modules").values():
        if child is None:
            continue
        of_torch = type(child).__module__.startswith("torch.nn.") and not isinstance(child, (*_LISTS, *_LAYERS))
        if isinstance(module, _LISTS) and not isinstance(child, _LISTS) and not of_torch and _has_any(child):
            yield child
        else:
            yield from _members(child)


def _has_any(module: nn.Module) -> bool:
    return next(module.parameters(), None) is not None


def _matches(pattern: str, name: str) -> bool:
    return re.fullmatch(re.escape(pattern).replace(r"\*", r"[^.]+"), name) is not None


def _expanded(model: nn.Module, plan: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """A plan for modules by their FQNs."""
    names = [name for name, _ in named_modules(model)]
    for pattern, style in plan.items():
        found = [name for name in names if _matches(pattern, name)]
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
