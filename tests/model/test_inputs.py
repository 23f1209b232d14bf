"""What the user passes as inputs, and what the model gets."""

from __future__ import annotations

from collections import namedtuple
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import fxcost
from fxcost.errors import InputError
from fxcost.model.inputs import InputSpec, as_dtype, bind, is_shape, make_arguments, parameter_dtype
from fxcost.model.isolate import MetaCopier

Pair = namedtuple("Pair", "left right")


def described(value: Any) -> Any:
    """Tensors as (shape, dtype), everything else as it is; a tensor must be on meta."""
    if isinstance(value, Tensor):
        assert value.is_meta
        return tuple(value.shape), value.dtype
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*map(described, value))
    if isinstance(value, (tuple, list)):
        return type(value)(map(described, value))
    return {k: described(v) for k, v in value.items()} if isinstance(value, dict) else value


F32, F16, I64 = torch.float32, torch.float16, torch.int64


@pytest.mark.parametrize(
    ("inputs", "args", "kwargs"),
    [
        ((2, 3), (((2, 3), F32),), {}),
        ([(2, 3)], (((2, 3), F32),), {}),
        (((2, 3), (4,)), (((2, 3), F32), ((4,), F32)), {}),
        ([(2, 3), fxcost.spec(4, dtype="int64")], (((2, 3), F32), ((4,), I64)), {}),
        (torch.ones(2, dtype=F16), (((2,), F16),), {}),
        (fxcost.spec(2), (((2,), F32),), {}),
        (fxcost.spec(), (((), F32),), {}),
        ((), (), {}),
        (None, (), {}),
        ([None, 3, "text", 2.5, True], (None, 3, "text", 2.5, True), {}),
        ([[(2,), (3,)]], ([((2,), F32), ((3,), F32)],), {}),
        ([{"a": (2,)}], ({"a": ((2,), F32)},), {}),
        ([Pair((2,), 7)], (Pair(((2,), F32), 7),), {}),
        ({"x": (2,), "n": 3}, (), {"x": ((2,), F32), "n": 3}),
        ("text", ("text",), {}),
        (7, (7,), {}),
    ],
    ids=str,
)
def test_inputs_become_arguments(inputs: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    """A tuple of ints is a shape; a list is several inputs; a dict is keywords; structures nest; the rest passes."""
    made = make_arguments(inputs, None, MetaCopier(), F32)
    assert (described(made.args), described(made.kwargs)) == (args, kwargs)


def test_keywords_come_from_both_places() -> None:
    """`inputs` as a dict and `kwargs` are merged; a name in both is an error."""
    made = make_arguments({"x": (2,)}, {"y": (3,)}, MetaCopier(), F32)
    assert described(made.kwargs) == {"x": ((2,), F32), "y": ((3,), F32)}
    with pytest.raises(InputError, match="both in inputs and in kwargs: x"):
        make_arguments({"x": (2,)}, {"x": (3,)}, MetaCopier(), F32)


def test_a_tensor_keeps_its_strides_and_aliases() -> None:
    """Two views of one tensor are views of one meta tensor, with the same layout."""
    base = torch.arange(12.0).view(3, 4)
    made = make_arguments([base.t(), base[1:]], None, MetaCopier(), F32)
    first, second = made.args
    assert (first.stride(), second.storage_offset()) == ((1, 4), 4)
    assert first.untyped_storage()._cdata == second.untyped_storage()._cdata


@pytest.mark.parametrize(
    ("given", "dtype"),
    [("bf16", torch.bfloat16), ("float64", torch.float64), ("torch.half", F16), (F16, F16), ("long", I64)],
)
def test_dtypes_by_name(given: Any, dtype: torch.dtype) -> None:
    """A dtype, its name, or a usual short form."""
    assert as_dtype(given) is dtype
    assert fxcost.spec(2, dtype=given) == InputSpec((2,), dtype)


@pytest.mark.parametrize("bad", ["float99", "nn", "", 16, None], ids=str)
def test_no_such_dtype(bad: Any) -> None:
    """The error says what was given and what would do."""
    with pytest.raises(InputError, match="dtype"):
        as_dtype(bad)


@pytest.mark.parametrize("bad", [(-1,), (2.0,), ("2",), (True,), (2, None)], ids=str)
def test_no_such_shape(bad: tuple[Any, ...]) -> None:
    """Sizes are ints, and not negative."""
    with pytest.raises(InputError, match="is no size"):
        fxcost.spec(*bad)


def test_spec_takes_a_shape_as_one_argument_too() -> None:
    """`spec((2, 3))` is `spec(2, 3)`."""
    assert fxcost.spec((2, 3)) == fxcost.spec([2, 3]) == fxcost.spec(2, 3)


@pytest.mark.parametrize(
    ("value", "expected"),
    [((1, 2), True), ((), False), ([1, 2], False), ((1, 2.0), False), ((True, 1), False), (((1,), (2,)), False)],
)
def test_what_a_shape_is(value: Any, expected: bool) -> None:
    """A non-empty tuple of ints, and nothing else."""
    assert is_shape(value) is expected


def test_shapes_take_the_dtype_of_the_model() -> None:
    """An input given by shape has the dtype of the parameters, or the one that is asked for."""
    assert parameter_dtype(nn.Linear(2, 2).half(), None) is F16
    assert parameter_dtype(nn.Linear(2, 2).half(), torch.bfloat16) is torch.bfloat16
    assert parameter_dtype(nn.Linear(2, 2).double().forward, None) is torch.float64
    assert parameter_dtype(lambda x: x, None) is F32
    assert parameter_dtype(nn.ReLU(), None) is F32


@pytest.mark.parametrize("capture", ["symbolic", "concrete"])
def test_costing_at_another_dtype(capture: str) -> None:
    """`dtype` halves the bytes of floats, leaves integers alone, and changes no count."""
    model = nn.Sequential(nn.Embedding(10, 8), nn.Linear(8, 8), nn.GELU())
    inputs = fxcost.spec(4, dtype="int64")
    full = fxcost.analyze(model, inputs, capture=capture)
    half = fxcost.analyze(model, inputs, capture=capture, dtype="bfloat16")
    assert (half.macs, half.flops, half.param_bytes * 2) == (full.macs, full.flops, full.param_bytes)
    assert {node.outputs[0].dtype_name for node in half.nodes[1:] if node.outputs} <= {"bfloat16"}
    assert half.nodes[0].outputs[0].dtype_name == "int64"
    assert half.bytes_written * 2 == full.bytes_written
    assert model[1].weight.dtype is F32


def test_signatures_are_checked_before_anything_runs() -> None:
    """The message shows the signature and what was given."""
    made = make_arguments([(2,), (3,)], {"z": 1}, MetaCopier(), F32)
    with pytest.raises(InputError, match=r"forward\(x, y\).*'z'.*Tensor\(2,\), Tensor\(3,\), z=int"):
        bind(lambda x, y: x, made)
