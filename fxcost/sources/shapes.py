"""Text → inputs: `1,3,224,224`, `1,128:int64`, `input_ids=1,128:int64`, `[3,800,1066]`, `{x=1,3; n=tensor([3, 5])}`.

Shapes as users type them become specs that `fxcost.analyze` takes. Not here: which inputs a model library's models
take by default (sources/), and how inputs become tensors (inputs.py).
"""

from __future__ import annotations

import ast
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch.utils import _pytree as pytree

from ..errors import InputError
from ..model.inputs import InputSpec, as_dtype, spec

EXAMPLE = "examples: 1,3,224,224 or 1,128:int64 or input_ids=1,128:int64"

LONGEST = 19
"""Digits of a dimension: PyTorch's sizes have 63 bits."""
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
        name, value = _named(text)
        if name is None:
            args.append(parse_value(value, dims))
        elif not name.isidentifier():
            raise InputError(f"input {text!r}: {name!r} is no argument name; {EXAMPLE}")
        elif name in kwargs:
            raise InputError(f"input {text!r}: {name!r} is given twice")
        else:
            kwargs[name] = parse_value(value, dims)
    return Inputs(tuple(args), kwargs)


def parse_value(text: str, dims: Collection[str] = ()) -> Any:
    """What one input is.

    A tensor by its shape (`1,128:int64`) or by its values (`tensor([3, 5]):int32`); a list (`[3,800,1066; 3,600,800]`),
    a tuple with the same signs (`(1,3; 1,4)`) or a dict (`{image=1,3,8,8; size=tensor([8, 8])}`) of inputs; `None`,
    `True`, `False`; or what Python writes so (`value(3)`, `value('mean')`).

    >>> parse_value("{x=1,3; lengths=tensor([3, 5]); mode=value('mean')}")
    {'x': InputSpec(shape=(1, 3), dtype=None), 'lengths': tensor([3, 5]), 'mode': 'mean'}

    Raises:
        InputError: the text is none of these.
    """
    text = text.strip()
    if text in LITERALS:
        return LITERALS[text]
    if called := re.fullmatch(r"(tensor|value)\s*\((.*)\)\s*(?::\s*([\w.]+))?", text, re.S):
        value = _literal(called[2], text)
        return value if called[1] == "value" else _tensor(value, called[3], text)
    ends = text[:1] + text[-1:]
    parts = _parts(text[1:-1]) if ends in ("[]", "{}", "()") else []
    if ends == "[]":
        return [parse_value(part, dims) for part in parts]
    if ends == "()" and (len(parts) > 1 or text[1:-1].rstrip().endswith(";")):
        return tuple(parse_value(part, dims) for part in parts)
    if ends == "{}":
        return _dict(parts, text, dims)
    return parse_spec(text, dims)


def _named(text: str) -> tuple[str | None, str]:
    """The name before the first "=", which no bracket goes before, and what stands after it."""
    found = re.fullmatch(r"([^=\[({]*)=(.*)", text, re.S)
    return (found[1].strip(), found[2]) if found is not None else (None, text)


def _parts(text: str) -> list[str]:
    """What stands between semicolons that are in no bracket and no quotes."""
    parts, depth = [""], 0
    for found in re.finditer(r"""'(?:\\.|[^'\\])*'|"(?:\\.|[^"\\])*"|.""", text, re.S):
        token = found[0]
        depth += (token in "[({") - (token in "])}")
        if token == ";" and depth == 0:
            parts.append("")
        else:
            parts[-1] += token
    return [part for part in map(str.strip, parts) if part]


def _dict(parts: list[str], text: str, dims: Collection[str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for part in parts:
        name, value = _named(part)
        if not name or name in found:
            what = f"{name!r} is given twice" if name else f"{part!r} has no name"
            raise InputError(f"input {text!r}: {what}; a dict is {{x=1,3,8,8; mask=1,8:bool}}")
        found[name] = parse_value(value, dims)
    return found


def _literal(value: str, text: str) -> Any:
    try:
        return ast.literal_eval(value.strip())
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        raise InputError(
            f"input {text!r}: Python does not write a value as {value!r}; "
            "examples: tensor([3, 5]), value(3), value('mean')"
        ) from None


def _tensor(value: Any, dtype: str | None, text: str) -> torch.Tensor:
    try:
        return torch.tensor(value, dtype=as_dtype(dtype) if dtype is not None else None)
    except (ValueError, TypeError, RuntimeError, OverflowError) as error:
        raise InputError(f"input {text!r} is no tensor: {error}") from error


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
    shape = tuple(part if part in dims else _dimension(part, text, dims) for part in parts)
    try:
        return spec(*shape, dtype=dtype if colon else None)
    except InputError as error:
        raise InputError(f"input {text!r}: {error}") from error


def _dimension(part: str, text: str, dims: Collection[str] = ()) -> int:
    if not part:
        raise InputError(f"input {text!r} has an empty dimension; {EXAMPLE}")
    if not re.fullmatch("[0-9]+", part):
        names = f", or {', '.join(dims)}" if dims else ""
        raise InputError(f"input {text!r}: {part!r} is no dimension (a whole number, 0 or more{names}); {EXAMPLE}")
    if len(part) > LONGEST:
        raise InputError(f"a dimension of {len(part)} digits is more than a tensor can have")
    return int(part)
