"""Text → inputs."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fxcost.errors import InputError
from fxcost.sources.shapes import parse_inputs, parse_spec, parse_value


@given(st.lists(st.integers(0, 10**12), min_size=1, max_size=6), st.sampled_from([",", ", ", "x", " × "]))
def test_a_written_shape_is_read_back(shape, separator):
    """Any shape, with any of the separators, comes back as it was written; the dtype is left to the model."""
    spec = parse_spec(separator.join(map(str, shape)))
    assert (spec.shape, spec.dtype) == (tuple(shape), None)


@pytest.mark.parametrize(
    ("text", "dtype"),
    [
        ("1,2:int64", torch.int64),
        ("1,2:long", torch.int64),
        ("1,2:bf16", torch.bfloat16),
        ("1,2:float16", torch.float16),
        ("1,2:half", torch.float16),
        ("1,2 : torch.bool", torch.bool),
        ("(1,2):complex64", torch.complex64),
    ],
)
def test_dtype_suffix(text, dtype):
    """A dtype follows the shape after a colon, by PyTorch's name or a short one."""
    spec = parse_spec(text)
    assert (spec.shape, spec.dtype) == ((1, 2), dtype)


def test_a_dtype_alone_is_a_tensor_without_dimensions():
    """`timestep=:int64` is a 0-d tensor."""
    assert parse_spec(":int64").shape == ()


def test_positional_and_keyword_inputs():
    """Inputs keep their order; those with a name are keyword inputs; lists, None and booleans are themselves."""
    inputs = parse_inputs(["1,3", "x=2,4:bool", "[3,8,9; 3,6,7]", "mask=None", "use_cache=False"])
    first, images = inputs.args
    assert first.shape == (1, 3)
    assert [image.shape for image in images] == [(3, 8, 9), (3, 6, 7)]
    assert (inputs.kwargs["x"].shape, inputs.kwargs["x"].dtype) == ((2, 4), torch.bool)
    assert inputs.kwargs["mask"] is None
    assert inputs.kwargs["use_cache"] is False


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "no dimensions"),
        ("1,,3", "empty dimension"),
        ("1,3,", "empty dimension"),
        ("1,-3", "'-3' is no dimension"),
        ("1,3.5", "'3.5' is no dimension"),
        ("batch,3", "'batch' is no dimension"),
        ("1,3;4", "'3;4' is no dimension"),
        ("[1,a]", "'a' is no dimension"),
        ("²,3", "is no dimension"),
    ],
)
def test_what_is_wrong_with_a_shape_is_said(text, complaint):
    """The message quotes the part that can't be read, and shows how a shape is written."""
    with pytest.raises(InputError, match="1,3,224,224") as error:
        parse_value(text)
    assert complaint in str(error.value)


def test_an_unknown_dtype_is_named():
    """The dtype that does not exist is in the message, with the input that it stood in."""
    with pytest.raises(InputError, match=r"'1,2:int65'.*'int65'"):
        parse_spec("1,2:int65")


@pytest.mark.parametrize("texts", [["a b=1,2"], ["=1,2"], ["x=1,2", "x=1,3"]])
def test_bad_names(texts):
    """A keyword input has the name of an argument, once."""
    with pytest.raises(InputError, match=r"no argument name|given twice"):
        parse_inputs(texts)
