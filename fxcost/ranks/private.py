"""What of PyTorch's own, and not public, a rank needs: the only place that names it, beside private_pipelines.py.

:func:`check` looks whether all of it is there before anything is changed; :func:`adapted` changes it for as long as a
rank is built or run, for the calling thread alone, and puts it back.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from importlib import import_module
from itertools import count
from typing import Any, Protocol

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensor
from torch.utils import checkpoint
from torch.utils._python_dispatch import TorchDispatchMode

from ..errors import ShardingError
from .private_pipelines import Turns, adapt_pipelines
from .replacing import Replacing, lacks, look_for, within


class Follower(Turns, Protocol):
    """What a recorder is told of a rank beside its operators."""

    def resized(self, storage: torch.UntypedStorage, change: Callable[[], Any]) -> None:
        """`change` is about to change a storage's size, which is no operator."""

    def serving(self, group: Any) -> AbstractContextManager[None]:
        """A context in which FSDP works for the module of a group of parameters."""


_NEEDED = (
    ("torch.testing._internal.distributed.fake_pg", "FakeStore"),
    ("torch._C._distributed_c10d", "_create_work_from_future"),
    ("torch._C._distributed_c10d", "_resolve_process_group"),
    ("torch._C", "_get_dispatch_mode"),
    ("torch._C", "_TorchDispatchModeKey.FAKE"),
    ("torch", "UntypedStorage.resize_"),
    ("torch.distributed.fsdp._fully_shard._fsdp_param_group", "FSDPParamGroup._validate_no_meta_params"),
    ("torch.distributed.fsdp._fully_shard._fsdp_param_group", "FSDPParamGroup.unshard"),
    ("torch.distributed.fsdp._fully_shard._fsdp_param_group", "FSDPParamGroup.wait_for_unshard"),
    ("torch.distributed.fsdp._fully_shard._fsdp_param_group", "FSDPParamGroup.post_backward"),
    ("torch.distributed.fsdp._fully_shard._fsdp_state", "FSDPState._lazy_init"),
    ("torch.distributed.fsdp", "FSDPModule._get_fsdp_state"),
    ("torch.distributed.tensor.debug", "_clear_sharding_prop_cache"),
    ("torch.distributed.tensor._redistribute", "_gen_transform_infos.cache_clear"),
    ("torch.distributed.tensor._redistribute", "clear_redistribute_planner_cache"),
    ("torch.distributed", "Reducer._rebuild_buckets"),
    ("torch.nn.parallel.distributed", "_verify_param_shape_across_processes"),
    ("torch.nn.parallel.distributed", "_sync_module_states"),
)
_SERVED = ("unshard", "wait_for_unshard", "post_backward")
"""Methods of FSDP's groups of parameters that communicate, each for the group's own module."""


def check() -> None:
    """See that this PyTorch has what is needed.

    Raises:
        ShardingError: it has not, and the message says what is missing.
    """
    if not torch.distributed.is_available():
        raise ShardingError("this PyTorch is built without torch.distributed, which shards models")
    look_for(_NEEDED, "a sharded model")
    from torch.distributed.device_mesh import DeviceMesh

    if "_thread_id" not in DeviceMesh.__eq__.__code__.co_names:
        lacks(["a DeviceMesh that differs from others by its _thread_id"], "a sharded model")


def is_propagating(types: Sequence[type]) -> bool:
    """True while DTensor finds out shapes and placements, on fake tensors: nothing that a rank does."""
    if any(issubclass(kind, FakeTensor) for kind in types):
        return True
    return torch._C._get_dispatch_mode(torch._C._TorchDispatchModeKey.FAKE) is not None


def held(tensor: Tensor) -> Tensor:
    """What a rank has in memory of a tensor: of a DTensor the local part, of one that is still awaited its memory."""
    while type(tensor) is not Tensor:
        inner = getattr(tensor, "_local_tensor", None)
        if inner is None and type(tensor).__name__ == "AsyncCollectiveTensor":
            inner = tensor.elem  # type: ignore[attr-defined]
        if inner is None:
            return tensor
        tensor = inner
    return tensor


def recomputes() -> bool:
    """True while checkpointing runs a part of the forward pass again (without `use_reentrant`)."""
    frame: Any = sys._getframe(1)
    while frame is not None:
        code = frame.f_code
        if code.co_name == "unpack_hook" and code.co_filename == checkpoint.__file__:
            return True
        frame = frame.f_back
    return False


def ranks_of(group: Any) -> tuple[tuple[int, ...], str]:
    """The ranks of a process group as an operator is given it (itself, boxed, or its name), and what it is for."""
    from torch._C._distributed_c10d import ProcessGroup, _resolve_process_group

    if isinstance(group, str):
        group = _resolve_process_group(group)  # type: ignore[arg-type]
    elif isinstance(group, torch.ScriptObject):
        group = ProcessGroup.unbox(group)
    ranks = torch.distributed.get_process_group_ranks(group)
    return tuple(ranks), str(getattr(group, "group_desc", ""))


def finished_work(tensors: list[Tensor]) -> Any:
    """A `Work` that is done; its future holds the tensors."""
    from torch._C._distributed_c10d import _create_work_from_future

    future: Any = torch.futures.Future()
    future.set_result(tensors)
    return _create_work_from_future(future).boxed()


