"""Numbers for the pieces of memory that tensors use, by which records say which tensors share one."""

from __future__ import annotations

import weakref
from collections.abc import Callable

import torch
from torch import Tensor
from torch.utils._python_dispatch import _disable_current_modes

from ..records.recording import TensorSpec

META = torch.device("meta")


def stand_in(tensor: Tensor) -> Tensor:
    """A meta tensor of the same shape and layout, in memory of its own; making it is no call of the model's."""
    with _disable_current_modes(), torch._C.DisableTorchFunction():
        return torch.empty_strided(tensor.shape, tensor.stride(), dtype=tensor.dtype, device=META)


class Storages:
    """Numbers storages in the order in which they appear.

    They are held weakly: they die with their last tensor, as in the user's own run, and `on_free` is called with the
    number. :meth:`tensor` makes a storage anew if it has died.
    """

    def __init__(self) -> None:
        self.nbytes: list[int] = []
        self.on_free: Callable[[int], None] | None = None
        self._numbers: dict[int, int] = {}
        self._watched: dict[int, weakref.ref[torch.UntypedStorage]] = {}

    def number(self, tensor: Tensor) -> int:
        """The number of a tensor's storage, a new one at first sight; −1 for sparse tensors, which have none."""
        if tensor.layout is not torch.strided:
            return -1
        return self.number_of(tensor.untyped_storage())

    def number_of(self, storage: torch.UntypedStorage) -> int:
        """The number of a storage, a new one at first sight."""
        address = storage._cdata
        number = self._numbers.get(address)
        if number is None:
            number = self.reserve(storage.nbytes())
            self._attach(storage, address, number)
        return number

    def address(self, storage: torch.UntypedStorage) -> int:
        """Where a storage would be, were it in memory: no two of them overlap, all are aligned."""
        return (self.number_of(storage) + 1) << 44

    def reserve(self, nbytes: int) -> int:
        """A number for a storage of so many bytes that exists only on paper until :meth:`tensor` needs it."""
        self.nbytes.append(nbytes)
        return len(self.nbytes) - 1

    def tensor(self, spec: TensorSpec) -> Tensor:
        """A meta tensor as `spec` describes it, sharing memory with all others of its storage number."""
        watched = self._watched.get(spec.storage)
        storage = watched() if watched is not None else None
        if storage is None:
            if spec.nbytes == self.nbytes[spec.storage] and not spec.offset:
                whole = torch.empty_strided(spec.shape, spec.stride, dtype=spec.dtype, device=META)
                storage = whole.untyped_storage()
                if storage.nbytes() == spec.nbytes:
                    self._attach(storage, storage._cdata, spec.storage)
                    return whole
            storage = torch.UntypedStorage(self.nbytes[spec.storage], device="meta")
            self._attach(storage, storage._cdata, spec.storage)
        empty = torch.empty(0, dtype=spec.dtype, device=META)
        return empty.set_(storage, spec.offset, spec.shape, spec.stride)

    def settle(self) -> None:
        """All has run: no storage is watched any more, whose watchers would keep this alive in a circle."""
        self.on_free = None
        self._watched.clear()

    def let_go(self, storage: torch.UntypedStorage) -> int | None:
        """The memory of a storage is freed though it lives on: what it is given next has another number.

        Returns the number that it had, if any.
        """
        number = self._numbers.pop(storage._cdata, None)
        if number is not None:
            self._watched.pop(number, None)
            if self.on_free is not None:
                self.on_free(number)
        return number

    def _attach(self, storage: torch.UntypedStorage, address: int, number: int) -> None:
        self._numbers[address] = number

        def freed(_: object, self: Storages = self) -> None:
            if self._numbers.get(address) == number:
                del self._numbers[address]
            self._watched.pop(number, None)
            if self.on_free is not None:
                self.on_free(number)

        self._watched[number] = weakref.ref(storage, freed)
