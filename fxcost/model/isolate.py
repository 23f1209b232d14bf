"""A meta copy of the user's model, so that the model itself is never touched.

Every tensor in the copy is on meta and costs no memory, whatever the size of the model; tied weights stay tied and
views stay views. Everything else that a module holds is copied as `copy.deepcopy` would, so that a forward pass that
changes the module's state changes only the copy.
"""

from __future__ import annotations

import copy
import enum
import functools
import types
from collections import OrderedDict
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.overrides import TorchFunctionMode

from ..errors import ModelCopyError
from ..meta.nested import is_nested
from ..meta.sparse import is_sparse, meta_copy
from ..meta.storages import META

_ATOMIC = (
    int,
    float,
    complex,
    bool,
    str,
    bytes,
    type(None),
    type,
    types.BuiltinFunctionType,
    torch.dtype,
    torch.device,
    torch.Size,
    torch.layout,
    torch.memory_format,
    enum.Enum,
    range,
    slice,
    types.ModuleType,
)
_ATOMIC_TYPES = frozenset(t for t in _ATOMIC if t is not enum.Enum)
_TABLES = frozenset(nn.Module().__dict__)
"""Attributes of every module, most of them empty tables of hooks."""
_TENSOR_TABLES = frozenset({"_parameters", "_buffers"})
_PLAIN_TENSORS = frozenset({Tensor, nn.Parameter})


