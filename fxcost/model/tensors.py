"""Meta tensors in the place of the user's: same shape, strides and aliasing, no memory.

A subclass stays what it is: its own `__torch_function__` runs on the copy, and what is made of other tensors
(quantized weights) is made of their copies. Where that can't be, `assumptions` says so.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses import FakeTensor

from ..meta.nested import is_nested
from ..meta.segments import in_memory
from ..meta.sparse import is_sparse, meta_copy
from ..meta.storages import META

_PLAIN_TENSORS = frozenset({Tensor, nn.Parameter})
_DEFAULT = Tensor.__torch_function__.__func__  # type: ignore[attr-defined]
_NO_DISPATCH: Any = torch._C._disabled_torch_dispatch_impl


class TensorCopier:
    """Copies tensors to meta, each once.

    `dtype` replaces the dtype of floating-point tensors. `real` lists (meta copy, original) of every tensor that holds
    data, for those who follow values; `home` is where the first tensor is that is anywhere; `lazy` says that a tensor
    has no shape yet, `overriding` that one has a `__torch_function__` of its own; `assumptions` what is taken for
    granted.
    """

    def __init__(self, dtype: torch.dtype | None = None) -> None:
        self.dtype = dtype
        self.real: list[tuple[Tensor, Tensor]] = []
        self.home: torch.device | None = None
        self.lazy = self.overriding = False
        self.assumptions: list[str] = []
        self._memo: dict[int, Any] = {}
        self._storages: dict[int, torch.UntypedStorage] = {}
        self._alive: list[Any] = []

    def value(self, value: Any) -> Any:
        """Copy any object; here, what is no tensor stays as it is."""
        return self.tensor(value) if isinstance(value, Tensor) else value

    def copies(self, originals: Iterable[Any]) -> list[Any]:
        """What stands in the copy for objects of the model's; what is shared stands for itself."""
        return [self._memo.get(id(original), original) for original in originals]

    def addresses(self) -> frozenset[int]:
        """Where the memory of the copies is."""
        tensors = (made for made in self._memo.values() if isinstance(made, Tensor) and made.layout is torch.strided)
        return frozenset(made.untyped_storage()._cdata for made in tensors if in_memory(made))

    def _remember(self, original: Any, result: Any) -> Any:
        self._memo[id(original)] = result
        self._alive.append(original)  # an id is only good while its object lives
        return result

    def tensor(self, tensor: Tensor) -> Tensor:
        """The copy of a tensor: same shape, stride and aliasing, `requires_grad`, class and attributes."""
        if id(tensor) in self._memo:
            return self._memo[id(tensor)]  # type: ignore[no-any-return]
        kind = type(tensor)
        if kind not in _PLAIN_TENSORS:
            with torch._C.DisableTorchFunctionSubclass():  # looking at it is no call of the model's
                return self._subclass(tensor, kind)
        meta = self._view(tensor) if tensor._is_view() else self._meta(tensor)
        if kind is nn.Parameter:
            meta = Tensor._make_subclass(nn.Parameter, meta, tensor.requires_grad)
        return self._finished(tensor, meta)

    def _view(self, tensor: Tensor) -> Tensor:
        """A view of the copy of what it is a view of, so that code may ask; a plain copy of what is differentiated."""
        base: Any = tensor._base
        plain = type(base) is Tensor and base.dtype == tensor.dtype and base.layout is torch.strided
        if not plain or tensor.requires_grad or tensor.is_quantized or base.is_conj() != tensor.is_conj():
            return self._meta(tensor)
        return self.tensor(base).as_strided(tensor.shape, tensor.stride(), tensor.storage_offset())

    def _computed(self, meta: Tensor) -> Tensor:
        """A tensor like this one that has a gradient function, as what was computed from something that trains."""
        if tuple(meta.stride()) == tuple(torch.empty_like(meta).stride()):
            return meta.detach().requires_grad_().clone()
        whole = torch.empty(meta.untyped_storage().nbytes() // meta.element_size(), dtype=meta.dtype, device=META)
        return whole.requires_grad_().clone().as_strided(meta.shape, meta.stride(), meta.storage_offset())

    def _finished(self, tensor: Tensor, meta: Tensor) -> Tensor:
        if tensor.requires_grad and not meta.requires_grad:
            with torch.enable_grad():
                meta = meta.requires_grad_() if tensor.is_leaf else self._computed(meta)
        is_fake = isinstance(tensor, FakeTensor)
        if not tensor.is_meta:
            self.home = self.home or tensor.device
            if not is_fake:
                self.real.append((meta, tensor))
        self._remember(tensor, meta)
        _count_as(tensor, meta)
        if tensor.__dict__ and not is_fake and not _is_nested_of_parts(tensor):  # which are known by what stands there
            meta.__dict__.update({k: self.value(v) for k, v in tensor.__dict__.items()})
        if tensor.requires_grad and (tensor._backward_hooks or tensor._post_accumulate_grad_hooks):
            self._hook(tensor, meta)
        return meta

    def _hook(self, tensor: Tensor, meta: Tensor) -> None:
        """Have the hooks of a leaf run on its copy's gradient; not those that run once the gradient is there."""
        for hook in (tensor._backward_hooks or {}).values() if tensor.is_leaf else ():
            meta.register_hook(self.value(hook))
        if tensor._post_accumulate_grad_hooks:
            self.assumptions.append(
                "hooks that run once a gradient is accumulated (register_post_accumulate_grad_hook), such as an "
                "optimizer's step within the backward pass, are left out: all gradients are kept"
            )

    def _subclass(self, tensor: Tensor, kind: Any) -> Tensor:
        if nn.parameter.is_lazy(tensor):
            self.lazy = True
            return self._remember(tensor, self._lazy(tensor, kind))  # type: ignore[no-any-return]
        if _is_nested_of_parts(tensor):
            meta = self._moved(tensor)
        elif hasattr(kind, "__tensor_flatten__"):
            meta = self._of_parts(tensor, kind)
        elif kind.__torch_dispatch__ is not _NO_DISPATCH and not isinstance(tensor, FakeTensor):
            meta = self._dispatching(tensor, kind)
        else:
            meta = self._meta(tensor)
            if not isinstance(tensor, FakeTensor):
                self.overriding = self.overriding or _overrides(kind)
                return self._finished(tensor, Tensor._make_subclass(kind, meta, tensor.requires_grad))
        if isinstance(tensor, nn.Parameter) and not isinstance(meta, nn.Parameter):
            meta = nn.Parameter(meta, requires_grad=tensor.requires_grad)
        return self._finished(tensor, meta)

    def _of_parts(self, tensor: Any, kind: Any) -> Tensor:
        """A tensor that is made of others, by PyTorch's protocol for these."""
        names, context = tensor.__tensor_flatten__()
        parts = {name: self.tensor(getattr(tensor, name)) for name in names}
        try:
            made: Tensor = kind.__tensor_unflatten__(parts, context, tensor.shape, tensor.stride())
        except Exception:
            return self._moved(tensor)  # a class that has only half of the protocol
        return made.detach() if made.requires_grad else made

    def _dispatching(self, tensor: Tensor, kind: Any) -> Tensor:
        """A subclass that runs operators itself, and doesn't say of what it is made."""
        try:
            moved = self._moved(tensor)
            if type(moved) is kind and self._is_at_home(moved):
                return moved
        except Exception:
            pass  # what it runs it does not run there
        self.assumptions.append(
            f"a {kind.__module__}.{kind.__qualname__}, which runs operators in a way of its own, counts as a plain "
            "tensor of its shape: give the class __tensor_flatten__ and __tensor_unflatten__"
        )
        return torch.empty_strided(tensor.shape, tensor.stride(), dtype=self._dtype_of(tensor), device=META)

    def _lazy(self, tensor: Tensor, kind: Any) -> Tensor:
        return kind(device=META, dtype=tensor.dtype)  # type: ignore[no-any-return]

    def _moved(self, tensor: Tensor) -> Tensor:
        return tensor.detach().to(META)

    def _is_at_home(self, tensor: Tensor) -> bool:
        return tensor.is_meta

    def _dtype_of(self, tensor: Tensor) -> torch.dtype:
        return self.dtype if self.dtype is not None and tensor.is_floating_point() else tensor.dtype

    def _meta(self, tensor: Tensor) -> Tensor:
        """A plain tensor on meta in the place of one of any layout."""
        if tensor.is_meta and self.dtype is None and type(tensor) in _PLAIN_TENSORS:
            return tensor.data  # a tensor of its own on the same memory, of which there is none
        if is_sparse(tensor):
            return meta_copy(tensor)
        if is_nested(tensor) or tensor.is_quantized:
            return tensor  # it has no meta form: only a real run can be recorded
        if tensor.layout is not torch.strided:  # MKL-DNN's, which it has for itself
            self.assumptions.append("weights in the layout of MKL-DNN count as dense ones")
            return torch.empty(tensor.shape, dtype=tensor.dtype, device=META)
        dtype = self._dtype_of(tensor)
        old = tensor.untyped_storage()
        storage = self._storages.get(old._cdata)
        if storage is None:
            items = old.nbytes() // tensor.element_size()
            if items == tensor.numel() and tensor.storage_offset() == 0 and not tensor.is_conj():
                meta = torch.empty_strided(tensor.shape, tensor.stride(), dtype=dtype, device=META)
                self._storages[old._cdata] = meta.untyped_storage()
                self._alive.append(old)
                return meta
            storage = torch.UntypedStorage(items * dtype.itemsize, device="meta")
            self._storages[old._cdata] = storage
            self._alive.append(old)
        empty = torch.empty(0, dtype=dtype, device=META)
        made = empty.set_(storage, tensor.storage_offset(), tensor.shape, tensor.stride())
        return made.conj() if tensor.is_conj() else made


def _count_as(tensor: Tensor, copy: Tensor) -> None:
    """Let a copy have been written to as often as its original, which code may ask (`x._version`)."""
    if _SET_VERSION is None or copy is tensor or tensor.is_inference():
        return
    try:
        _SET_VERSION((copy,), (tensor._version,))
    except TypeError:  # PyTorch took one tensor before it took several
        _SET_VERSION(copy, tensor._version)


_SET_VERSION: Any = getattr(torch._C._autograd, "_unsafe_set_version_counter", None)
"""PyTorch's function for it; None if there is none."""


def _is_nested_of_parts(tensor: Tensor) -> bool:
    return tensor.is_nested and tensor.layout is torch.jagged


def _overrides(kind: Any) -> bool:
    """True for a class with a `__torch_function__` of its own."""
    function = kind.__torch_function__
    return function is not nn.Parameter.__torch_function__ and getattr(function, "__func__", None) is not _DEFAULT
