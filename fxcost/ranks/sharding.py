"""A model run as one rank of many: its copy is sharded by a recipe, in a world that lasts as long as the analysis."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from math import prod
from typing import Any

import torch
from torch import nn

from ..errors import FxcostError, ShardingError, said, shown
from ..meta.storages import Storages
from ..meta.values import ValueRecorder
from ..model.inputs import Arguments
from ..model.parts import Parts
from ..model.sharded import is_sharded
from ..records.communication import Rank
from ..records.tree import held_tensors, named_modules
from .experts import Key, spread, stacks
from .private import adapted, held, modules_run, rebuild_buckets, resharded, settle
from .recorder import RankRecorder, RankStepRecorder
from .world import World, is_open, same_world, sizes_of

Recipe = Callable[[nn.Module, Any], Any]
"""Is given a model and a mesh, and shards the model in place, or returns another one."""


@contextmanager
def one_rank(mesh: Any, parallelize: Any, rank: int) -> Iterator[Sharding]:
    """A world of the mesh's size, in which models can be run as one of its ranks.

    Raises:
        ShardingError: there is no such mesh or rank, no recipe, or a process group already.
    """
    sizes = sizes_of(mesh)
    if parallelize is None:
        raise ShardingError(
            "mesh= says how many ranks there are, and parallelize= how the model is sharded over them: a function of "
            "the model and a DeviceMesh, or one that fxcost.parallel makes"
        )
    if not callable(parallelize):
        raise ShardingError(f"parallelize={shown(parallelize)}: give a function of a model and a DeviceMesh")
    with same_world(prod(sizes.values()), rank):
        yield Sharding(World(sizes, rank), parallelize)


class _Running:
    """How a capture follows what one rank runs."""

    as_given = False

    def __init__(self, world: World) -> None:
        self.settles = False
        self._world = world
        self.rank: Rank | None = None
        """Set once a model is sharded."""
        self._experts: dict[Key, tuple[int, int]] = {}

    @property
    def hint(self) -> str:
        """What to look at where a sharded model fails."""
        return (
            f"This was rank {self._world.rank} of a mesh of {_sizes(self._world.sizes)}: sizes that a plan splits "
            "(heads, widths) must divide by it, and inputs are those of one rank"
        )

    def settle(self, model: Any) -> None:
        """Have DDP make the buckets that it has from the second step on."""
        rebuild_buckets(model)

    def recorder(self, storages: Storages, real_available: bool) -> ValueRecorder:
        """A recorder for a forward pass."""
        return self._told(RankRecorder(storages))

    def step_recorder(self, storages: Storages, casts: bool) -> Any:
        """A recorder for a training step."""
        return self._told(RankStepRecorder(storages, casts=casts))

    def _told(self, recorder: RankRecorder) -> RankRecorder:
        recorder.group_of, recorder.rank, recorder.names = self._world.group, self._world.rank, {}
        recorder.experts = self._experts
        return recorder

    @contextmanager
    def running(self, recorder: Any, model: Any, parts: Parts) -> Iterator[None]:
        """While active, what the rank's code does is followed by the recorder."""
        recorder.names = {id(module): name for name, module in reversed(list(parts.named_modules()))}
        recorder.names |= {id(part): "" for part in modules_run(model)}
        recorder.detaches = hasattr(model, "whole_step")
        for note in getattr(model, "notes", ()):
            recorder.assume(note)
        settle(model)
        with adapted(recorder):
            yield


class AsGiven(_Running):
    """A model on meta that was sharded in :func:`fake_world` by the user, and is run itself: it can't be copied."""

    as_given = True

    def apply(self, model: Any, parts: Parts, arguments: Arguments) -> tuple[Any, Parts]:
        """The model as it is."""
        self.rank = self._world.record(_elements(model))
        self.settles = _makes_buckets(model)
        return model, parts

    @contextmanager
    def running(self, recorder: Any, model: Any, parts: Parts) -> Iterator[None]:
        """As for others; afterwards each rank has its shards alone again."""
        with super().running(recorder, model, parts):
            try:
                yield
            finally:
                resharded(model)


