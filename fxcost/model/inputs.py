"""What the user passes as inputs → arguments of the model, on meta.

A tuple of ints is one shape, batch included; `spec(…)` says the dtype too; tensors stand for themselves. Lists, tuples
and dicts may nest; None, ints, strings and other objects pass through.
"""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import InputError, shown
from ..meta.nested import is_nested
from ..meta.storages import META
from ..records.tree import held_tensors
from .holding import NOTHING
from .isolate import MetaCopier
from .modules import argument_names
from .parts import owner_of

DEEPEST = 100
"""How many lists or dicts inside each other inputs may be."""


@dataclass(frozen=True, slots=True)
class InputSpec:
    """A tensor that an input stands for. `dtype` None means: the dtype of the model's parameters.

    A name in `shape` is a dim, which only `analyze(…, dims=…)` knows the size of.
    """

    shape: tuple[Any, ...]
    dtype: torch.dtype | None = None


def spec(*shape: int | str, dtype: torch.dtype | str | None = None) -> InputSpec:
    """An input tensor by shape and dtype, without data.

    >>> import fxcost
    >>> fxcost.spec(1, 128, dtype="int64")
    InputSpec(shape=(1, 128), dtype=torch.int64)

    Args:
        shape: sizes of all dimensions, batch included; none for a scalar tensor. A name in place of a size, such as
            "B", leaves it open: :func:`analyze` then gives formulas.
        dtype: a `torch.dtype` or its name; by default that of the model's floating-point parameters.

    Raises:
        InputError: a size is negative or no int, or there is no such dtype.
    """
    if len(shape) == 1 and isinstance(shape[0], (tuple, list)):
        shape = tuple(shape[0])
    _check_shape(tuple(n for n in shape if not (isinstance(n, str) and n.isidentifier())))
    return InputSpec(shape, as_dtype(dtype) if dtype is not None else None)


def as_dtype(dtype: torch.dtype | str) -> torch.dtype:
    """A dtype from itself or its name.

    Raises:
        InputError: there is no such dtype.
    """
    if isinstance(dtype, torch.dtype):
        return dtype
    if not isinstance(dtype, str):
        raise InputError(f"{shown(dtype)} is no dtype; give a torch.dtype or a name such as 'bfloat16' or 'int64'")
    aliases = {"bf16": "bfloat16", "fp16": "float16", "fp32": "float32", "fp64": "float64"}
    name = dtype.removeprefix("torch.")
    found = getattr(torch, aliases.get(name, name), None)
    if not isinstance(found, torch.dtype):
        given = shown(dtype)
        raise InputError(f"there is no dtype {given}; give a torch.dtype or a name such as 'bfloat16' or 'int64'")
    return found


def as_float_dtype(dtype: torch.dtype | str) -> torch.dtype:
    """A dtype that weights can have, from itself or its name.

    Raises:
        InputError: there is no such dtype, or it holds integers or booleans.
    """
    found = as_dtype(dtype)
    if not (found.is_floating_point or found.is_complex):
        raise InputError(f"{found} is no dtype of weights; give a floating-point one such as 'bfloat16'")
    return found


def as_autocast_dtype(dtype: torch.dtype | str | None) -> torch.dtype | None:
    """A dtype that autocast can cast to, from itself or its name; None as it is.

    Raises:
        InputError: it is neither float16 nor bfloat16.
    """
    if dtype is None:
        return None
    found = as_dtype(dtype)
    if found not in (torch.float16, torch.bfloat16):
        raise InputError(f"autocast casts to float16 or bfloat16, not to {found}")
    return found


@dataclass(frozen=True, slots=True)
class Arguments:
    """The arguments of one call, every tensor on meta."""

    args: tuple[Any, ...]
    kwargs: dict[str, Any]

    def tensors(self) -> Iterator[Tensor]:
        """All tensors among them, in order."""
        yield from tensors_in((self.args, self.kwargs))