class MetaCopier:
    """Copies objects with every tensor replaced by a meta tensor.

    `dtype` replaces the dtype of floating-point tensors. `real` lists (meta copy, original) of every tensor that holds
    data, for those who follow values; `lazy` says that a tensor has no shape yet.
    """

    def __init__(self, dtype: torch.dtype | None = None) -> None:
        self.dtype = dtype
        self.real: list[tuple[Tensor, Tensor]] = []
        self.lazy = False
        self._memo: dict[int, Any] = {}
        self._storages: dict[int, torch.UntypedStorage] = {}
        self._alive: list[Any] = []
        self._path: list[str] = []
        self._models: list[Any] = []

    def model(self, model: Any) -> Any:
        """Copy a module, a bound method of one, or any other callable.

        Raises:
            ModelCopyError: something that a module holds can't be copied; the message names the module and attribute.
        """
        self._models.append(model)
        return self.value(model)

    def owner(self, graph_module: fx.GraphModule) -> nn.Module:
        """What a given graph refers to: a copy of a GraphModule's modules and tensors, without its code and graph.

        Raises:
            ModelCopyError: as :meth:`model`.
        """
        cls = type(graph_module)
        names = {"__module__": cls.__module__, "__qualname__": cls.__qualname__}
        root: nn.Module = self._remember(graph_module, type(cls.__name__, (nn.Module,), names)())
        self._models.append(graph_module)
        root.training = graph_module.training
        state = graph_module.__dict__
        for name in ("_parameters", "_buffers", "_modules"):
            getattr(root, name).update({k: self.value(v) for k, v in state[name].items()})
        for node in graph_module.graph.nodes:
            first = str(node.target).split(".")[0]
            if node.op == "get_attr" and first in state:
                root.__dict__[first] = self.value(state[first])
        return root

    def function(self, function: types.FunctionType) -> tuple[types.FunctionType, dict[str, Any]]:
        """A function with copies of the modules and tensors that it takes from its closure and its globals.

        Returns the function and the copies by name.
        """
        cells = dict(zip(function.__code__.co_freevars, function.__closure__ or (), strict=True))
        outside = {n: function.__globals__[n] for n in function.__code__.co_names if n in function.__globals__}
        outside.update({n: cell.cell_contents for n, cell in cells.items() if cell != types.CellType()})
        copies = {n: self.model(v) for n, v in outside.items() if isinstance(v, (nn.Module, Tensor))}
        masks = {n: self.value(v) for n, v in outside.items() if type(v).__module__.startswith("torch.nn.attention.")}
        replaced = copies | masks
        result = types.FunctionType(
            function.__code__,
            {**function.__globals__, **replaced},
            function.__name__,
            function.__defaults__,
            tuple(types.CellType(replaced[n]) if n in replaced else cell for n, cell in cells.items()),
        )
        result.__kwdefaults__ = function.__kwdefaults__
        return result, copies

    def value(self, value: Any) -> Any:
        """Copy any object."""
        kind = type(value)
        if kind in _ATOMIC_TYPES or isinstance(value, enum.Enum):
            return value
        if id(value) in self._memo:
            return self._memo[id(value)]
        if isinstance(value, Tensor):
            return self.tensor(value)
        if isinstance(value, nn.Module):
            return self._module(value)
        if kind is types.FunctionType:
            return value
        if kind is types.MethodType:
            return types.MethodType(value.__func__, self.value(value.__self__))
        if kind is functools.partial:
            return functools.partial(self.value(value.func), *self.value(value.args), **self.value(value.keywords))
        return self._container(value, kind)

    def _container(self, value: Any, kind: type) -> Any:
        if kind is dict or kind is OrderedDict:
            result: Any = self._remember(value, kind())
            for k, v in value.items():
                result[k] = self.value(v)
            return result
        if kind is list:
            result = self._remember(value, [])
            result.extend(value if _ATOMIC_TYPES.issuperset(map(type, value)) else map(self.value, value))
            return result
        if kind is tuple:
            return tuple(map(self.value, value))
        if _is_plain_object(kind):
            result = self._remember(value, object.__new__(kind))
            result.__dict__.update({k: self.value(v) for k, v in value.__dict__.items()})
            return result
        while self._models:  # what copies itself may not ask for its tensors: it finds them in the memo
            model = self._models.pop()
            for tensor in (*model.parameters(), *model.buffers()) if isinstance(model, nn.Module) else ():
                self.tensor(tensor)
        try:
            with _TensorsToMeta(self):
                return copy.deepcopy(value, self._memo)
        except Exception as error:
            where = ".".join(self._path) or "the model"
            raise ModelCopyError(
                f"{where}: a {kind.__module__}.{kind.__qualname__} can't be copied ({error}). fxcost works on a copy "
                "so that your model stays as it is; take that object out of the module, or give its class a "
                "__deepcopy__ method"
            ) from error

    def _module(self, module: nn.Module) -> Any:
        cls: type = type(module)
        if not _copies_plainly(cls):
            return self._remember(module, self._container(module, cls))
        result = self._remember(module, object.__new__(cls))
        state = result.__dict__
        state.update(module.__dict__)
        for name, value in state.items():
            kind = type(value)
            if kind in _ATOMIC_TYPES or (kind is tuple and _ATOMIC_TYPES.issuperset(map(type, value))):
                continue
            if name in _TABLES and not value:
                state[name] = kind()
                continue
            if name in _TENSOR_TABLES and kind is dict:
                state[name] = {k: v if v is None else self.tensor(v) for k, v in value.items()}
                continue
            self._path.append(name)
            state[name] = self._children(value) if name == "_modules" else self.value(value)
            self._path.pop()
        return result

    def _children(self, modules: dict[str, nn.Module | None]) -> dict[str, nn.Module | None]:
        result = modules.copy()
        self._path.pop()  # children stand under their own names
        for name, child in modules.items():
            if child is not None:
                self._path.append(name)
                result[name] = self.value(child)
                self._path.pop()
        self._path.append("_modules")
        return result

    def _remember(self, original: Any, result: Any) -> Any:
        self._memo[id(original)] = result
        self._alive.append(original)  # an id is only good while its object lives
        return result

    def tensor(self, tensor: Tensor) -> Tensor:
        """The meta copy of a tensor: same shape, stride and aliasing, `requires_grad` and parameter-ness."""
        if id(tensor) in self._memo:
            return self._memo[id(tensor)]  # type: ignore[no-any-return]
        kind = type(tensor)
        if kind is not nn.Parameter and nn.parameter.is_lazy(tensor):
            self.lazy = True
            lazy: Any = kind
            return self._remember(tensor, lazy(device=META, dtype=tensor.dtype))  # type: ignore[no-any-return]
        meta = self._meta(tensor)
        if kind is nn.Parameter:
            meta = Tensor._make_subclass(nn.Parameter, meta, tensor.requires_grad)
        elif isinstance(tensor, nn.Parameter):
            meta = nn.Parameter(meta, requires_grad=tensor.requires_grad)
        elif tensor.requires_grad and tensor.is_leaf:
            meta.requires_grad_()
        if not tensor.is_meta:
            self.real.append((meta, tensor))
        if kind in _PLAIN_TENSORS and tensor.__dict__:
            meta.__dict__.update(tensor.__dict__)
        return self._remember(tensor, meta)  # type: ignore[no-any-return]

    def _meta(self, tensor: Tensor) -> Tensor:
        if tensor.is_meta and self.dtype is None and type(tensor) in _PLAIN_TENSORS:
            return tensor.data  # a tensor of its own on the same memory, of which there is none
        if is_sparse(tensor):
            return meta_copy(tensor)
        if is_nested(tensor) or tensor.is_quantized:
            return tensor  # it has no meta form: only a real run can be recorded
        if tensor.layout is not torch.strided or hasattr(type(tensor), "__tensor_flatten__"):
            return tensor.detach().to(META)
        dtype = self.dtype if self.dtype is not None and tensor.is_floating_point() else tensor.dtype
        old = tensor.untyped_storage()
        storage = self._storages.get(old._cdata)
        if storage is None:
            items = old.nbytes() // tensor.element_size()
            if items == tensor.numel() and tensor.storage_offset() == 0:
                meta = torch.empty_strided(tensor.shape, tensor.stride(), dtype=dtype, device=META)
                self._storages[old._cdata] = meta.untyped_storage()
                self._alive.append(old)
                return meta
            storage = torch.UntypedStorage(items * dtype.itemsize, device="meta")
            self._storages[old._cdata] = storage
            self._alive.append(old)
        empty = torch.empty(0, dtype=dtype, device=META)
        return empty.set_(storage, tensor.storage_offset(), tensor.shape, tensor.stride())


