"""What a model's code can reach besides what the model holds: by variables, closures, defaults, classes and caches.

A walk over functions and what they name, classes and their methods, containers and objects. Of a class only those
methods are entered whose name stands somewhere in code that was met, or which Python and PyTorch call by themselves.
The code of PyTorch, NumPy and Python's own library is not entered; what it holds for the user's functions is.

Whatever leads to a module or tensor must be made anew on copies of these (`dirty`); the rest of what code can change
(`state`) is put back after a run (left_behind.py).

Not here: what is found by a name that is put together while the code runs, or by another language.
"""

from __future__ import annotations

import enum
import functools
import types
import weakref
from collections.abc import Callable, Hashable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, fx, nn

from .caches import CachedFunction, entries
from .code import Reads, is_the_users, reads
from .holding import (
    NEVER_RUN,
    NOTHING,
    asks_types,
    called_by_bases,
    contents,
    defaults,
    imported,
    is_a,
    is_users_class,
    may_hold,
    may_matter,
    names_autocast,
    resolved,
)
from .unchanged import is_generator

Path = tuple[str, ...] | None
DATA, CODE = 1, 2
"""How something is reached: as a part of a model or an input, which are copied as a whole, or from code."""

_BOOKKEEPING = frozenset(nn.Module().__dict__)
_TENSOR_TABLES = frozenset({"_parameters", "_buffers"})
_CONSTRUCTORS = frozenset({"__init__", "__new__", "__post_init__"})
_RUN_BY_PYTORCH = frozenset({"forward", "_call_impl", "_wrapped_call_impl"})


@dataclass(frozen=True, slots=True)
class Part:
    """A module or tensor, and the path on which it was found first: a variable's name, then keys and attributes.

    It is `certain` to belong to the model if an object that is the model holds it; else only if it takes part in a run.
    """

    path: tuple[str, ...]
    value: Any
    certain: bool