def tensors_in(value: Any) -> Iterator[Tensor]:
    """All tensors in a nest of tuples, lists, dicts and dataclasses, in order."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, (tuple, list)):
        for item in value:
            yield from tensors_in(item)
    elif isinstance(value, dict):
        for item in value.values():
            yield from tensors_in(item)
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        for field in dataclasses.fields(value):
            yield from tensors_in(getattr(value, field.name, None))


def make_arguments(
    inputs: Any, kwargs: dict[str, Any] | None, copier: MetaCopier, float_dtype: torch.dtype
) -> Arguments:
    """Turn the user's inputs into arguments on meta.

    Args:
        inputs: one input, a list or tuple of positional inputs, or a dict of keyword inputs.
        kwargs: further keyword inputs.
        copier: replaces tensors by meta copies and remembers the originals.
        float_dtype: dtype of inputs that are given by shape alone.

    Raises:
        InputError: a shape has a negative size or is too large, a name stands in both `inputs` and `kwargs`, or they
            contain themselves.
    """
    on_meta = partial(_on_meta, copier, float_dtype)
    given = as_given(inputs, kwargs)
    return Arguments(tuple(map(on_meta, given.args)), {k: on_meta(v) for k, v in given.kwargs.items()})


def _on_meta(copier: MetaCopier, float_dtype: torch.dtype, value: Any) -> Any:
    if isinstance(value, Tensor):
        return copier.tensor(value)
    if isinstance(value, InputSpec):
        return _empty(_check_shape(value.shape), _dtype(value, copier, float_dtype))
    if is_shape(value):
        return _empty(_check_shape(value), float_dtype)
    again = partial(_on_meta, copier, float_dtype)
    if type(value) is tuple or type(value) is list:
        return type(value)(map(again, value))
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*map(again, value))
    if type(value) is dict:
        return {k: again(v) for k, v in value.items()}
    return copier.value(value)


def as_given(inputs: Any, kwargs: dict[str, Any] | None) -> Arguments:
    """The user's inputs as they are, positional and by name.

    Raises:
        InputError: a name stands in both `inputs` and `kwargs`, one is no text, or they contain themselves.
    """
    check_nesting((inputs, kwargs))
    named = dict(kwargs or {})
    if isinstance(inputs, dict):
        if odd := [name for name in inputs if not isinstance(name, str)]:
            raise InputError(f"a dict of inputs has names of arguments as keys, not {shown(odd[0])}")
        if both := sorted(set(inputs) & set(named)):
            raise InputError(f"given both in inputs and in kwargs: {', '.join(both)}")
        return Arguments((), {**inputs, **named})
    if isinstance(inputs, (tuple, list)) and not is_shape(inputs) and not hasattr(inputs, "_fields"):
        return Arguments(tuple(inputs), named)
    return Arguments(() if inputs is None else (inputs,), named)


def objects_by_name(model: Any, inputs: Any, kwargs: dict[str, Any] | None) -> dict[str, Any]:
    """Inputs that are more than tensors, shapes and plain values (modules, functions, objects), by their names."""
    given = as_given(inputs, kwargs)
    found = {i: value for i, value in enumerate(given.args) if not _is_simple(value)}
    names = argument_names(model) if found else []
    named = {names[i] if i < len(names) else f"arg{i}": value for i, value in found.items()}
    return {**named, **{name: value for name, value in given.kwargs.items() if not _is_simple(value)}}


def _is_simple(value: Any) -> bool:
    if isinstance(value, (tuple, list)) and not hasattr(value, "_fields"):
        return all(map(_is_simple, value))
    return isinstance(value, (Tensor, InputSpec)) or type(value) in NOTHING


def has_names(value: Any) -> bool:
    """True if a spec among inputs has a name where a size would stand."""
    if isinstance(value, InputSpec):
        return any(isinstance(n, str) for n in value.shape)
    if isinstance(value, (tuple, list)):
        return any(map(has_names, value))
    return isinstance(value, dict) and any(map(has_names, value.values()))


def check_nesting(value: Any) -> None:
    """See that a nest of lists and dicts comes to an end, and soon: who walks it does so by recursion.

    Raises:
        InputError: it contains itself, or is deeper than `DEEPEST`.
    """
    level = [value]
    for _ in range(DEEPEST):
        inner = [item for v in level for item in _inside(v)]
        level = list({id(item): item for item in inner}.values())
        if not level:
            return
    raise InputError(f"the inputs contain themselves, or are more than {DEEPEST} lists or dicts inside each other")


def _inside(value: Any) -> Iterable[Any]:
    if isinstance(value, (tuple, list)):
        return value
    return value.values() if isinstance(value, dict) else ()


def _empty(shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    try:
        return torch.empty(shape, dtype=dtype, device=META)
    except (OverflowError, RuntimeError, TypeError) as error:
        raise InputError(
            f"no tensor can have the shape {shown(shape)} and dtype {dtype}: PyTorch counts bytes up to 2**63"
        ) from error


def is_shape(value: Any) -> bool:
    """True for a non-empty tuple of ints, which stands for one tensor."""
    return isinstance(value, tuple) and bool(value) and all(type(n) is int for n in value)


def _check_shape(shape: tuple[Any, ...]) -> tuple[int, ...]:
    for n in shape:
        if type(n) is not int or n < 0:
            raise InputError(f"{shown(n)} in {shown(tuple(shape))} is no size: a shape is made of ints ≥ 0")
    return tuple(shape)


def _dtype(value: InputSpec, copier: MetaCopier, float_dtype: torch.dtype) -> torch.dtype:
    if value.dtype is None:
        return float_dtype
    if copier.dtype is not None and value.dtype.is_floating_point:
        return copier.dtype
    return value.dtype


def parameter_dtype(model: Any, dtype: torch.dtype | None) -> torch.dtype:
    """Dtype of inputs given by shape to a model: :func:`weights_dtype` of its own tensors."""
    owner = owner_of(model)
    return weights_dtype(held_tensors(owner) if isinstance(owner, nn.Module) else (), dtype)


def weights_dtype(tensors: Iterable[Tensor], dtype: torch.dtype | None) -> torch.dtype:
    """`dtype` if given, else that of the first parameter that is no integer, else PyTorch's default.

    Complex weights stay complex whatever `dtype` says, and so do inputs to them. `tensors` are a model's parameters and
    buffers.
    """
    weights = (t.dtype for t in tensors if isinstance(t, nn.Parameter) and (t.is_floating_point() or t.is_complex()))
    first = next(weights, None)
    if dtype is not None and (first is None or not first.is_complex):
        return dtype
    return torch.get_default_dtype() if first is None else first


def bind(function: Callable[..., Any], arguments: Arguments) -> inspect.BoundArguments | None:
    """Bind arguments to the signature of what will be called; None where a signature can't be had.

    Raises:
        InputError: the number or the names of the inputs do not fit.
    """
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        return None
    try:
        return signature.bind(*arguments.args, **arguments.kwargs)
    except TypeError as error:
        given = [*(_brief(a) for a in arguments.args), *(f"{k}={_brief(v)}" for k, v in arguments.kwargs.items())]
        raise InputError(
            f"the inputs do not fit forward{signature}: {error}; given: {', '.join(given) or 'no inputs'}. "
            "Pass one shape as a tuple of ints, several inputs as a list, keyword inputs as a dict"
        ) from error


def _brief(value: Any) -> str:
    if isinstance(value, Tensor):
        return "nested Tensor" if is_nested(value) else f"Tensor{tuple(value.shape)}"
    return type(value).__name__
