"""A meta copy of the user's model, so that the model itself is never touched.

Every tensor in the copy is on meta and costs no memory, whatever the size of the model; tied weights stay tied and
views stay views. Everything else that a module holds is copied as `copy.deepcopy` would, so that a forward pass that
changes the module's state changes only the copy. What its code reaches besides, and leads to modules or tensors, is
made anew on copies of these (rebuild.py).

Not here: state without tensors that code reaches outside the model, which is put back after a run (left_behind.py).
"""

from __future__ import annotations

import copy
import enum
import functools
import types
from collections import OrderedDict, defaultdict, deque
from contextvars import ContextVar
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.overrides import TorchFunctionMode

from ..errors import ModelCopyError
from ..records.tree import held_tensors, named_modules, table
from .holding import NOTHING, is_a, slots
from .reach import Reach
from .rebuild import KINDS, Rebuilder

_TABLES = frozenset(nn.Module().__dict__)
"""Attributes of every module, most of them empty tables of hooks."""
_TENSOR_TABLES = frozenset({"_parameters", "_buffers"})
_ATOMS = NOTHING | {types.ModuleType, ContextVar}


class MetaCopier(Rebuilder):
    """Copies objects with every tensor replaced by a meta tensor.

    `reach` says what code reaches from outside; without one, :meth:`model` looks for it.
    """

    def __init__(self, dtype: torch.dtype | None = None, reach: Reach | None = None) -> None:
        super().__init__(dtype)
        self._path: list[str] = []
        self._models: list[Any] = []
        self._plain: dict[type, bool] = {}
        self._pending: list[tuple[nn.Module, Any, tuple[str, ...]]] = []
        self._filling = False
        self.reach = reach if reach is not None else Reach(None)

    def model(self, model: Any) -> Any:
        """Copy a module, a bound method of one, or any other callable.

        Raises:
            ModelCopyError: something that a module holds can't be copied; the message names the module and attribute.
        """
        if self.reach.of is None:
            self.reach = Reach(model)
        self._models.append(model)
        return self.value(model)

    def keep(self, module: nn.Module) -> None:
        """Have a module stand for itself: it is not copied."""
        self._remember(module, module)

    def owner(self, graph_module: fx.GraphModule) -> nn.Module:
        """What a given graph refers to: a copy of a GraphModule's modules and tensors, without its code and graph.

        Raises:
            ModelCopyError: as :meth:`model`.
        """
        cls = type(graph_module)
        names = {"__module__": cls.__module__, "__qualname__": cls.__qualname__}
        root: nn.Module = self._remember(graph_module, type(cls.__name__, (nn.Module,), names)())
        self._models.append(graph_module)
        self._say_if_stale(graph_module)
        root.training = graph_module.training
        state = graph_module.__dict__
        for name in ("_parameters", "_buffers", "_modules"):
            getattr(root, name).update({k: self.value(v) for k, v in state[name].items()})
        for node in graph_module.graph.nodes:
            first = str(node.target).split(".")[0]
            if node.op == "get_attr" and first in state:
                root.__dict__[first] = self.value(state[first])
        return root

    def value(self, value: Any) -> Any:
        """Copy any object."""
        kind, key = type(value), id(value)
        if kind in _ATOMS or issubclass(kind, enum.Enum):
            return value
        if key in self._memo:
            return self._memo[key]
        if key in self.reach.shared:
            return value
        if kind is torch.Generator:  # whose own way of being copied fails where a mode is active
            return self._remember(value, value.clone_state())
        if issubclass(kind, Tensor):
            return self.tensor(value)
        if issubclass(kind, nn.Module):
            return self._module_copy(value)
        if kind in KINDS or issubclass(kind, type):
            return self._remember(value, self.rebuilt(value)) if key in self.reach.dirty else value
        if kind is types.MethodType:
            return types.MethodType(self.value(value.__func__), self.value(value.__self__))
        if kind is functools.partial:
            return functools.partial(self.value(value.func), *self.value(value.args), **self.value(value.keywords))
        return self._apart(value) if key in self.reach.apart else self._container(value, kind)

    def _apart(self, value: Any) -> Any:
        try:
            return self.holder(value, self._copy)
        except TypeError:
            kind = type(value)
            self.assumptions.append(
                f"a {kind.__module__}.{kind.__qualname__} that the code reaches holds modules or tensors and can't be "
                "copied: those in it took part as they are, and are not counted as the model's"
            )
            return self._remember(value, value)

    def _container(self, value: Any, kind: type) -> Any:
        if kind is dict or kind is OrderedDict:
            result: Any = self._remember(value, kind())
            for k, v in value.items():
                result[self.value(k)] = self.value(v)
            return result
        if kind is list:
            result = self._remember(value, [])
            result.extend(value if _ATOMS.issuperset(map(type, value)) else map(self.value, value))
            return result
        if kind is tuple:
            return tuple(map(self.value, value))
        if kind is types.MappingProxyType:
            return self._remember(value, types.MappingProxyType(self.value(dict(value))))
        if _is_plain(kind):
            try:
                return self.holder(value, self.value)
            except TypeError as error:  # a lock is plain to look at, and made by its own class alone
                if "is not safe" not in str(error):
                    raise
        return self._by_its_protocol(value, kind)

    def _by_its_protocol(self, value: Any, kind: type) -> Any:
        while self._models:  # what copies itself may not ask for its tensors: it finds them in the memo
            model = self._models.pop()
            for tensor in held_tensors(model) if isinstance(model, nn.Module) else ():
                self.tensor(tensor)
        self._fill_pending()
        try:
            with _TensorsToMeta(self):
                made = copy.deepcopy(value, self._memo)
        except Exception as error:
            where = ".".join(self._path) or "the model"
            raise ModelCopyError(
                f"{where}: a {kind.__module__}.{kind.__qualname__} can't be copied ({error}). fxcost works on a copy "
                "so that your model stays as it is; take that object out of the module, or give its class a "
                "__deepcopy__ method"
            ) from error
        if id(kind) in self.reach.dirty and type(made) is kind:
            object.__setattr__(made, "__class__", self.value(kind))
        if is_a(value, torch.jit.ScriptModule):
            self._fill_script(value, made)
        if isinstance(made, fx.GraphModule):
            self._renew_targets(made)
            if is_a(value, fx.GraphModule):  # and not what stands around one
                self._complete(value, made)
        return made

    def _fill_script(self, module: Any, made: Any) -> None:
        """TorchScript copies its tensors as data, in C++."""
        mine: Any
        for (_, original), (_, mine) in zip(named_modules(module), named_modules(made), strict=True):
            for name in ("_parameters", "_buffers"):
                for key, tensor in list(table(original, name).items()):
                    mine._c.setattr(key, self.tensor(tensor))

    def _complete(self, module: fx.GraphModule, made: fx.GraphModule) -> None:
        """Copy what a GraphModule's own way of copying forgets: hooks, and attributes that its graph does not name."""
        self._say_if_stale(module)
        for name, value in vars(module).items():
            if name == "forward" or "_hooks" in name or name not in vars(made):
                vars(made)[name] = self.value(value)

    def _say_if_stale(self, module: fx.GraphModule) -> None:
        """A graph that was edited runs once its code is made anew; until then the module runs the old one."""
        if getattr(module, "_code", None) != module.graph.python_code("self").src:
            self.assumptions.append(
                f"the graph of a {type(module).__name__} was edited after its code was made: the numbers are those of "
                "the graph, and the module runs it only after recompile()"
            )

    def _renew_targets(self, module: fx.GraphModule) -> None:
        """A graph calls the functions that were made anew."""
        dirty = [node for node in module.graph.nodes if id(node.target) in self.reach.dirty]
        for node in dirty:
            node.target = self.value(node.target)
        if dirty:
            module.recompile()

    # --------------------------------------------------------------------------------------------------------- modules

    def _module_copy(self, module: nn.Module) -> Any:
        """An empty copy, filled at once or when those around it are: so the depth of a model needs no stack."""
        cls: type = type(module)
        if not self._copies_plainly(cls):
            return self._remember(module, self._by_its_protocol(module, cls))
        result = self._remember(module, object.__new__(self._copy(cls)))
        self._pending.append((module, result, tuple(self._path)))
        if not self._filling:
            self._fill_pending()
        return result

    def _fill_pending(self) -> None:
        around, self._filling = (self._filling, self._path), True
        while self._pending:
            module, result, path = self._pending.pop()
            self._path = list(path)
            self._fill(module, result)
        self._filling, self._path = around

    def _fill(self, module: nn.Module, result: Any) -> None:
        state = object.__getattribute__(result, "__dict__")
        state.update(object.__getattribute__(module, "__dict__"))
        for name, value in slots(module).items():
            object.__setattr__(result, name, self.value(value))
        for name, value in state.items():
            kind = type(value)
            if kind in _ATOMS or (kind is tuple and _ATOMS.issuperset(map(type, value))):
                continue
            if name in _TABLES and not value:
                state[name] = kind()
            elif name in _TENSOR_TABLES and kind is dict:
                state[name] = {k: self.value(v) for k, v in value.items()}
            elif name == "_modules" and kind is dict:
                state[name] = {k: self._under(k, v) for k, v in value.items()}
            else:
                state[name] = self._under(name, value)

    def _under(self, name: str, value: Any) -> Any:
        self._path.append(name)
        result = self.value(value)
        self._path.pop()
        return result

    def _copies_plainly(self, cls: Any) -> bool:
        """True if copying a module of this class is copying its `__dict__`: it has no copy protocol of its own."""
        if cls not in self._plain:
            own_setstate = cls.__setstate__ is not nn.Module.__setstate__ and not cls.__module__.startswith("torch.nn.")
            own = any(getattr(cls, name, None) is not getattr(nn.Module, name, None) for name in _PROTOCOL)
            self._plain[cls] = not own and not own_setstate and not issubclass(cls, torch.jit.ScriptModule)
        return self._plain[cls]


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


def _is_plain(cls: type) -> bool:
    """True for containers, and for objects that are nothing but attributes: made in Python, without a protocol."""
    base: Any = next((b for b in cls.__mro__ if b in _CONTAINERS), object)
    own = any(getattr(cls, name, None) is not getattr(base, name, None) for name in (*_PROTOCOL, "__setstate__"))
    return not own and (cls is base or bool(cls.__flags__ & _MADE_IN_PYTHON))


_CONTAINERS = frozenset({defaultdict, deque, dict, frozenset, list, set, types.SimpleNamespace, OrderedDict, object})
_MADE_IN_PYTHON = 1 << 9
"""Of a type's flags: it stands on the heap."""
