"""A training step on real tensors, watched by a mode of its own that shares no code with fxcost.

What is alive is read off real storages, which die when Python lets them go.
"""

from __future__ import annotations

import weakref
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor
from torch.distributed.tensor import DTensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

NAMESPACES = ("c10d", "_c10d_functional", "_dtensor")
SILENT = ("wait_tensor", "_wrap_tensor_autograd")


def local(tensor: Tensor) -> Tensor:
    return tensor._local_tensor if isinstance(tensor, DTensor) else tensor


def _done(tensors: list[Tensor]) -> Any:
    future: Any = torch.futures.Future()
    future.set_result(tensors)
    return torch._C._distributed_c10d._create_work_from_future(future).boxed()


class Watch(TorchDispatchMode):
    """Counts collectives, multiply-accumulates and live bytes of whatever runs.

    The fake process group's work has no result, for which DDP's reducer asks: here it has.
    """

    def __init__(self, held: list[Tensor]) -> None:
        super().__init__()
        self.answers = dist.get_backend() != "gloo"
        self.live = self.peak = 0
        self.collectives: Counter[tuple[str, str]] = Counter()
        self.macs: Counter[str] = Counter()
        self.phase = "forward"
        self.reduced: list[Tensor] = []
        self._sizes: dict[int, int] = {}
        for tensor in held:
            self.hold(local(tensor).untyped_storage())

    def hold(self, storage: torch.UntypedStorage) -> None:
        key = storage._cdata
        if key not in self._sizes:
            self._sizes[key] = 0
            self._resize(key, storage.nbytes())
            weakref.finalize(storage, self._free, key)

    def _free(self, key: int) -> None:
        self.live -= self._sizes.pop(key, 0)

    def _resize(self, key: int, nbytes: int) -> None:
        self.live += nbytes - self._sizes[key]
        self._sizes[key] = nbytes
        self.peak = max(self.peak, self.live)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        fake = torch._C._get_dispatch_mode(torch._C._TorchDispatchModeKey.FAKE)
        if fake is not None or any(issubclass(t, FakeTensor) for t in types):
            return func(*args, **kwargs)
        if not {Tensor, nn.Parameter}.issuperset(types):
            return NotImplemented
        out = func(*args, **kwargs)
        if func is torch.ops.c10d.allreduce_.default and self.answers:
            out = (args[0], _done(args[0]))
        if func is torch.ops.c10d.allreduce_.default:
            self.reduced += args[0]
        for item in out if isinstance(out, (list, tuple)) else (out,):
            for tensor in item if isinstance(item, (list, tuple)) else (item,):
                if type(tensor) in (Tensor, nn.Parameter):
                    self.hold(tensor.untyped_storage())
        if func.namespace in NAMESPACES and func._schema.name.split("::")[1] not in SILENT:
            self.collectives[self.phase, str(func)] += 1
        if (formula := flop_registry.get(func._overloadpacket)) is not None:
            self.macs[self.phase] += formula(*args, **kwargs, out_val=out) // 2
        return out

    @contextmanager
    def resizes(self) -> Iterator[None]:
        """While active, storages that change their size are seen."""
        before = torch.UntypedStorage.resize_

        def resize_(storage: torch.UntypedStorage, size: int) -> Any:
            self.hold(storage)
            before(storage, size)
            self._resize(storage._cdata, storage.nbytes())
            return storage

        torch.UntypedStorage.resize_ = resize_  # type: ignore[method-assign]
        try:
            yield
        finally:
            del torch.UntypedStorage.resize_


def measured(model: nn.Module, tokens: Tensor, loss: Callable[[Any], Tensor]) -> dict[str, Any]:
    """What one step of a sharded model does and holds, on this process's rank.

    DDP makes its buckets anew after its first step, and keeps these: its third step is measured, buckets and all.
    """
    settle(model)
    held = [*model.parameters(), *model.buffers(), tokens]
    if isinstance(model, nn.parallel.DistributedDataParallel):
        for _ in range(2):
            with (watch := Watch(held)):
                loss(model(tokens)).backward()
            model.zero_grad()
        held += watch.reduced
    parameters = {local(p).untyped_storage()._cdata: local(p).untyped_storage().nbytes() for p in model.parameters()}
    with (watch := Watch(held)), watch.resizes():
        out = model(tokens)
        value = loss(out)
        watch.phase = "backward"
        value.backward()
        del value, out
    grads = [local(p.grad) for p in model.parameters() if p.grad is not None]
    return {
        "macs": dict(watch.macs),
        "collectives": dict(watch.collectives),
        "parameter_bytes": sum(parameters.values()),
        "gradient_bytes": sum({g.untyped_storage()._cdata: g.untyped_storage().nbytes() for g in grads}.values()),
        "peak": watch.peak,
        "left": watch.live,
    }


def settle(model: nn.Module) -> None:
    """Have FSDP lay out its shards as in its first forward pass, which is no part of a step."""
    from torch.distributed.fsdp import FSDPModule

    if isinstance(model, FSDPModule):
        model._get_fsdp_state()._lazy_init()


def with_processes(rank: int, size: int, port: int) -> None:
    """Join a group of real processes."""
    dist.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=size)
