"""PyTorch's own list of operators with sample inputs: each is analysed completely, forwards and backwards.

A twentieth of them runs by default; `pytest -m zoo` runs all.
"""

import warnings

import pytest
import torch
from torch.utils import _pytree as pytree

import fxcost

SAMPLES = 4
"""How many of an operator's sample inputs are tried, spread over all of them."""
EXPLAINED = {
    "jiterator_unary": "compiled for CUDA alone",
    "jiterator_binary": "compiled for CUDA alone",
    "jiterator_4inputs_with_extra_args": "compiled for CUDA alone",
    "jiterator_binary_return_by_ref": "compiled for CUDA alone",
    "jiterator_2inputs_2outputs": "compiled for CUDA alone",
    "sparse.sampled_addmm": "tensors in compressed sparse row layout have no storage to follow",
    "sparse.mm.reduce": "tensors in compressed sparse row layout have no storage to follow",
    "to_sparse": "its gradient is sparse",
    "normal.number_mean": "draws numbers: there is nothing to differentiate",
}
"""Operators that can't be analysed, and why."""


def operators():
    """The list, which needs a small library of PyTorch's own tests."""
    pytest.importorskip("expecttest")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from torch.testing._internal.common_methods_invocations import op_db
    return [info for info in op_db if info.supported_dtypes("cpu")]


def name_of(info):
    return ".".join(filter(None, [info.name, info.variant_test_name]))


def calls(info):
    """Functions of tensors alone, with the tensors; whether they can be differentiated."""
    dtypes = info.supported_dtypes("cpu")
    dtype = torch.float32 if torch.float32 in dtypes else min(dtypes, key=str)
    trains = info.supports_autograd and dtype in info.supported_backward_dtypes("cpu")
    samples = list(info.sample_inputs("cpu", dtype, requires_grad=trains))
    for sample in samples[:: max(len(samples) // SAMPLES, 1)][:SAMPLES]:
        leaves, tree = pytree.tree_flatten(((sample.input, *sample.args), sample.kwargs))
        places = [i for i, leaf in enumerate(leaves) if isinstance(leaf, torch.Tensor)]

        def call(*tensors, leaves=leaves, tree=tree, places=places):
            given = list(leaves)
            for i, tensor in zip(places, tensors, strict=True):
                given[i] = tensor
            args, kwargs = pytree.tree_unflatten(given, tree)
            return info.op(*args, **kwargs)

        yield call, [leaves[i] for i in places], trains


def incomplete(infos):
    """What is wrong with the analysis of each operator, if anything is."""
    found = {}
    for info in infos:
        for call, tensors, trains in calls(info):
            try:
                report = fxcost.analyze(call, tensors, capture="concrete", training=trains)
            except (fxcost.FxcostError, NotImplementedError, IndexError) as error:
                found[name_of(info)] = str(error)
                continue
            uncosted = {**report.uncosted, **(report.training.uncosted if trains else {})}
            if uncosted:
                found[name_of(info)] = f"without a rule: {uncosted}"
    return found


def test_a_sample_of_all_operators():
    """Every twentieth operator of PyTorch's list has rules for all that runs, in both passes."""
    some = [info for info in operators()[::20] if name_of(info) not in EXPLAINED]
    assert incomplete(some) == {}


@pytest.mark.zoo
def test_all_operators():
    """All of them; the few that can't be analysed are those that are explained, and no others."""
    found = incomplete(operators())
    assert {name: why for name, why in found.items() if name not in EXPLAINED} == {}
    assert set(EXPLAINED) <= set(found)