@contextmanager
def adapted(follower: Follower | None = None) -> Iterator[None]:
    """While active, on this thread FSDP and DDP take meta parameters, and a follower is told what a rank does."""
    groups = import_module("torch.distributed.fsdp._fully_shard._fsdp_param_group").FSDPParamGroup
    parallel = import_module("torch.nn.parallel.distributed")
    from torch.distributed.device_mesh import DeviceMesh

    with ExitStack() as stack:
        put = Replacing(stack)
        put(groups, "_validate_no_meta_params", lambda before: lambda self: None)
        put(parallel, "_verify_param_shape_across_processes", lambda before: lambda *a, **k: True)
        put(parallel, "_sync_module_states", lambda before: lambda *a, **k: None)
        if hasattr(DeviceMesh, "_concatenate"):
            put(DeviceMesh, "_concatenate", _once)
        if follower is not None:
            put(torch.UntypedStorage, "resize_", lambda before: _noting(before, follower.resized))
            for name in _SERVED:
                put(groups, name, lambda before: within(before, follower.serving))
        if "torch.distributed.pipelining" in sys.modules:
            adapt_pipelines(put, follower)
        yield


def _once(before: Any) -> Any:
    """The mesh that several make together, which FSDP asks for with each parameter: made once, for equal ones are slow.

    Each lists all ranks of the world, and two that are not the same object are compared rank by rank.
    """
    made: dict[tuple[int, ...], tuple[Any, Any]] = {}

    def concatenate(meshes: list[Any]) -> Any:
        key = tuple(map(id, meshes))
        if key not in made:
            made[key] = before(meshes), meshes  # held, so that their ids stay theirs
        return made[key][0]

    return concatenate


def _noting(before: Any, resized: Callable[..., None]) -> Any:
    def resize_(storage: torch.UntypedStorage, size: int) -> Any:
        resized(storage, lambda: before(storage, size))
        return storage

    return resize_


@contextmanager
def process_group(rank: int, size: int) -> Iterator[None]:
    """A default process group of so many ranks that sends nothing, in this process.

    Raises:
        ShardingError: there is one already.
    """
    import torch.distributed as dist
    from torch.testing._internal.distributed.fake_pg import FakeStore

    if dist.is_initialized():
        raise ShardingError(
            "torch.distributed has a process group in this process already, which would have to be replaced: analyse "
            "sharded models in a process of their own, or after torch.distributed.destroy_process_group()"
        )
    from torch.distributed.device_mesh import DeviceMesh

    hook = sys.excepthook
    with ExitStack() as stack:
        # DTensor keeps what it found out by the mesh, and two meshes are equal that look alike: so those of one world
        # are made unlike those of any other, whose process groups are gone.
        Replacing(stack)(DeviceMesh, "__init__", lambda before: _marking(before, next(_WORLDS)))
        try:
            store = FakeStore()  # a backend for meta too: without one, sends and receives can't be batched
            dist.init_process_group("cpu:fake,meta:fake", store=store, rank=rank, world_size=size)
            yield
        finally:
            if dist.is_initialized():
                dist.destroy_process_group()
            sys.excepthook = hook
            _forget_meshes()


_WORLDS = count(-2, -1)
"""Numbers that are no thread's."""


def _marking(before: Any, world: int) -> Any:
    def made(mesh: Any, *args: Any, **kwargs: Any) -> None:
        before(mesh, *args, **kwargs)
        mesh._thread_id = world

    return made


def _forget_meshes() -> None:
    """Empty what DTensor remembers of meshes: it is of no use any more."""
    if "torch.distributed.tensor" not in sys.modules:
        return
    from torch.distributed.tensor import _redistribute
    from torch.distributed.tensor.debug import _clear_sharding_prop_cache

    _clear_sharding_prop_cache()
    _redistribute._gen_transform_infos.cache_clear()
    _redistribute.clear_redistribute_planner_cache()


def settle(model: Any) -> None:
    """Have FSDP do now what it does when a model is run first: it lays out again what a rank holds of parameters."""
    if "torch.distributed.fsdp" not in sys.modules:
        return
    from torch.distributed.fsdp import FSDPModule

    for part in modules_run(model):
        modules = [module for module in part.modules() if isinstance(module, FSDPModule)]
        if modules:
            with adapted():
                modules[0]._get_fsdp_state()._lazy_init()


def modules_run(model: Any) -> list[Any]:
    """What is called of a model: itself, or the stages that a rank of a pipeline has of it."""
    return getattr(model, "stage_modules", None) or [model]


def resharded(model: Any) -> None:
    """Have FSDP let go of what it has gathered of parameters."""
    if "torch.distributed.fsdp" in sys.modules:
        from torch.distributed.fsdp import FSDPModule

        for module in model.modules():
            if isinstance(module, FSDPModule):
                module.reshard()


class _IntegersOnCpu(TorchDispatchMode):
    """Has tensors of integers made on the CPU, where their values are."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if kwargs.get("dtype") in (torch.int32, torch.int64):
            kwargs = {**kwargs, "device": "cpu"}
        return func(*args, **kwargs)


def rebuild_buckets(model: Any) -> None:
    """Have DDP make its buckets anew, in the order in which gradients came.

    It does so once, in the second forward pass, for which ranks agree on the order: these are numbers, not on meta.
    """
    with _IntegersOnCpu():  # type: ignore[no-untyped-call]
        for part in modules_run(model):
            part.reducer._rebuild_buckets()
