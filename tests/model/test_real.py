"""Real copies: what runs is never the user's own."""

import pytest
import torch
from torch import nn

import fxcost
from fxcost.model.real import RealModel, home, same_random_numbers

CPU = torch.device("cpu")


class Tied(nn.Module):
    """An embedding whose weight is also the head's, a buffer that is a view, and a module that counts its calls."""

    def __init__(self):
        super().__init__()
        self.embed, self.head = nn.Embedding(7, 4), nn.Linear(4, 7, bias=False)
        self.head.weight = self.embed.weight
        self.register_buffer("table", torch.arange(12.0).reshape(3, 4))
        self.register_buffer("row", self.table[1])
        self.calls = []

    def forward(self, ids):
        self.calls.append(1)
        self.table += 1
        return self.head(self.embed(ids) + self.row)


def test_aliases_stay_aliases():
    """Tied weights are one tensor, and a buffer that is a view still sees what happens to the whole."""
    model = Tied()
    real = RealModel(model, fxcost.spec(2, 3, dtype="int64"), None, CPU)
    copy = real.owner
    assert copy.head.weight is copy.embed.weight
    assert torch.equal(copy.embed.weight, model.embed.weight)
    assert copy.embed.weight.data_ptr() != model.embed.weight.data_ptr()
    real()
    assert torch.equal(copy.row, copy.table[1])


def test_a_run_changes_the_copy_alone():
    """Buffers, lists and counters of the user's model stay as they are; tensors given as inputs too."""
    model, table = Tied(), torch.arange(12.0).reshape(3, 4)
    RealModel(model, fxcost.spec(2, 3, dtype="int64"), None, CPU)()
    assert torch.equal(model.table, table)
    assert model.calls == []
    x = torch.ones(3)
    RealModel(lambda x: x.mul_(2), x, None, CPU)()
    assert torch.equal(x, torch.ones(3))


def test_a_function_runs_with_copies_of_what_it_takes_from_outside():
    """A module and a tensor in a closure."""
    layer, scale = nn.BatchNorm1d(4).train(), torch.ones(1)

    def function(x):
        return layer(x) * scale.add_(1)

    real = RealModel(function, (8, 4), None, CPU)
    real()
    assert layer.num_batches_tracked == 0
    assert torch.equal(scale, torch.ones(1))
    assert {type(m) for m in real.modules} == {nn.BatchNorm1d}
    assert len(real.parameters) == 2


def test_shapes_become_data():
    """Floats at random, integers 0, booleans True; nests, keyword inputs and other values stay."""
    seen = {}

    def function(x, pair, flag, mask=None):
        seen.update(x=x, pair=pair, flag=flag, mask=mask)

    inputs = [(2, 3), [fxcost.spec(4, dtype="int64"), fxcost.spec(2, dtype="bfloat16")], "text"]
    RealModel(function, inputs, {"mask": fxcost.spec(2, dtype="bool")}, CPU)()
    assert seen["x"].shape == (2, 3)
    assert seen["x"].unique().numel() == 6
    assert torch.equal(seen["pair"][0], torch.zeros(4, dtype=torch.int64))
    assert seen["pair"][1].dtype is torch.bfloat16
    assert seen["flag"] == "text"
    assert seen["mask"].all()


def test_lazy_modules_get_real_weights():
    """They are made by the first run."""
    real = RealModel(nn.LazyLinear(3), (2, 5), None, CPU)
    assert real().shape == (2, 3)


def test_meta_is_refused_by_name():
    """The message names the tensor, and says what to do."""
    with torch.device("meta"):
        model = nn.Sequential(nn.Linear(2, 3))
    with pytest.raises(fxcost.MeasureError, match=r"0\.weight, of shape \(3, 2\), is on meta \(and 1 more\).*to_empty"):
        RealModel(model, (1, 2), None, CPU)
    with pytest.raises(fxcost.MeasureError, match=r"shape \(1, 2\) is on meta"):
        RealModel(nn.Linear(2, 3), torch.empty(1, 2, device="meta"), None, CPU)


def test_what_is_no_model():
    """The same error as elsewhere."""
    with pytest.raises(fxcost.InputError, match="a int is no model"):
        RealModel(3, (), None, CPU)


def test_home():
    """Where the model is, else the CPU: meta is no place to run at, the model's weights or inputs say so later."""
    assert home(nn.Linear(2, 2)) == CPU
    with torch.device("meta"):
        assert home(nn.Linear(2, 2)) == CPU
    assert home(lambda x: x, [torch.empty(1, device="meta")]) == CPU
    assert home(lambda x: x, (2, 2)) == CPU


def test_random_generators_are_as_before():
    """PyTorch's and Python's own."""
    import random

    states = torch.get_rng_state(), random.getstate()
    with same_random_numbers(CPU):
        torch.rand(3), random.random()
    assert torch.equal(torch.get_rng_state(), states[0])
    assert random.getstate() == states[1]