class _TensorsToMeta(TorchFunctionMode):
    """Has `copy.deepcopy` of any object (with slots, a deque, of C) take meta copies of the tensors that it finds."""

    def __init__(self, copier: MetaCopier) -> None:
        super().__init__()
        self._copier = copier

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is Tensor.__deepcopy__:
            return self._copier.tensor(args[0])
        return func(*args, **(kwargs or {}))


_PROTOCOL = ("__deepcopy__", "__copy__", "__reduce__", "__reduce_ex__", "__getstate__", "__new__")


@functools.lru_cache(maxsize=4096)
def _copies_plainly(cls: Any) -> bool:
    """True if copying a module of this class is copying its `__dict__`: it has no copy protocol of its own."""
    own_setstate = cls.__setstate__ is not nn.Module.__setstate__ and not cls.__module__.startswith("torch.nn.")
    own = any(getattr(cls, name, None) is not getattr(nn.Module, name, None) for name in _PROTOCOL)
    return not own and not own_setstate and not issubclass(cls, torch.jit.ScriptModule)


@functools.lru_cache(maxsize=4096)
def _is_plain_object(cls: type) -> bool:
    """True for objects that are nothing but a `__dict__`: classes defined in Python, without slots or protocol."""
    own = any(getattr(cls, name, None) is not getattr(object, name, None) for name in (*_PROTOCOL, "__setstate__"))
    bases = cls.__mro__[:-1]
    python_made = any("__dict__" in base.__dict__ for base in bases) and cls.__basicsize__ <= _PLAIN_SIZE
    return python_made and not own and not any("__slots__" in base.__dict__ for base in bases)


_PLAIN_SIZE = type("_Plain", (), {}).__basicsize__
