"""What the CPU refuses for the dtypes of tensors is refused on meta, over PyTorch's own list of operators."""

import warnings

import pytest
import torch
from torch import nn
from torch.utils import _pytree as pytree

import fxcost
from fxcost.meta.refusals import REFUSALS
from tests.meta.against_cpu import on_cpu, on_meta
from tests.test_op_db import name_of, operators

SAMPLES = 6
EXPLAINED = {
    "_softmax_backward_data": "called by autograd alone",
    "_unsafe_masked_index_put_accumulate": "made by the compiler alone",
    "nn.functional.linear_cross_entropy.chunked": "an operator of its own runs its products",
    "nn.functional.linear_cross_entropy.chunked_none": "an operator of its own runs its products",
    "linalg.pinv.hermitian": "its samples are made of products that are refused",
}


def mixed(info):
    """Calls with one of several float32 tensors in float64 instead."""
    samples = list(info.sample_inputs("cpu", torch.float32))
    for sample in samples[:: max(len(samples) // SAMPLES, 1)][:SAMPLES]:
        leaves, tree = pytree.tree_flatten(((sample.input, *sample.args), sample.kwargs))
        places = [i for i, v in enumerate(leaves) if isinstance(v, torch.Tensor) and v.layout is torch.strided]
        floats = [i for i in places if leaves[i].dtype is torch.float32]
        for odd in floats[:4] if len(floats) > 1 else ():

            def call(*tensors, leaves=leaves, tree=tree, places=places):
                given = list(leaves)
                for i, tensor in zip(places, tensors, strict=True):
                    given[i] = tensor
                args, kwargs = pytree.tree_unflatten(given, tree)
                return info.op(*args, **kwargs)

            yield (
                call,
                lambda odd=odd, leaves=leaves, places=places: [
                    leaves[i].double() if i == odd else leaves[i].clone() for i in places
                ],
            )


def let_pass(infos):
    """Operators that run on meta where the CPU refuses, and how many calls it refused."""
    found, refused = {}, 0
    for info in infos:
        if torch.float32 not in info.supported_dtypes("cpu") or name_of(info) in EXPLAINED:
            continue
        for call, given in mixed(info):
            try:
                on_cpu(call, given(), False)
            except Exception as error:
                refused += 1
                try:
                    on_meta(call, given(), False)
                except Exception:
                    continue
                found[name_of(info)] = str(error)[:200]
    return found, refused


FAMILIES = ("mm", "addmm", "mv", "nn.functional.conv2d", "nn.functional.layer_norm", "nn.functional.batch_norm", "put")


def test_a_sample_of_all_operators():
    """Every 25th operator, and those of the commonest kinds."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        infos = operators()
        found, refused = let_pass([*infos[::25], *(info for info in infos if name_of(info) in FAMILIES)])
    assert found == {}
    assert refused > 30


@pytest.mark.zoo
def test_all_operators():
    """All of them but those that are explained."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found, refused = let_pass(operators())
    assert found == {}
    assert refused > 300


LOW = torch.bfloat16


@pytest.mark.parametrize(
    "model",
    [nn.BatchNorm2d(4), nn.GroupNorm(2, 4), nn.LayerNorm(3), nn.InstanceNorm2d(4, affine=True)],
    ids=lambda m: type(m).__name__,
)
def test_normalizations_take_inputs_of_low_precision(model):
    """With parameters in float32, as in mixed precision: what PyTorch runs is no error."""
    x = torch.ones(2, 4, 3, 3, dtype=LOW)
    model(x)
    assert fxcost.analyze(model, x).flops > 0


@pytest.mark.parametrize("capture", ["auto", "concrete", "symbolic"])
def test_the_error_is_ours(capture):
    """It says which operator got what."""
    with pytest.raises(fxcost.ModelRunError, match=r"addmm.*one dtype.*float32, float64, float32"):
        fxcost.analyze(nn.Linear(4, 4), torch.ones(2, 4).double(), capture=capture)


def test_every_check_is_of_an_operator_with_the_tensors_that_it_looks_at():
    """Positions lead to arguments that are tensors, or lists of them."""
    for op, check in REFUSALS.items():
        kinds = [str(op._schema.arguments[i].type) for i in check.args[0]]
        assert all("Tensor" in kind for kind in kinds), (op, kinds)