def as_given(model: Any) -> AsGiven | None:
    """How to run a model that was sharded in :func:`fake_world`; None for any other."""
    if not is_open() or not isinstance(model, nn.Module) or not is_sharded(model):
        return None
    if not all(held(t).is_meta for t in held_tensors(model)):
        return None
    rank, size = torch.distributed.get_rank(), torch.distributed.get_world_size()
    return AsGiven(World({"world": size}, rank))


class Sharding(_Running):
    """How a capture runs a model as one rank: :meth:`apply` shards its copy, the rest records what the rank does."""

    def __init__(self, world: World, recipe: Recipe) -> None:
        super().__init__(world)
        self._recipe = recipe
        self._around = getattr(recipe, "around", None)
        self._mesh: Any = None

    def apply(self, model: Any, parts: Parts, arguments: Arguments) -> tuple[Any, Parts]:
        """The model, sharded, and its parts. A wrapper around the model has the names of the model's parts.

        Raises:
            ShardingError: the recipe raised, shards nothing, or returned no model.
        """
        if not isinstance(model, nn.Module):
            raise ShardingError("a model that is sharded is an nn.Module; what was given is a function")
        self.rank = self._world.record(_elements(model))
        before, whole = _state(model), stacks(model)
        try:
            with adapted(), torch.enable_grad():
                staged = getattr(self._recipe, "staged", None)
                mesh = self._device_mesh()
                made = self._recipe(model, mesh) if staged is None else staged(model, mesh, arguments, None)
        except FxcostError:
            raise
        except Exception as error:
            text = said(error)
            raise ShardingError(
                f"the recipe that shards the model raised {type(error).__name__}: {text}. It was given fxcost's own "
                f"copy of the model, on meta, and a mesh of {_sizes(self._world.sizes)}"
            ) from error
        sharded = model if made is None else made
        if not isinstance(sharded, nn.Module):
            raise ShardingError(f"the recipe returned a {type(made).__name__}: None or an nn.Module is expected")
        if sharded is model and self._around is None and _state(model) == before:
            raise ShardingError(
                "the recipe left the model as it was: nothing is sharded, and every rank would do all. Do the names in "
                "its plan exist? It must change the model that it is given, or return another one"
            )
        self._experts = spread(whole, stacks(sharded))
        self.settles = _makes_buckets(sharded)
        inside = any(module is model for _, module in named_modules(sharded))
        return sharded, parts if inside else Parts(sharded, {})

    @contextmanager
    def running(self, recorder: Any, model: Any, parts: Parts) -> Iterator[None]:
        """As for others, in the context that the recipe has for its model."""
        around = nullcontext() if self._around is None else self._around(self._device_mesh())
        with around, super().running(recorder, model, parts):
            yield

    def _device_mesh(self) -> Any:
        from torch.distributed.device_mesh import init_device_mesh

        if self._mesh is None:
            sizes = self._world.sizes
            self._mesh = init_device_mesh("cpu", tuple(sizes.values()), mesh_dim_names=tuple(sizes))
        return self._mesh


def _makes_buckets(model: nn.Module) -> bool:
    """True for DDP, which makes its buckets anew once."""
    return any(isinstance(part, nn.parallel.DistributedDataParallel) for part in modules_run(model))


def _sizes(sizes: Mapping[str, int]) -> str:
    return ", ".join(f"{name}={size}" for name, size in sizes.items())


def _elements(model: nn.Module) -> int:
    """Elements of all parameters, tied ones once."""
    tensors = {id(t): t for t in held_tensors(model) if isinstance(t, nn.Parameter)}
    return sum(t.numel() for t in tensors.values())


def _state(model: nn.Module) -> list[Any]:
    """What a recipe can change of a model: classes, hooks, attributes, and what is held of parameters."""
    state: list[Any] = []
    for _, module in named_modules(model):
        attributes = object.__getattribute__(module, "__dict__")
        state.append((type(module), {k: len(v) if isinstance(v, dict) else id(v) for k, v in attributes.items()}))
    state += [(type(t), tuple(held(t).shape)) for t in held_tensors(model)]
    return state
