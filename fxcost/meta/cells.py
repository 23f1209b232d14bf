"""What is known of the contents of storages, and how an operator is evaluated on it.

The memory side of values.py: that file decides what to follow, this one holds and computes it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import _disable_current_modes

from ..errors import UnknownValueError
from .user_code import asking_line

CPU = torch.device("cpu")

INTEGER_LIMIT = 1 << 24
FLOAT_LIMIT = 1 << 20
PARAMETER_LIMIT = 1 << 12

STRANGER = (
    "a module or parameter that the code reaches in a way that can't be followed took part as it is: its parameters "
    "are not counted among the model's. Make it an attribute of the model, or an argument"
)
"""What is assumed where a leaf of the user's turns up that is no part of the copy."""

UNREGISTERED = (
    "a parameter{} takes part that is not registered: model.parameters() has it not, so it is not counted among the "
    "parameters, and no optimizer trains it. Hold modules in nn.ModuleList or ModuleDict, parameters in ParameterList"
)
"""What is assumed where a parameter turns up that a list or an object of the model's holds, and no module's table."""
UNSEEN = (
    "a tensor on meta took part that nothing made which could be seen: what made it (in a thread of its own, or "
    "outside the model) is not counted"
)
"""What is assumed where a tensor turns up that no operator returned, and that nobody gave."""

Evaluation = Callable[[], list[torch.UntypedStorage] | None]
"""Runs an operator on the CPU: the storages of its results, or None if it can't be run there."""


class Cell:
    """What is known of a storage's contents: bytes on the CPU, or how to get them.

    Cells are never written: an in-place operator gets a copy, so that a pending evaluation sees what it saw then.
    """

    __slots__ = ("evaluate", "places", "sampled", "storage")

    def __init__(
        self,
        storage: torch.UntypedStorage | None,
        sampled: bool = False,
        evaluate: Callable[[], tuple[torch.UntypedStorage, bool]] | None = None,
    ) -> None:
        self.storage = storage
        self.sampled = sampled
        self.evaluate = evaluate
        self.places: dict[Any, int] = {}
        """How many places masks on it leave, by their offset, shape and strides: layers share a mask."""

    def get(self) -> torch.UntypedStorage:
        """The bytes, evaluated on first use."""
        if self.storage is None:
            assert self.evaluate is not None
            self.storage, self.sampled = self.evaluate()
            self.evaluate = None
        return self.storage


class Source:
    """A tensor argument as it was when an operator ran: its cell then, or noise of its shape.

    Without noise nothing but its shape and dtype matters, and it takes no memory.
    """

    __slots__ = ("cell", "dtype", "noise", "offset", "range", "shape", "stride")

    def __init__(
        self,
        tensor: Tensor,
        cell: Cell | None,
        noise: torch.Generator | None,
        between: tuple[float, float] | None = None,
    ) -> None:
        self.cell, self.noise, self.range = cell, noise, between or (0.0, 1.0)
        self.dtype, self.offset, self.shape, self.stride = (
            tensor.dtype,
            tensor.storage_offset(),
            tensor.shape,
            tensor.stride(),
        )

    def __call__(self) -> Tensor:
        """The tensor on the CPU."""
        if self.cell is not None:
            return torch.empty(0, dtype=self.dtype).set_(self.cell.get(), self.offset, self.shape, self.stride)
        with _disable_current_modes():
            if self.noise is None:
                return torch.empty((), dtype=self.dtype).expand(self.shape)
            if self.dtype.is_floating_point:
                low, high = self.range
                return (torch.rand(self.shape, generator=self.noise) * (high - low) + low).to(self.dtype)
            return torch.zeros(self.shape, dtype=self.dtype)


