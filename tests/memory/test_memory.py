"""Memory of a forward pass: against real runs whose storages are followed one by one, and worked out by hand."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from live import eager_peak, graph_peak
from models import Lambda, Repeated, Residual, Transposed, ViewsOfViews
from torch import nn

import fxcost

WIDTH = 8


class DeadBranch(nn.Module):
    """A result that nobody uses, and one that dies inside a function."""

    def __init__(self):
        super().__init__()
        self.body = nn.Linear(WIDTH, 4 * WIDTH)

    def forward(self, x):
        self.body(x)
        return torch.cat([x, x * 2], -1).chunk(2, -1)[1]


def blocks():
    """Modules that keep the shape (N, 4, WIDTH, WIDTH): views, writes in place, dead ends, shared modules."""
    plain = st.sampled_from(
        [
            lambda: nn.Linear(WIDTH, WIDTH),
            lambda: nn.Conv2d(4, 4, 3, padding=1),
            lambda: nn.ReLU(inplace=True),
            lambda: nn.GELU(),
            lambda: nn.LayerNorm(WIDTH),
            ViewsOfViews,
            Transposed,
            DeadBranch,
            lambda: Lambda(lambda _, x: x.add_(1).sigmoid_()),
            lambda: Lambda(lambda _, x: (x.split(2, 1)[0] + 1).repeat(1, 2, 1, 1)),
        ]
    )
    residual = st.builds(
        lambda make, i: lambda: Residual(nn.Sequential(make(), nn.Identity()), i), plain, st.booleans()
    )
    repeated = st.builds(lambda make: lambda: Repeated(make(), 2), plain)
    return st.lists(st.one_of(plain, residual, repeated), min_size=1, max_size=5)


def built(makers):
    """A clone comes first, so that no block writes into the model's input."""
    return nn.Sequential(Lambda(lambda _, x: x.clone()), *(make() for make in makers))


@settings(deadline=None, max_examples=40)
@given(blocks())
def test_graph_peak_is_that_of_a_replay(makers):
    """Running the graph on the CPU node by node, every value dropped after its last use, peaks at the same bytes."""
    model, x = built(makers), torch.randn(2, 4, WIDTH, WIDTH)
    report = fxcost.analyze(model, x, capture="symbolic")
    assert report.memory.peak_activation_bytes == graph_peak(model, report.recording.graph, (x,))
    ran = fxcost.analyze(model, x, capture="concrete")
    assert report.memory.peak_eager_bytes == ran.memory.peak_eager_bytes


@settings(deadline=None, max_examples=40)
@given(blocks())
def test_eager_peak_is_that_of_a_run(makers):
    """The model's own forward on the CPU peaks at the same bytes; it never needs less than the graph."""
    model, x = built(makers), torch.randn(2, 4, WIDTH, WIDTH)
    memory = fxcost.analyze(model, x, capture="concrete").memory
    assert memory.peak_eager_activation_bytes == eager_peak(model, (x,))
    assert memory.peak_eager_bytes >= memory.peak_bytes


@settings(deadline=None, max_examples=20)
@given(blocks())
def test_parts_add_up(makers):
    """What is alive at the peak, and the dtypes, add up to it; the timeline reaches it and goes no higher."""
    memory = fxcost.analyze(built(makers), (2, 4, WIDTH, WIDTH)).memory
    assert sum(t.nbytes for t in memory.at_peak) == memory.peak_activation_bytes
    assert max(moment.peak_bytes for moment in memory.timeline) == memory.peak_activation_bytes
    assert sum(memory.by_dtype.values()) == memory.peak_bytes
    assert [t.nbytes for t in memory.largest_activations] == sorted((t.nbytes for t in memory.tensors), reverse=True)


def test_a_chain_by_hand():
    """x (1, 10) → 100 → 10 → 5 floats: while the second layer runs, its input of 400 bytes and its 40 are alive."""
    model = nn.Sequential(nn.Linear(10, 100), nn.Linear(100, 10), nn.Linear(10, 5))
    memory = fxcost.analyze(model, (1, 10)).memory
    assert memory.input_bytes == 40
    assert memory.parameter_bytes == 4 * (1100 + 1010 + 55)
    assert memory.peak_activation_bytes == 440
    assert memory.peak_bytes == 440 + 40 + 4 * 2165
    assert [(m.peak_bytes, m.live_bytes) for m in memory.timeline if m.module] == [(400, 400), (440, 40), (60, 20)]
    assert [(t.node, t.module, t.nbytes) for t in memory.at_peak] == [("_0", "0", 400), ("_1", "1", 40)]
    assert memory.largest_activations[0].operator == "aten.addmm.default"


def test_views_and_in_place_writes_take_nothing():
    """Views, and results written into an argument, are the same memory."""
    memory = fxcost.analyze(lambda x: x.clone().view(4, 5).relu_().t()[1:].add_(1), (20,)).memory
    assert memory.peak_activation_bytes == 80


