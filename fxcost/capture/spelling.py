"""How the running code spells a torch call: `a + b` or `a.add(b)`, `F.upsample(x)` or `F.interpolate(x)`, `a, b = x`.

PyTorch reports both as the second. The difference is in the caller's bytecode, or among its callers, alone; it matters
to a graph that should read as the code does, and to tools that patch functions and see one of the two.
"""

from __future__ import annotations

import dis
import operator
from collections.abc import Callable
from functools import lru_cache
from types import CodeType, FrameType
from typing import Any

import torch.nn.functional as F

_BINARY_OP = dis.opmap["BINARY_OP"]
_SYMBOLS: list[str] = [symbol for _, symbol in dis._nb_ops]  # type: ignore[attr-defined]
_OPERATORS: dict[tuple[str, str], Callable[..., Any]] = {
    ("add", "+"): operator.add,
    ("sub", "-"): operator.sub,
    ("mul", "*"): operator.mul,
    ("div", "/"): operator.truediv,
    ("matmul", "@"): operator.matmul,
    ("add_", "+="): operator.iadd,
    ("sub_", "-="): operator.isub,
    ("mul_", "*="): operator.imul,
    ("div_", "/="): operator.itruediv,
}
_REACH = 12
"""Frames of PyTorch's and torch.fx's own between a call and what is told of it."""
_METHODS = frozenset(method for method, _ in _OPERATORS)


def operator_of(method: str, caller: FrameType) -> Callable[..., Any] | None:
    """The Python operator by which `caller` is calling a tensor's method; None if it calls the method by name."""
    if method not in _METHODS:
        return None
    bytecode, at = _bytecode(caller.f_code), caller.f_lasti
    if bytecode[at] != _BINARY_OP:
        return None
    return _OPERATORS.get((method, _SYMBOLS[bytecode[at + 1]]))


def written_as(function: Any, caller: FrameType | None) -> Any:
    """The function that the code calls where PyTorch reports another: the callers are asked up to a few levels."""
    if function is not F.interpolate:
        return function
    for _ in range(_REACH):
        if caller is None:
            break
        if caller.f_code is F.upsample.__code__:
            return F.upsample
        caller = caller.f_back
    return function


def names_unpacked(caller: FrameType) -> int | None:
    """Into how many names `caller` is unpacking a value, `a, b = x`; None if it does something else."""
    return _names_unpacked(caller.f_code, caller.f_lasti)


@lru_cache(maxsize=4096)
def _names_unpacked(code: CodeType, at: int) -> int | None:
    running = next((i for i in dis.get_instructions(code) if i.offset == at), None)
    return running.arg if running is not None and running.opname == "UNPACK_SEQUENCE" else None


@lru_cache(maxsize=1024)
def _bytecode(code: CodeType) -> bytes:
    return code.co_code  # Python copies it each time it is asked for
