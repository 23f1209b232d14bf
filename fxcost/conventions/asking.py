"""What a model's own code asks for: its mode, and whether gradients are recorded.

A report's records say what ran, in one mode. Whether another mode would have run something else can be told of
PyTorch's own modules; of other code only that it never asks. It is read, not run: the names in a class's compiled
`forward`, and in the methods and functions that it uses by name.

Not seen: names that are put together at run time, and methods of objects that are no modules.
"""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Iterator
from functools import lru_cache, partial
from types import CodeType, FunctionType, ModuleType
from typing import Any

import torch
from torch import nn

SWITCHES_GRADIENTS = frozenset(
    {"no_grad", "enable_grad", "inference_mode", "set_grad_enabled", "_set_grad_enabled", "decorate_context"}
)
"""Names of what switches gradients on or off; the last is what PyTorch's decorators make."""
DETACHES = frozenset({"detach", "detach_", "requires_grad", "requires_grad_", "data"})
"""Names of what makes a tensor ask for a gradient, or no more."""
_DROPS = frozenset(
    {
        *("dropout", "dropout1d", "dropout2d", "dropout3d", "alpha_dropout", "feature_alpha_dropout"),
        *("drop_path", "stochastic_depth"),
    }
)
"""Functions that do nothing in eval mode and nothing that a tool counts in training mode."""
_STARTS = ("forward", "__call__", "_call_impl")
"""Methods that run when a module is called."""
_KNOWN = frozenset({"timm.layers.norm_act:BatchNormAct2d", "timm.layers.drop:DropPath"})
"""Classes of other libraries that do in both modes what PyTorch's own batch norm and dropout do."""


def names_used(root: nn.Module) -> frozenset[str]:
    """All names that the code of a model's modules uses, PyTorch's own modules left out."""
    kinds: set[Any] = set(map(type, root.modules()))
    return frozenset().union(*map(_names_of, kinds), *map(_names_on, root.modules()))


def uses_name(kind: Any, name: str) -> bool:
    """True if the code of a module's class uses a name."""
    return name in _names_of(kind)


def _names_on(module: nn.Module) -> frozenset[str]:
    """Names in functions that were put on the module itself."""
    functions = [f for value in vars(module).values() for f in _functions_in(value)]
    return frozenset().union(*(_names(f) for f in functions))


@lru_cache(maxsize=4096)
def _names_of(kind: Any) -> frozenset[str]:
    return frozenset().union(*(_names(f) for f in _code_of(kind)))


@lru_cache(maxsize=4096)
def asks_for_mode(kind: Any) -> bool:
    """True if a module class may do something else in eval mode than in training mode, beyond what tools don't count.

    Taken for none are dropout and stochastic depth that are handed the mode, and batch norm.
    """
    if f"{kind.__module__}:{kind.__qualname__}" in _KNOWN:
        return False
    if issubclass(kind, torch.jit.ScriptModule) or any({"train", "eval"} & vars(base).keys() for base in _own(kind)):
        return True
    return any(_asks(function) for function in _code_of(kind))


def _asks(function: FunctionType) -> bool:
    if "training" not in {*_names_in(function.__code__), *function.__code__.co_varnames}:
        return False
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    except (OSError, TypeError, SyntaxError):
        return True
    theirs = function.__globals__.items()
    handed = {name for name, value in theirs if isinstance(value, FunctionType) and not _is_torch(value)}
    harmless = {id(inner) for node in ast.walk(tree) for part in _harmless(node, handed) for inner in ast.walk(part)}
    return any(_is_mode(node) and id(node) not in harmless for node in ast.walk(tree))


def _is_mode(node: ast.AST) -> bool:
    if isinstance(node, ast.Attribute):
        return node.attr == "training"
    return (isinstance(node, ast.Name) and node.id == "training") or (
        isinstance(node, ast.Constant) and node.value == "training"
    )


def _harmless(node: ast.AST, functions: set[str]) -> Iterator[ast.AST]:
    """Parts of a call in which the mode decides on dropout alone, or that hand it on to a function that is read too."""
    if not isinstance(node, ast.Call):
        return
    called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
    if called in _DROPS:
        yield from node.args
        yield from node.keywords
    if isinstance(node.func, ast.Name) and called in functions:
        yield from (k for k in node.keywords if k.arg == "training")
    if called == "scaled_dot_product_attention":
        yield from (k for k in node.keywords if k.arg == "dropout_p" and isinstance(k.value, ast.IfExp))


def _own(kind: type) -> Iterator[type]:
    """The class and its bases, PyTorch's own left out."""
    return (b for b in kind.__mro__ if b is not object and not b.__module__.startswith(("torch.nn.modules.", "typing")))


def _code_of(kind: type) -> Iterator[FunctionType]:
    """What runs when a module of a class is called: its forward, and methods and functions of the user's by name."""
    methods = [vars(base) for base in _own(kind)]
    pending = [f for space in methods for name in _STARTS for f in _functions_in(space.get(name))]
    met: set[CodeType] = set()
    while pending:
        function = pending.pop()
        if function.__code__ not in met:
            met.add(function.__code__)
            yield function
            pending += _used(function, methods)


def _functions_in(value: Any) -> Iterator[FunctionType]:
    """The function that an attribute of a class stands for, through decorators."""
    if isinstance(value, property):
        yield from (f for f in (value.fget, value.fset) if isinstance(f, FunctionType))
        return
    value = value.func if isinstance(value, partial) else value
    value = getattr(value, "__func__", value)
    if isinstance(value, FunctionType):
        yield value
        yield from _functions_in(getattr(value, "__wrapped__", None))


def _used(function: FunctionType, methods: list[Any]) -> Iterator[FunctionType]:
    """Functions that a function names: methods of its class, and in its closure, its globals, or modules of these."""
    names = set(_names_in(function.__code__))
    found = [cell.cell_contents for cell in function.__closure__ or () if _is_full(cell)]
    spaces = [*methods, function.__globals__]
    spaces += [vars(v) for n in names if isinstance(v := function.__globals__.get(n), ModuleType) and not _is_torch(v)]
    found += [space[name] for space in spaces for name in names if name in space]
    for value in found:
        yield from (f for f in _functions_in(value) if not _is_torch(f) and f.__name__ not in _DROPS)


def _is_full(cell: Any) -> bool:
    try:
        return cell.cell_contents is not None
    except ValueError:  # a variable that is set later
        return False


def _is_torch(value: Any) -> bool:
    name = getattr(value, "__name__" if isinstance(value, ModuleType) else "__module__", None) or ""
    return name == "torch" or name.startswith("torch.")


def _names(function: FunctionType) -> frozenset[str]:
    return frozenset({function.__code__.co_name, *_names_in(function.__code__)})


def _names_in(code: CodeType) -> Iterator[str]:
    """Names and texts in a function's code and in functions inside it."""
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, str):
            yield constant
        elif isinstance(constant, CodeType):
            yield from _names_in(constant)
