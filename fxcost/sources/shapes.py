"""Text → inputs: `1,3,224,224`, `1,128:int64`, `input_ids=1,128:int64`, `[3,800,1066]`.

Shapes as users type them become specs that `fxcost.analyze` takes. Not here: which inputs a model library's models
take by default (sources/), and how inputs become tensors (inputs.py).
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch.utils import _pytree as pytree

from ..errors import InputError
from ..model.inputs import InputSpec, spec

EXAMPLE = "examples: 1,3,224,224 or 1,128:int64 or input_ids=1,128:int64"

LITERALS = {"None": None, "True": True, "False": False}


@dataclass(frozen=True, slots=True)
class Inputs:
    """Positional and keyword inputs of a model, each a tensor, a spec, or a nest of them."""

    args: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any] = field(default_factory=dict)


def with_data(inputs: Inputs, float_dtype: torch.dtype = torch.float32) -> Inputs:
    """Tensors with data in place of specs: uniform noise from a fixed seed, zeros for integers, True for booleans."""
    noise = torch.Generator().manual_seed(0)

    def fill(wanted: InputSpec) -> torch.Tensor:
        dtype = wanted.dtype or float_dtype
        if dtype.is_floating_point or dtype.is_complex:
            return torch.rand(wanted.shape, generator=noise).to(dtype)
        return torch.full(wanted.shape, dtype is torch.bool, dtype=dtype)

    args, kwargs = pytree.tree_map_only(InputSpec, fill, (inputs.args, dict(inputs.kwargs)))
    return Inputs(args, kwargs)


def converted(inputs: Inputs, float_dtype: torch.dtype) -> Inputs:
    """The same inputs with every floating-point tensor in another dtype."""

    def convert(tensor: torch.Tensor) -> torch.Tensor:
        return tensor.to(float_dtype) if tensor.is_floating_point() else tensor

    args, kwargs = pytree.tree_map_only(torch.Tensor, convert, (inputs.args, dict(inputs.kwargs)))
    return Inputs(args, kwargs)


def parse_inputs(texts: Iterable[str], dims: Collection[str] = ()) -> Inputs:
    """Inputs from texts `[NAME=]VALUE`, in order; those with a name are keyword inputs.

    `dims` are names that may stand for sizes.

    >>> parse_inputs(["1,3,8,8", "mask=1,8:bool"]).kwargs["mask"]
    InputSpec(shape=(1, 8), dtype=torch.bool)

    Raises:
        InputError: a text can't be read, or a name is given twice.
    """
    args: list[Any] = []
    kwargs: dict[str, Any] = {}
    for text in texts:
        name, equals, value = text.rpartition("=")
        name = name.strip()
        if not equals:
            args.append(parse_value(value, dims))
        elif not name.isidentifier():
            raise InputError(f"input {text!r}: {name!r} is no argument name; {EXAMPLE}")
        elif name in kwargs:
            raise InputError(f"input {text!r}: {name!r} is given twice")
        else:
            kwargs[name] = parse_value(value, dims)
    return Inputs(tuple(args), kwargs)


def parse_value(text: str, dims: Collection[str] = ()) -> Any:
    """A tensor (`1,128:int64`), a list of tensors (`[3,800,1066; 3,600,800]`), `None`, `True` or `False`.

    Raises:
        InputError: the text is none of these.
    """
    text = text.strip()
    if text in LITERALS:
        return LITERALS[text]
    if text.startswith("[") and text.endswith("]"):
        return [parse_spec(part, dims) for part in text[1:-1].split(";") if part.strip()]
    return parse_spec(text, dims)


def parse_spec(text: str, dims: Collection[str] = ()) -> InputSpec:
    """A shape with or without a dtype: `1,3,224,224`, `1x3x224x224`, `1,128:int64`, `:int64` (no dimension).

    Sizes may be names of `dims`: `B,128:int64`.

    >>> parse_spec("1,128:long")
    InputSpec(shape=(1, 128), dtype=torch.int64)

    Raises:
        InputError: a dimension is no whole number, or no such dtype.
    """
    sizes, colon, dtype = (part.strip() for part in text.partition(":"))
    if not sizes and not colon:
        raise InputError(f"input {text!r} has no dimensions; {EXAMPLE}")
    bare = sizes.removeprefix("(").removesuffix(")")
    parts = [part.strip() for part in re.split("," if "," in bare else "[,x×]", bare)] if sizes else []
    shape = tuple(part if part in dims else _dimension(part, text) for part in parts)
    try:
        return spec(*shape, dtype=dtype if colon else None)
    except InputError as error:
        raise InputError(f"input {text!r}: {error}") from error


def _dimension(part: str, text: str) -> int:
    if not part:
        raise InputError(f"input {text!r} has an empty dimension; {EXAMPLE}")
    if not re.fullmatch("[0-9]+", part):
        raise InputError(f"input {text!r}: {part!r} is no dimension (a whole number, 0 or more); {EXAMPLE}")
    return int(part)
