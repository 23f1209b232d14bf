"""Values that no argument expects, and values that only some do."""

from __future__ import annotations

import math
from collections.abc import Iterator
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn


class Raises:
    """Every question is answered by an exception."""

    def __repr__(self) -> str:
        raise RuntimeError("no text")

    __str__ = __repr__

    def __len__(self) -> int:
        raise RuntimeError("no length")

    def __bool__(self) -> bool:
        raise RuntimeError("no truth")

    def __iter__(self) -> Iterator[Any]:
        raise RuntimeError("no items")

    def __eq__(self, other: object) -> bool:
        raise RuntimeError("no equality")

    __hash__ = None  # type: ignore[assignment]


class Text(str):
    """A kind of text."""


class Whole(int):
    """A kind of number."""


class Marked(torch.Tensor):
    """A kind of tensor."""


def itself() -> list[Any]:
    """A list that contains itself."""
    made: list[Any] = [1]
    made.append(made)
    return made


def itself_by_name() -> dict[str, Any]:
    """A dict that contains itself."""
    made: dict[str, Any] = {"x": 1}
    made["me"] = made
    return made


def deep() -> Any:
    """Lists inside each other, deeper than Python's stack."""
    made: Any = []
    for _ in range(3000):
        made = [made]
    return made


def odd() -> dict[str, Any]:
    """Odd values by names that say what they are; made anew, as some may be changed."""
    return {
        **{repr(v): v for v in (None, True, 0, 5, -1, 1.5, -0.5, math.nan, math.inf, 5j, ..., NotImplemented)},
        "10**30": 10**30,
        "2**62": 2**62,
        "-10**30": -(10**30),
        "10**400": 10**400,
        "1e300": 1e300,
        "Decimal": Decimal(5),
        "Fraction": Fraction(1, 3),
        "Whole": Whole(3),
        "np.int64": np.int64(3),
        "''": "",
        "'x'": "x",
        "'1'": "1",
        "surrogate": "\ud800",
        "NUL": "a\0b",
        "Text": Text("x"),
        "bytes": b"x",
        "long": "x" * 100_000,
        "digits": "9" * 5000,
        "path": Path("odd"),
        "no folder": Path("none/there/x"),
        "[]": [],
        "()": (),
        "{}": {},
        "[1]": [1],
        "(1,)": (1,),
        "('a',)": ("a",),
        "[[]]": [[]],
        "{1: 2}": {1: 2},
        "{'x': 1}": {"x": 1},
        "set": {1},
        "frozenset": frozenset({"x"}),
        "range": range(3),
        "iterator": iter([1]),
        "(0, 4)": (0, 4),
        "(10**30, 4)": (10**30, 4),
        "(2**62, 4)": (2**62, 4),
        "(2, -4)": (2, -4),
        "(2, 4)": (2, 4),
        "(2.0, 4)": (2.0, 4),
        "(True, 4)": (True, 4),
        "(2**31, 2**31)": (2**31, 2**31),
        "itself": itself(),
        "itself by name": itself_by_name(),
        "deep": deep(),
        "tensor": torch.ones(2),
        "tensors": [torch.ones(2), torch.ones(2)],
        "scalar": torch.tensor(3),
        "Marked": torch.ones(2, 4).as_subclass(Marked),
        "sparse": torch.ones(2, 4).to_sparse(),
        "nested": torch.nested.nested_tensor([torch.ones(2, 4)]),
        "meta": torch.ones(2, 4, device="meta"),
        "np.zeros": np.zeros(2),
        "np.array": np.array([2, 4]),
        "np.object": np.array([object()]),
        "dtype": torch.float32,
        "int8": torch.int8,
        "device": torch.device("cpu"),
        "operator": torch.ops.aten.mm,
        "object": object(),
        "Raises": Raises(),
        "class": int,
        "Raises class": Raises,
        "function": lambda *a, **k: 1,
        "raises": _raise,
        "module": nn.Linear(4, 4),
        "module class": nn.Linear,
        "exception": ValueError("x"),
        "math": math,
        "optimizer": torch.optim.SGD([torch.ones(1, requires_grad=True)], 0.1),
    }


def _raise(*_args: Any, **_kwargs: Any) -> Any:
    raise RuntimeError("as it was told to")
