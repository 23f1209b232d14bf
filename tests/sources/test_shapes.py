"""Text → inputs."""

import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from fxcost.errors import InputError
from fxcost.model.inputs import spec
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


def same(found, wanted):
    """Equal, tensors by dtype and values."""
    if isinstance(wanted, torch.Tensor):
        return isinstance(found, torch.Tensor) and found.dtype == wanted.dtype and torch.equal(found, wanted)
    if isinstance(wanted, dict):
        return type(found) is dict and list(found) == list(wanted) and all(same(found[k], wanted[k]) for k in wanted)
    if isinstance(wanted, (list, tuple)):
        return type(found) is type(wanted) and len(found) == len(wanted) and all(map(same, found, wanted))
    return type(found) is type(wanted) and found == wanted


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("tensor([3, 5])", torch.tensor([3, 5])),
        ("tensor([[1, 2], [3, 4]]):int32", torch.tensor([[1, 2], [3, 4]], dtype=torch.int32)),
        ("tensor(0.5)", torch.tensor(0.5)),
        ("tensor([True])", torch.tensor([True])),
        ("tensor([0.5]) : bf16", torch.tensor([0.5], dtype=torch.bfloat16)),
        ("value(3)", 3),
        ("value(-0.5)", -0.5),
        ("value('a; b)')", "a; b)"),
        ("value((1, 2))", (1, 2)),
        ("{}", {}),
        ("[]", []),
        ("{x=1,3; y=None}", {"x": spec(1, 3), "y": None}),
        (
            "{ x = 1,3:int64 ; y = {z=[1,2; 3,4]}; }",
            {"x": spec(1, 3, dtype="int64"), "y": {"z": [spec(1, 2), spec(3, 4)]}},
        ),
        ("(1,3; 2,4)", (spec(1, 3), spec(2, 4))),
        ("(1,3;)", (spec(1, 3),)),
        ("(1,3)", spec(1, 3)),
        ("[{a=1}; True; value('x=1; y')]", [{"a": spec(1)}, True, "x=1; y"]),
        ('{lengths=tensor([3, 5]); mode=value("mean")}', {"lengths": torch.tensor([3, 5]), "mode": "mean"}),
    ],
)
def test_nests_and_values(text, wanted):
    """Lists, tuples and dicts of inputs in one another; tensors by their values; what Python writes."""
    assert same(parse_value(text), wanted)
    named = parse_inputs([f"batch={text}", text])
    assert same(named.kwargs["batch"], wanted)
    assert same(named.args, (wanted,))


trees = st.recursive(
    st.builds(lambda shape: spec(*shape), st.lists(st.integers(0, 99), min_size=1, max_size=3))
    | st.none()
    | st.booleans()
    | st.builds(torch.tensor, st.lists(st.integers(-9, 9), max_size=3).filter(bool))
    | st.builds(repr, st.text()),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(inner, min_size=1, max_size=3).map(tuple)
        | st.dictionaries(st.from_regex(r"[a-z_]\w{0,5}", fullmatch=True), inner, max_size=3)
    ),
    max_leaves=8,
)


def written(tree):
    """A nest of inputs as it is typed; a text stands for itself as Python writes it."""
    if isinstance(tree, dict):
        return "{" + "; ".join(f"{key}={written(value)}" for key, value in tree.items()) + "}"
    if isinstance(tree, list):
        return "[" + "; ".join(map(written, tree)) + "]"
    if isinstance(tree, tuple):
        return "(" + "".join(f"{written(value)};" for value in tree) + ")"
    if isinstance(tree, torch.Tensor):
        return f"tensor({tree.tolist()})"
    if isinstance(tree, str):
        return f"value({tree!r})"
    return str(tree) if tree is None or isinstance(tree, bool) else ",".join(map(str, tree.shape))


@given(trees)
@example(["it's \"; \\", "\\'", {"a": "}; b=\"'"}])
def test_a_written_nest_is_read_back(tree):
    """Whatever nests are made of, and whatever signs stand in their texts."""
    assert same(parse_value(written(tree)), tree)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("{1,3}", "'1,3' has no name"),
        ("{x=1,3; x=1,4}", "'x' is given twice"),
        ("{x=1,a}", "'a' is no dimension"),
        ("tensor([1, [2]])", "is no tensor"),
        ("tensor([3]):int65", "there is no dtype 'int65'"),
        ("tensor(['a'])", "is no tensor"),
        ("tensor(x)", "Python does not write a value as 'x'"),
        ("value(mean)", "Python does not write a value as 'mean'"),
        ("value(" + "[" * 5000 + ")", "Python does not write"),
        ("9" * 5000, "a dimension of 5000 digits"),
        ("[1,3", "'[1' is no dimension"),
    ],
)
def test_what_is_wrong_with_a_nest_is_said(text, complaint):
    """As for a shape."""
    with pytest.raises(InputError) as error:
        parse_value(text)
    assert complaint in str(error.value)