def _histc(x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    """`aten.histc` of integers, which CUDA and meta take and the CPU does not."""
    counts: Tensor = torch.ops.aten.histc.default(x.float(), *args, **kwargs)
    return counts.to(x.dtype)


_CPU_KERNELS: dict[Any, Callable[..., Any]] = {torch.ops.aten.histc.default: _histc}


def evaluation(func: Any, sources: list[Any], tree: Any, outputs: list[Tensor]) -> Evaluation:
    """How to run an operator on values: `sources` are its arguments, flattened by `tree`, a :class:`Source` each."""
    shapes = [(t.untyped_storage().nbytes(), t.dtype, t.storage_offset(), t.shape, t.stride()) for t in outputs]

    def evaluate() -> list[torch.UntypedStorage] | None:
        drawn = {id(s): s() for s in sources if isinstance(s, Source)}  # once, where an argument is given twice: x == x
        real = [drawn.get(id(s), CPU if isinstance(s, torch.device) else s) for s in sources]
        args, kwargs = pytree.tree_unflatten(real, tree)
        if "device" in {a.name for a in func._schema.arguments} and not any(isinstance(r, Tensor) for r in real):
            kwargs = {**kwargs, "device": CPU}
        with _disable_current_modes():
            try:
                result = _CPU_KERNELS.get(func, func)(*args, **kwargs)
            except Exception:  # a kernel that the CPU lacks: the value stays unknown
                return None
        storages = []
        for tensor, (nbytes, dtype, offset, shape, stride) in zip(tensors(result), shapes, strict=False):
            if tensor.shape != shape:
                return None
            storage = torch.UntypedStorage(nbytes)
            torch.empty(0, dtype=dtype).set_(storage, offset, shape, stride).copy_(tensor)
            storages.append(storage)
        return storages

    return evaluate


def lazily(
    evaluate: Callable[[], list[torch.UntypedStorage] | None], shared: dict[str, Any], i: int
) -> Callable[[], tuple[torch.UntypedStorage, bool]]:
    """Evaluate once for all results of an operator; a value got this way counts as sampled."""

    def get() -> tuple[torch.UntypedStorage, bool]:
        if "results" not in shared:
            shared["results"] = evaluate()
        results = shared["results"]
        if results is None:
            raise UnknownValueError(f"{asking_line()} needs a value that can't be computed on the CPU")
        return results[i], True

    return get


def written_later(cells: dict[int, Cell], numbers: Iterable[int], evaluation_of: Callable[[], Evaluation]) -> None:
    """What an in-place operator writes that works on pending values is pending too: nobody may ever ask for it.

    `evaluation_of` is asked for the operator once copies stand in the place of what it writes.
    """

    def copied(cell: Cell) -> tuple[torch.UntypedStorage, bool]:
        held = cell.get()
        copy = torch.UntypedStorage(held.nbytes())
        copy.copy_(held)
        return copy, True

    copies = {n: Cell(None, evaluate=partial(copied, cells[n])) for n in numbers}
    cells.update(copies)
    evaluate = evaluation_of()
    ran: list[bool] = []

    def written(copy: Cell) -> tuple[torch.UntypedStorage, bool]:
        if not ran:
            ran.append(evaluate() is not None)
        if not ran[0]:
            raise UnknownValueError(f"{asking_line()} needs a value that can't be computed on the CPU")
        return copy.get(), True

    for number, copy in copies.items():
        cells[number] = Cell(None, evaluate=partial(written, copy))


def window(storage: torch.UntypedStorage, like: Tensor) -> Tensor:
    """The real tensor that a meta tensor is, on the storage that holds its values."""
    with torch._C.DisableTorchFunction():  # below TorchScript function modes are still active, and would put it on meta
        empty = torch.empty(0, dtype=like.dtype, device=CPU)
        return empty.set_(storage, like.storage_offset(), like.shape, like.stride())


def tensors(value: Any) -> Iterator[Tensor]:
    """All tensors in a nest of tuples and lists, in order."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, (tuple, list)):
        for item in value:
            yield from tensors(item)


def left_aligned(mask: Tensor) -> Tensor:
    """True if every row of a (N, L) mask is True, …, True, False, …, False."""
    return (mask[:, 1:] <= mask[:, :-1]).all()


def is_integer(tensor: Tensor) -> bool:
    """True for integers and booleans."""
    return not (tensor.is_floating_point() or tensor.is_complex())


def small(tensor: Tensor) -> bool:
    """True if a tensor's value is worth following."""
    return small_size(tensor.dtype, tensor.numel())


def small_size(dtype: torch.dtype, numel: int) -> bool:
    """The same for a dtype and a number of elements."""
    return numel <= (FLOAT_LIMIT if dtype.is_floating_point or dtype.is_complex else INTEGER_LIMIT)
