"""Results lie in memory as those of a run on the CPU, over PyTorch's own list of operators, forwards and backwards.

Inputs are row-major, channels last, turned, with the last two dimensions swapped, and parts of longer rows: all of
them, the first alone, all but the first. Compared are all operators that run below each call, what they return, and
which results share memory.
"""

import warnings

import pytest
import torch

from fxcost.meta.gradients import META_GRADIENTS
from fxcost.meta.layouts import LAYOUTS
from tests.meta.against_cpu import laid_out, on_cpu, on_meta
from tests.test_op_db import calls, name_of, operators

EXPLAINED = {
    "_unsafe_masked_index_put_accumulate": "made by the compiler alone",
    "allclose": "a value, which meta has not",
    "histogramdd": "made of values",
    "jiterator_unary": "compiled for CUDA alone",
    "nn.functional.ctc_loss": "the table's width hangs on the values of lengths",
    "nn.functional.multi_head_attention_forward": "dropout is one operator, as on CUDA",
    "nn.functional.scaled_dot_product_attention": "attention is one operator",
    "renorm": "scales of slices, which nothing uses, are laid out by another rule",
    "sparse.mm.reduce": "sparse",
    "sparse.sampled_addmm": "sparse",
    "to_sparse": "sparse",
    "torch._scaled_mm": "takes other layouts than those that are tried",
}
"""Operators that run otherwise, and why."""


def differing(infos, train, layouts=None):
    """Operators with a call whose run on meta is another one; how many calls were compared."""
    found, compared = {}, 0
    for info in infos:
        if name_of(info) in EXPLAINED:
            continue
        for call, tensors, trains in calls(info):
            wanted = [t.requires_grad for t in tensors]
            plain = [t.detach() for t in tensors]
            for (name, real), (_, twins) in zip(laid_out(plain), laid_out(plain), strict=True):
                if layouts is not None and name not in layouts:
                    continue
                for group in (real, twins) if train and trains else ():
                    for tensor, wants in zip(group, wanted, strict=True):
                        tensor.requires_grad_(wants)
                try:
                    expected = on_cpu(call, real, train and trains)
                except Exception:  # PyTorch refuses this layout
                    continue
                compared += 1
                ran = on_meta(call, twins, train and trains)
                if ran != expected and name_of(info) not in found:
                    found[name_of(info)] = name, _parting(expected, ran)
    return found, compared


def _parting(expected, ran):
    for one, other in zip(expected[1], ran[1], strict=False):
        if one != other:
            return one, other
    return expected[0], ran[0]


@pytest.mark.parametrize("train", [False, True], ids=["forward", "training"])
def test_a_sample_of_all_operators(train):
    """Every 30th operator, in the layouts that differ most."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        infos = operators()[7 if train else 3 :: 30]
        found, compared = differing(infos, train, ("contiguous, all", "channels_last, all", "turned, all"))
    assert found == {}
    assert compared > 60


@pytest.mark.zoo
@pytest.mark.parametrize("train", [False, True], ids=["forward", "training"])
def test_all_operators(train):
    """All of them, in all layouts."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found, compared = differing(operators(), train)
    assert found == {}
    assert compared > 5000


IMAGES = {
    "mish": torch.nn.functional.mish,
    "batch norm": lambda x: torch.nn.functional.batch_norm(x, None, None, training=True),
    "group norm": lambda x: torch.nn.functional.group_norm(x, 1),
    "reflection": lambda x: torch.nn.functional.pad(x, (1, 1, 1, 1), "reflect"),
    "replication": lambda x: torch.nn.functional.pad(x, (1, 1, 1, 1), "replicate"),
    "huber": lambda x: torch.nn.functional.huber_loss(x, 2 * x),
    "layer norm": lambda x: torch.nn.functional.layer_norm(x, x.shape[-1:]),
    "log softmax": lambda x: x.log_softmax(1),
    "like": lambda x: torch.zeros_like(x) + torch.empty_like(x, dtype=torch.float64).zero_() + x,
    "flip": lambda x: x.flip(1) * x.flip(0, -1),
    "triangles": lambda x: x.tril() + x.triu(1),
    "rrelu": torch.nn.functional.rrelu,
    "losses": lambda x: torch.nn.functional.mse_loss(x, 2 * x),
    "losses of each": lambda x: torch.nn.functional.smooth_l1_loss(x, 2 * x, reduction="none"),
    "entropy": lambda x: torch.nn.functional.binary_cross_entropy(x.sigmoid(), x.sigmoid(), reduction="none"),
}


@pytest.mark.parametrize("shape", [(2, 3, 4, 5), (1, 3, 4, 5), (2, 1, 4, 4), (2, 3, 1, 1), (1, 1, 3, 1)], ids=str)
@pytest.mark.parametrize("name", IMAGES)
def test_images_in_all_layouts(name, shape):
    """With sizes of 1, whose strides are free, too."""
    if name == "batch norm" and shape[0] * shape[2] * shape[3] == 1:
        pytest.skip("one value has no spread")
    compared = 0
    for layout, tensors in laid_out([torch.ones(shape)]):
        given = [t.requires_grad_() for t in tensors]
        twins = [t.detach().as_strided(t.shape, t.stride(), t.storage_offset()).requires_grad_() for t in tensors]
        try:
            expected = on_cpu(IMAGES[name], given, True)
        except RuntimeError:  # a padding larger than the image
            continue
        compared += 1
        assert (layout, on_meta(IMAGES[name], twins, True)) == (layout, expected)
    assert compared or 1 in shape[2:]


def test_a_batch_of_none_is_not_unshuffled():
    """PyTorch returns it in its old shape."""
    real = on_cpu(lambda x: torch.nn.functional.pixel_unshuffle(x, 2), [torch.ones(0, 4, 6, 6)], False)
    assert on_meta(lambda x: torch.nn.functional.pixel_unshuffle(x, 2), [torch.ones(0, 4, 6, 6)], False) == real


def test_every_kernel_is_of_an_operator_that_there_is():
    """Tables name operators, each with something that can be called."""
    kernels = {**LAYOUTS, **META_GRADIENTS}
    assert all(isinstance(op, torch._ops.OpOverload) and callable(kernel) for op, kernel in kernels.items())