class Reach:
    """What the code of a model reaches; and that of its inputs, by name, and of a loss.

    `dirty` has the ids of what leads to a module or tensor: functions, classes, containers, objects, variables.
    `apart` those of them that code alone reaches, `shared` those of what else it reaches: a copy of the model has the
    same, so that both see one thing. `state` has what code can change of itself, `variables` (a file's, and a name) and
    `cells` what it assigns to, `generators` those of random numbers. `asks_types`: some may ask for
    `torch.FloatTensor`; `autocasts`: some may cast.
    """

    def __init__(self, model: Any, inputs: Mapping[str, Any] = MappingProxyType({}), loss: Any = None) -> None:
        self.of, self.loss = model, loss
        self.state: list[Any] = []
        self.variables: list[tuple[dict[str, Any], str]] = []
        self.cells: list[types.CellType] = []
        self.generators: list[Any] = []
        self.imports = self.asks_types = False
        self.autocasts = model is None  # whose code is not known
        self._parts: dict[int, tuple[tuple[str, ...], Any]] = {}
        self._ways: dict[Hashable, int] = {}
        self._parents: dict[Hashable, list[Hashable]] = {}
        self._seeds: list[Hashable] = []
        self._writers: dict[Hashable, list[Hashable]] = {}
        self._alive: list[Any] = []  # an id is only good while its object lives
        self._todo: list[tuple[Any, int, Path]] = []
        self._names: set[str] = set(_RUN_BY_PYTORCH)
        self._constructed: set[int] = set()
        self._names_in: dict[int, dict[str, None]] = {}
        self._unnamed: dict[str, list[tuple[type, Any]]] = {}
        self._walk(model, ())
        of_model = len(self._parts)
        for name, value in inputs.items():
            self._walk(value, (name,))
        of_inputs = len(self._parts)
        self._walk(loss, ("loss",))
        self.dirty = self._leading()
        self.shared = {key for key, way in self._ways.items() if way & CODE} - self.dirty
        self.apart = {key for key in self.dirty if self._ways.get(key) == CODE}
        self.parts = tuple(self._found(of_model, of_inputs))

    def names_in(self, scope: dict[str, Any]) -> list[str]:
        """The variables of a file that lead to something dirty."""
        return [name for name in self._names_in.get(id(scope), ()) if (id(scope), name) in self.dirty and name in scope]

    def _found(self, of_model: int, of_inputs: int) -> Iterator[Part]:
        for i, (key, (path, value)) in enumerate(self._parts.items()):
            if i < of_model:
                yield Part(path, value, bool(self._ways[key] & DATA))
            elif is_a(value, nn.Module) or (i >= of_inputs and value.requires_grad):  # other tensors are data
                yield Part(path, value, True)

    def _leading(self) -> set[Hashable]:
        """What leads to a seed; and what reads a variable that such a function assigns to, as it has its own."""
        found: set[Hashable] = set()
        todo = list(self._seeds)
        while todo:
            while todo:
                key = todo.pop()
                if key not in found:
                    found.add(key)
                    todo.extend(self._parents.get(key, ()))
            todo = [place for place, by in self._writers.items() if place not in found and not found.isdisjoint(by)]
        return found

    # --------------------------------------------------------------------------------------------------------- walking

    def _look(self, value: Any, parent: Hashable, way: int, path: Path) -> None:
        """Note that a value can be reached from `parent`."""
        kind = type(value)
        if kind in NOTHING:
            return
        key = id(value)
        if parent is not None:
            self._parents.setdefault(key, []).append(parent)
        if path is not None and issubclass(kind, (nn.Module, Tensor)):
            self._parts.setdefault(key, (path, value))
        if self._ways.get(key, 0) & way != way:
            self._todo.append((value, way, path))

    def _walk(self, root: Any, path: Path) -> None:
        self._look(root, None, DATA, path)
        while self._todo:
            value, way, path = self._todo.pop()
            key, kind = id(value), type(value)
            before = self._ways.get(key, 0)
            if before & way == way:
                continue
            self._ways[key] = before | way
            if not before:
                self._alive.append(value)
            visit = _VISITS.get(kind)
            if visit is not None:
                visit(self, value, way, path)
            elif issubclass(kind, Tensor):
                self._seeds.append(key)
                self._hooks(value)
            elif issubclass(kind, nn.Module):
                self._module(value)
            elif issubclass(kind, type):
                self._class(value)
            elif is_generator(value):
                self.generators.append(value)
            elif not issubclass(kind, (enum.Enum, types.ModuleType)) and may_hold(kind):
                self._object(value, way, path)

    def _hooks(self, tensor: Tensor) -> None:
        """Hooks on a tensor's gradient are code of the model's."""
        if tensor.requires_grad and tensor._backward_hooks:
            self._look(tensor._backward_hooks, id(tensor), CODE, None)

    def _module(self, module: nn.Module) -> None:
        """A module is copied as a whole, wherever it is found; its class's code may lead elsewhere."""
        self._seeds.append(id(module))
        self._look(type(module), None, CODE, None)
        if is_a(module, torch.jit.ScriptModule):
            return
        for name, value in object.__getattribute__(module, "__dict__").items():
            kind = type(value)
            if name == "_parameters" and kind is dict:
                for tensor in value.values():
                    if tensor is not None:
                        self._hooks(tensor)
            if kind in NOTHING or name in _TENSOR_TABLES or (name in _BOOKKEEPING and not value):
                continue
            if name == "_modules" and kind is dict:
                for child in value.values():
                    self._look(child, None, DATA, None)
            elif kind is not tuple or not NOTHING.issuperset(map(type, value)):
                self._look(value, None, DATA, None)

    def _object(self, value: Any, way: int, path: Path) -> None:
        """Containers, and objects with attributes."""
        key, cls = id(value), type(value)
        users = is_users_class(cls)
        if users:
            self._look(cls, key, CODE, None)
        for name, child in contents(value):
            self._look(child, key, way, None if path is None else (*path, name))
        if way == CODE and cls is not tuple and cls is not frozenset and cls is not object:
            self.state.append(value)

    # ------------------------------------------------------------------------------------------------------- functions

    def _function(self, function: types.FunctionType, _: int, path: Path) -> None:
        key, scope = id(function), function.__globals__
        self._ways[key] = CODE
        for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
            self._ways[id(cell)] = CODE
            self._parents.setdefault(id(cell), []).append(key)
            if cell != types.CellType():
                self._look(cell.cell_contents, id(cell), CODE, (name,))
                if name != "__class__" and is_a(cell.cell_contents, type):
                    self._construct(cell.cell_contents)
        for name, default in defaults(function):
            self._look(default, key, CODE, (name,))
        users = is_the_users(scope)
        if users or function.__dict__:
            self.state.append(function)
            for name, value in function.__dict__.items():
                self._look(value, key, CODE, (function.__name__, name))
        if users:
            self._reads(function)

    def _reads(self, function: types.FunctionType) -> None:
        key, code, scope = id(function), function.__code__, function.__globals__
        found = reads(code)
        self.asks_types |= asks_types(found)
        self.autocasts |= names_autocast(found, scope)
        for chain in found.variables:
            self._variable(scope, chain, key, found)
        if ("globals",) in found.variables:
            for name in sorted(found.attributes & scope.keys()):
                self._variable(scope, (name,), key, found)
        for modules in imported(found.imports, scope):
            self.imports = True
            parent: Hashable = key
            for around, module in zip([None, *modules], modules, strict=False):
                if around is not None:
                    parent = self._place(vars(around), module.__name__.rpartition(".")[2], parent)
                parent = self._space(module, parent)
            self._named(modules[-1], key, found)
        for name in found.written:
            if name in code.co_freevars:
                cell = (function.__closure__ or ())[code.co_freevars.index(name)]
                self._writers.setdefault(id(cell), []).append(key)
                self.cells.append(cell)
            else:
                self._writes(scope, name, key)
        for chain in found.changed:
            owner = resolved(scope, chain[:-1])
            if is_a(owner, types.ModuleType):
                self._writes(vars(owner), chain[-1], key)
        new = found.attributes - self._names
        self._names |= new
        for name in sorted(new & self._unnamed.keys()):
            for cls, value in self._unnamed.pop(name):
                self._look(value, id(cls), CODE, (name,))

    def _variable(self, scope: dict[str, Any], chain: tuple[str, ...], parent: Hashable, found: Reads) -> None:
        """A global variable; or, where that is a module of Python's, what code asks for of it."""
        place: dict[str, Any] = scope
        name: str = chain[0]
        value: Any = None
        for name, *rest in (chain[i:] for i in range(len(chain))):
            value = place.get(name)
            if not is_a(value, types.ModuleType) or not is_the_users(vars(value)):
                break
            parent, place = self._space(value, self._place(place, name, parent)), vars(value)
            if not rest:
                self._named(value, parent, found)
        if not is_a(value, types.ModuleType) and may_matter(value):
            self._look(value, self._place(place, name, parent), CODE, (name,))
            if chain in found.called and is_a(value, type):
                self._construct(value)

    def _named(self, module: types.ModuleType, parent: Hashable, found: Reads) -> None:
        """A module of Python's as such: what is asked for of it has one of the names in the code."""
        for name in sorted(found.attributes & vars(module).keys()):
            value = vars(module)[name]
            if not is_a(value, types.ModuleType) and may_matter(value):
                self._look(value, self._place(vars(module), name, self._space(module, parent)), CODE, (name,))

    def _place(self, scope: dict[str, Any], name: str, parent: Hashable) -> Hashable:
        self._names_in.setdefault(id(scope), {})[name] = None
        self._parents.setdefault((id(scope), name), []).append(parent)
        return id(scope), name

    def _space(self, module: types.ModuleType, parent: Hashable) -> Hashable:
        self._alive.append(module)
        self._parents.setdefault(id(module), []).append(parent)
        return id(module)

    def _writes(self, scope: dict[str, Any], name: str, key: Hashable) -> None:
        self.variables.append((scope, name))
        self._writers.setdefault((id(scope), name), []).append(key)

    def _cached(self, function: Any, _: int, path: Path) -> None:
        key = id(function)
        self._ways[key] = CODE
        self.state.append(function)
        name = getattr(function, "__name__", "cached")
        self._look(function.__wrapped__, key, CODE, (name,))
        for arguments, result in entries(function).items() if function.cache_info().currsize else ():
            self._look(arguments, key, CODE, None)
            self._look(result, key, CODE, (name, "cached"))

    def _method(self, method: types.MethodType, way: int, path: Path) -> None:
        self._look(method.__func__, id(method), CODE, None)
        self._look(method.__self__, id(method), way, path)

    def _builtin(self, function: types.BuiltinFunctionType, way: int, path: Path) -> None:
        if not is_a(function.__self__, (types.ModuleType, type(None))):
            self._look(function.__self__, id(function), way, path)

    def _partial(self, partial: functools.partial[Any], way: int, path: Path) -> None:
        key = id(partial)
        self._look(partial.func, key, way, path)
        for name, value in (*((f"arg{i}", v) for i, v in enumerate(partial.args)), *partial.keywords.items()):
            self._look(value, key, way, None if path is None else (*path, name))

    def _wrapper(self, wrapper: Any, _: int, path: Path) -> None:
        for name in ("__func__", "func", "fget", "fset", "fdel"):
            self._look(getattr(wrapper, name, None), id(wrapper), CODE, path)

    def _reference(self, reference: weakref.ref[Any], way: int, path: Path) -> None:
        self._look(reference(), id(reference), way, path)

    def _graph(self, graph: fx.Graph, _: int, path: Path) -> None:
        for node in graph.nodes:
            self._look(node.target, id(graph), CODE, path)
            self.autocasts |= "autocast" in str(node.target)

    # --------------------------------------------------------------------------------------------------------- classes

    def _class(self, cls: type) -> None:
        key = id(cls)
        self._ways[key] = CODE
        if not is_users_class(cls):
            return
        self.state.append(cls)
        for base in (*cls.__bases__, type(cls)):
            if is_users_class(base):
                self._look(base, key, CODE, None)
        called = called_by_bases(cls)
        for name, value in list(cls.__dict__.items()):
            kind, dunder = type(value), name.startswith("__") and name.endswith("__")
            if kind in NOTHING or name in NEVER_RUN or name in _CONSTRUCTORS:
                continue
            if kind not in _BY_NAME and not issubclass(kind, type):
                if not dunder:
                    self._look(value, key, CODE, (name,))
            elif dunder or name in self._names or name in called:
                self._look(value, key, CODE, (name,))
            else:
                self._unnamed.setdefault(name, []).append((cls, value))

    def _construct(self, cls: type) -> None:
        """Code makes objects of a class: its constructor runs."""
        if id(cls) not in self._constructed:
            self._constructed.add(id(cls))
            for base in filter(is_users_class, cls.__mro__):
                for name in _CONSTRUCTORS & base.__dict__.keys():
                    self._look(base.__dict__[name], id(base), CODE, (name,))


_VISITS: dict[type, Callable[[Reach, Any, int, Path], None]] = {
    types.FunctionType: Reach._function,
    CachedFunction: Reach._cached,
    types.MethodType: Reach._method,
    types.BuiltinFunctionType: Reach._builtin,
    functools.partial: Reach._partial,
    weakref.ref: Reach._reference,
    weakref.KeyedRef: Reach._reference,
    fx.Graph: Reach._graph,
    **dict.fromkeys((staticmethod, classmethod, property, functools.cached_property), Reach._wrapper),
    functools.partialmethod: Reach._wrapper,
}
_BY_NAME = frozenset(_VISITS) - {functools.partial, weakref.ref, weakref.KeyedRef, fx.Graph}
"""What runs only where it is called by its name."""
