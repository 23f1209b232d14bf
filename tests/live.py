"""What really is alive while a model runs: every storage that an operator returns, followed by a weak reference."""

from __future__ import annotations

import weakref
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, fx
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode


def tensors(tree: Any) -> list[Tensor]:
    """All tensors in a nest."""
    return [leaf for leaf in pytree.tree_leaves(tree) if isinstance(leaf, Tensor)]


class LiveStorages(TorchDispatchMode):
    """Counts bytes of live storages, those of `base` excepted: `now`, and `peak`."""

    def __init__(self, base: Iterable[Tensor]) -> None:
        super().__init__()
        self.now = self.peak = 0
        self._base = {t.untyped_storage()._cdata for t in base}
        self._watched: dict[int, weakref.ref] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        for tensor in tensors(out):
            self._add(tensor.untyped_storage())
        self.peak = max(self.peak, self.now)
        return out

    def _add(self, storage: torch.UntypedStorage) -> None:
        address, nbytes = storage._cdata, storage.nbytes()
        if address in self._base or address in self._watched:
            return
        self.now += nbytes

        def freed(_: Any) -> None:
            self.now -= nbytes
            del self._watched[address]

        self._watched[address] = weakref.ref(storage, freed)


class Interpreter(fx.Interpreter):
    """Runs a graph; also forgets results that nobody uses, which PyTorch's own keeps to the end."""

    def run_node(self, n: fx.Node) -> Any:
        for unused in [m for m in self.env if not m.users]:
            del self.env[unused]
        return super().run_node(n)


def base_of(model: Any, *inputs: Any) -> list[Tensor]:
    """Parameters, buffers and inputs."""
    held = [*model.parameters(), *model.buffers()] if isinstance(model, torch.nn.Module) else []
    return [*held, *tensors(inputs)]


def eager_peak(model: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None) -> int:
    """Most bytes alive at one time in a real forward pass without gradients."""
    with torch.no_grad(), LiveStorages(base_of(model, args, kwargs)) as live:
        out = model(*args, **(kwargs or {}))
    del out
    return live.peak


def graph_peak(model: torch.nn.Module, graph: fx.Graph, args: tuple[Any, ...]) -> int:
    """The same for a graph that is run node by node."""
    with torch.no_grad(), LiveStorages(base_of(model, args)) as live:
        out = Interpreter(model, graph=graph).run(*args, enable_io_processing=False)
    del out
    return live.peak