def test_tied_weights_and_dtypes():
    """A storage counts once under all its names; bytes by dtype tell half precision from float32."""

    class Tied(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Linear(4, 4, bias=False), nn.Linear(4, 4, bias=False)
            self.b.weight = self.a.weight
            self.register_buffer("ids", torch.arange(3))

        def forward(self, x):
            return self.b(self.a(x)).float()

    memory = fxcost.analyze(Tied(), (2, 4), dtype="bfloat16").memory
    assert (memory.parameter_bytes, memory.buffer_bytes, memory.input_bytes) == (32, 24, 16)
    assert memory.peak_activation_bytes == 16 + 32
    assert memory.by_dtype == {"bfloat16": 32 + 16 + 16, "int64": 24, "float32": 32}


def test_eager_holds_more_than_the_graph():
    """A local variable that is not used any more is alive to Python, not to the graph."""

    def forward(x):
        a = x * 2
        b = a + 1
        c = b + 1
        return c + 1

    memory = fxcost.analyze(forward, (10,), capture="concrete").memory
    assert memory.peak_activation_bytes == 80
    assert memory.peak_eager_activation_bytes == 160
    assert memory.peak_eager_bytes == 200


def test_outputs_live_to_the_end():
    """An early output is still there at the last node."""
    memory = fxcost.analyze(lambda x: (x + 1, (x + 2).sum()), (10,)).memory
    assert memory.timeline[-1].live_bytes == 44


def test_nothing_runs():
    """A model without operators has no activations."""
    memory = fxcost.analyze(nn.Identity(), (3,)).memory
    assert (memory.peak_activation_bytes, memory.at_peak, memory.peak_bytes) == (0, (), 12)
    assert "0 B" in str(memory)


def test_views_of_it():
    """The table names the totals and the largest tensors; the chart has as many lines as asked for."""
    memory = fxcost.analyze(nn.Sequential(nn.Linear(10, 100), nn.ReLU(), nn.Linear(100, 10)), (1, 10)).memory
    table = memory.table(top=1)
    assert "Peak, graph order" in table
    assert "1 more tensor" in table
    assert "float32[1,100]" in table
    with pytest.raises(fxcost.FxcostError, match="github"):
        memory.table(format="no such format")
    lines = memory.chart(width=3, height=4).splitlines()
    assert lines[0] == "800 B at most"
    assert len(lines) == 1 + 4 + 2
    assert max(len(line) for line in lines[1:5]) == 3


TABLE = torch.ones(5)
"""What a model's code finds outside."""

SHORT_LIVED = {
    "an index": lambda x: x[:, [0]].exp().exp(),
    "an index that was made": lambda x: x.index_fill(1, torch.tensor([0]), 1.0) + 1,
    "numbers as a tensor": lambda x: (x * torch.tensor([2.0])).exp(),
    "a number that is written": lambda x: x.clone().index_put_((torch.tensor([0]),), torch.tensor(1.0)).exp(),
    "what is not made by the model": lambda x: (x.exp()[0, :5] + TABLE).exp(),
    "a loss": lambda x: nn.functional.mse_loss(x, x * 2) + torch.cat([x, x]).sum(),
    "a loss of another kind": lambda x: nn.functional.soft_margin_loss(x, x) + torch.cat([x, x]).sum(),
    "losses of each": lambda x: nn.functional.smooth_l1_loss(x, x * 2, reduction="none").exp(),
    "a gradient": lambda x: torch.func.grad(lambda t: (t**3).sum())(x),
    "a derivative": lambda x: torch.func.jvp(torch.tanh, (x,), (x,))[1].exp(),
    "a batch of calls": lambda x: torch.vmap(lambda t: t.sin() * 2)(x).exp(),
}


@pytest.mark.parametrize("name", SHORT_LIVED)
def test_what_dies_at_once_does(name):
    """Constants, and what C++ holds beside its result: a loss keeps the memory in which its elements were."""
    function, x = SHORT_LIVED[name], torch.ones(4, 6)
    memory = fxcost.analyze(function, x, capture="concrete").memory
    assert memory.peak_eager_activation_bytes == eager_peak(function, (x,))


def test_what_a_transform_hands_back_is_no_constant():
    """`torch.func.grad` unwraps its result where nobody sees it, which does not make it the model's."""
    memory = fxcost.analyze(SHORT_LIVED["a gradient"], torch.ones(4, 6), capture="concrete").memory
    assert memory.resident_bytes == 4 * 6 * 4


def test_a_recurrent_layer_keeps_something_only_for_a_backward_pass():
    """In training mode without gradients nothing is kept; with them, gates for each step."""
    layer, x = nn.LSTM(4, 5).train(), torch.ones(3, 2, 4)
    report = fxcost.analyze(layer, x, capture="concrete", training=True)
    output_and_states, first_states = 4 * (3 * 2 * 5 + 2 * 2 * 5), 4 * 2 * 2 * 5
    assert report.memory.peak_eager_activation_bytes == output_and_states + first_states
    gates = 4 * 3 * 2 * 5 * 6  # a step keeps six values for each unit: its four gates, c and tanh(c)
    assert report.training.saved_bytes == gates + 4 * 3 * 2 * 5 + first_states


def test_dropout_between_recurrent_layers_counts_in_training_mode_alone():
    """Two multiplications for each element that goes from one layer to the next, with gradients or without."""
    layer, x = nn.LSTM(4, 5, 2, dropout=0.5), torch.ones(3, 2, 4)
    trained = fxcost.analyze(layer.train(), x).flops
    assert trained - fxcost.analyze(layer.eval(), x).flops == 2 * (3 * 2 * 5)


def test_quantized_tensors_take_memory():
    """A byte for each element, as long as they live; only a real run has them."""

    def model(x):
        whole = torch.quantize_per_tensor(x, 0.1, 0, torch.quint8)
        return torch.ops.quantized.add(whole, whole, 0.1, 0).dequantize().exp()

    memory = fxcost.analyze(model, torch.ones(4, 6)).memory
    assert memory.peak_eager_activation_bytes == eager_peak(model, (torch.ones(4, 6),))
    assert 4 * 6 in [tensor.nbytes for tensor in memory.tensors]
