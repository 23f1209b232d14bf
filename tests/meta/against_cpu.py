"""The same call for real on the CPU and on meta tensors, and in what the two differ.

Both runs are watched operator by operator: the real one by a dispatch mode that knows nothing of fxcost, the other by
fxcost's recorder.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode

import fxcost.meta.unit_gradients  # noqa: F401  (registers them)
from fxcost.capture.host import HostCalls
from fxcost.meta.recorder import Segment
from fxcost.meta.storages import Storages
from fxcost.meta.units import whole_units
from fxcost.meta.values import ValueRecorder

Look = tuple[Any, ...]
_LAST = {4: torch.channels_last, 5: torch.channels_last_3d}
_UNSEEN = ("aten._local_scalar_dense", "aten.detach", "aten.lift_fresh", "prim.")
"""What asks for a value, or gives a tensor another name: of no interest here."""


def contiguous(x: Tensor) -> Tensor:
    """Row by row."""
    return x.clone(memory_format=torch.contiguous_format)


def channels_last(x: Tensor) -> Tensor:
    """Images and volumes with their channels innermost."""
    return x.clone(memory_format=_LAST.get(x.dim(), torch.contiguous_format))


def turned(x: Tensor) -> Tensor:
    """All dimensions in memory in reverse."""
    order = tuple(reversed(range(x.dim())))
    return contiguous(x.permute(order)).permute(order)


def swapped(x: Tensor) -> Tensor:
    """The last two dimensions in memory in reverse."""
    return contiguous(x.transpose(-1, -2)).transpose(-1, -2) if x.dim() > 1 else contiguous(x)


def sliced(x: Tensor) -> Tensor:
    """A part of rows that are longer."""
    if not x.dim():
        return contiguous(x)
    whole = torch.zeros((*x.shape[:-1], x.shape[-1] + 2), dtype=x.dtype)
    part = whole[..., 1 : x.shape[-1] + 1]
    return part.copy_(x)


LAYOUTS = (contiguous, channels_last, turned, swapped, sliced)


def laid_out(tensors: Sequence[Tensor]) -> Iterator[tuple[str, list[Tensor]]]:
    """Copies of tensors in every layout: all of them, the first alone, all but the first."""
    seen = set()
    for layout in LAYOUTS:
        for which, chosen in (("all", lambda i: True), ("first", lambda i: i == 0), ("others", lambda i: i > 0)):
            copies = [_copied(t, layout if chosen(i) else contiguous) for i, t in enumerate(tensors)]
            strides = tuple(t.stride() if t.layout is torch.strided else None for t in copies)
            if strides not in seen:
                seen.add(strides)
                yield f"{layout.__name__}, {which}", copies


def _copied(x: Tensor, layout: Callable[[Tensor], Tensor]) -> Tensor:
    with torch.no_grad():
        copy = layout(x.detach()) if x.layout is torch.strided else x.detach().clone()
    return copy.requires_grad_(x.requires_grad)


class _Watch(TorchDispatchMode):
    """Notes every operator of a real run with what it returned."""

    def __init__(self) -> None:
        super().__init__()
        self.ran: list[tuple[str, list[Look]]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        self.ran.append((str(func), [look(t) for t in pytree.tree_leaves(out) if isinstance(t, Tensor)]))
        return out


def look(tensor: Tensor) -> Look:
    """Shape, dtype, strides and offset; of what has no elements the strides lead nowhere."""
    if tensor.layout is not torch.strided:
        return tuple(tensor.shape), tensor.dtype
    return tuple(tensor.shape), tensor.dtype, tensor.stride() if tensor.numel() else (), tensor.storage_offset()


def looks(out: Any, given: Sequence[Tensor]) -> list[Any]:
    """Everything about what a call returned: tensors, which memory they share, whether they are what was given."""
    owners: dict[int, int] = {}
    for tensor in given:
        if tensor.layout is torch.strided:
            owners.setdefault(tensor.untyped_storage()._cdata, len(owners))
    found = []
    for leaf in pytree.tree_leaves(out):
        if not isinstance(leaf, Tensor):
            found.append(leaf if isinstance(leaf, (int, bool)) else type(leaf))
        elif leaf.layout is not torch.strided:
            found.append(look(leaf))
        else:
            owner = owners.setdefault(leaf.untyped_storage()._cdata, len(owners))
            found.append((*look(leaf), owner, [i for i, t in enumerate(given) if t is leaf]))
    return found


def _gradients(out: Any, given: Sequence[Tensor]) -> list[Tensor | None]:
    """Raw gradients of the sum of all floating-point results, as a training step begins."""
    wanted = [t for t in given if t.requires_grad]
    results = [t for t in pytree.tree_leaves(out) if isinstance(t, Tensor) and t.requires_grad]
    if not wanted or not results:
        return []
    total = sum(t.sum().abs() if t.is_complex() else t.sum() for t in results)
    return list(torch.autograd.grad(total, wanted, allow_unused=True))


def on_cpu(call: Callable[..., Any], given: Sequence[Tensor], train: bool) -> tuple[list[Any], list[Any]]:
    """What a real run returned, gradients included, and the operators that it ran."""
    with _Watch() as watch, torch.set_grad_enabled(train):
        out = call(*given)
        gradients = _gradients(out, given) if train else []
    return [*looks(out, given), *looks(gradients, given)], _visible(watch.ran)


def on_meta(call: Callable[..., Any], given: Sequence[Tensor], train: bool) -> tuple[list[Any], list[Any]]:
    """The same of a run on meta, as fxcost records it."""
    recorder = ValueRecorder(Storages())
    shared: dict[int, torch.UntypedStorage] = {}
    twins = []
    for tensor in given:
        if tensor.layout is not torch.strided:
            twins.append(recorder.twin(tensor))
            continue
        storage = tensor.untyped_storage()
        meta = shared.setdefault(storage._cdata, torch.UntypedStorage(storage.nbytes(), device="meta"))
        empty = torch.empty(0, dtype=tensor.dtype, device="meta")
        twin = empty.set_(meta, tensor.storage_offset(), tensor.shape, tensor.stride())
        recorder.know(twin, tensor)
        twins.append(twin.requires_grad_(tensor.requires_grad))
    recorder.segment = Segment()
    with torch.set_grad_enabled(train), whole_units(), recorder, HostCalls(recorder):
        out = call(*twins)
        gradients = _gradients(out, twins) if train else []
    ran = []
    for record in recorder.segment.operations:
        results = [o for o in record.outputs if o is not None]
        ran.append((str(record.op), [_of_spec(o) for o in results]))
    return [*looks(out, twins), *looks(gradients, twins)], _visible(ran)


def _of_spec(spec: Any) -> Look:
    if not spec.stride and spec.shape:
        return spec.shape, spec.dtype
    return spec.shape, spec.dtype, spec.stride if 0 not in spec.shape else (), spec.offset


def _visible(ran: list[Any]) -> list[Any]:
    return [(op, out) for op, out in ran if not op.startswith(_UNSEEN)]


def shuffled(x: Tensor, rng: random.Random) -> Tensor:
    """The same values in a layout that is drawn: row-major, dimensions in any order in memory, sliced, expanded."""
    kind = rng.choice(["rows", "rows", "channels last", "channels last", "permuted", "permuted", "sliced", "expanded"])
    if kind == "channels last" and x.dim() in _LAST:
        if rng.random() < 0.5:
            return x.contiguous(memory_format=_LAST[x.dim()])
        order = (0, *range(2, x.dim()), 1)
        return contiguous(x.permute(order)).permute(0, x.dim() - 1, *range(1, x.dim() - 1))
    if kind in ("permuted", "channels last") and x.dim():
        order = rng.sample(range(x.dim()), x.dim())
        return contiguous(x.permute(order)).permute([order.index(i) for i in range(x.dim())])
    if kind == "sliced":
        return sliced(x)
    return x[..., :1].expand(x.shape) if kind == "expanded" and x.dim() else x


def on_meta_alike(args: Any) -> Any:
    """Arguments with meta tensors of the same shapes, strides and dtypes in place of the real ones."""
    return pytree.tree_map_only(
        Tensor, lambda t: torch.empty_strided(t.shape, t.stride(), dtype=t.dtype, device="meta"), tuple(args)
    )
