"""Training steps: against FlopCounterMode and real runs of autograd on the CPU, and worked out by hand."""

import copy
import itertools

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from live import LiveStorages, base_of
from models import Lambda, Repeated, Residual, ViewsOfViews
from torch import nn
from torch.utils.checkpoint import checkpoint
from torch.utils.flop_counter import FlopCounterMode

import fxcost
from fxcost.errors import TrainingError
from fxcost.memory.optimizers import state_bytes
from fxcost.meta import autocast_gradients

WIDTH = 8


def step(model, inputs, **options):
    """The training part of an analysis that must price every operator."""
    return fxcost.analyze(model, inputs, training=True, strict=True, **options).training


class DeadBranch(nn.Module):
    """Computes something that no output depends on."""

    def __init__(self):
        super().__init__()
        self.used, self.unused = nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, WIDTH)

    def forward(self, x):
        self.unused(x)
        return self.used(x)


class Frozen(nn.Module):
    """Its weight takes no gradient, its bias does."""

    def __init__(self):
        super().__init__()
        self.body = nn.Linear(WIDTH, WIDTH)
        self.body.weight.requires_grad_(False)

    def forward(self, x):
        return self.body(x)


class Halves(nn.Module):
    """Writes into views of what autograd follows."""

    def forward(self, x):
        x = x * 1.5
        x[..., :2] = x[..., 2:4] * 2
        x[..., 4:].mul_(0.5)
        left, right = x.chunk(2, -1)
        return torch.cat([right, left.sigmoid()], -1)


def blocks():
    """Modules that keep the shape (2, 4, WIDTH)."""
    plain = st.sampled_from(
        [
            lambda: nn.Linear(WIDTH, WIDTH),
            lambda: nn.Conv1d(4, 4, 3, padding=1),
            lambda: nn.Conv1d(4, 4, 3, padding=1, bias=False),
            lambda: nn.ReLU(),
            lambda: nn.GELU(),
            lambda: nn.LayerNorm(WIDTH),
            lambda: nn.BatchNorm1d(4),
            lambda: nn.Softmax(-1),
            DeadBranch,
            Frozen,
            Halves,
            lambda: nn.MultiheadAttention(WIDTH, 2, batch_first=True),
        ]
    )
    whole = st.builds(lambda make: lambda: _first(make()), plain)
    residual = st.builds(lambda make: lambda: Residual(make(), False), whole)
    repeated = st.builds(lambda make: lambda: Repeated(make(), 2), whole)
    return st.lists(st.one_of(whole, residual, repeated), min_size=1, max_size=4)


def _first(module):
    if isinstance(module, nn.MultiheadAttention):
        return Lambda(lambda self, x: self.attention(x, x, x, need_weights=False)[0], attention=module)
    return module


def built(makers):
    """A linear layer comes first, so that something is trained."""
    return nn.Sequential(nn.Linear(WIDTH, WIDTH), *(make() for make in makers))


def real_step(model, x):
    """(saved bytes, peak) of a training step on the CPU, parameters, buffers and inputs excluded."""
    base = base_of(model, x)
    resident = {t.untyped_storage()._cdata for t in base}
    saved = {}

    def pack(tensor):
        if tensor.untyped_storage()._cdata not in resident:
            saved[tensor.untyped_storage()._cdata] = tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
        out = model(x)
    nbytes = sum(t.untyped_storage().nbytes() for t in saved.values())
    saved.clear()
    del out
    with LiveStorages(base) as live:
        out = model(x)
        out.sum().backward()
    return nbytes, live.peak


def flops(model, x):
    """Forward and backward FLOPs that FlopCounterMode sees on meta, where attention is not fused."""
    model = copy.deepcopy(model).to("meta")
    with FlopCounterMode(display=False) as forward:
        out = model(x.detach().to("meta").requires_grad_(x.requires_grad))
    with FlopCounterMode(display=False) as backward:
        out.sum().backward()
    return forward.get_total_flops(), backward.get_total_flops()


@settings(deadline=None, max_examples=30)
@given(blocks(), st.sampled_from(["symbolic", "concrete"]))
def test_products_are_those_of_flop_counter_mode(makers, capture):
    """MACs of both passes, on random graphs with shared, frozen and unused parts, views and in-place writes."""
    model, x = built(makers), torch.randn(2, 4, WIDTH)
    try:
        training = step(model, x, capture=capture)
    except fxcost.FxcostError:
        assert capture == "symbolic"
        return
    assert (2 * training.forward.macs, 2 * training.backward.macs) == flops(model, x)


@settings(deadline=None, max_examples=30)
@given(blocks())
def test_saved_bytes_and_peak_are_those_of_a_real_step(makers):
    """What autograd saves on the CPU, storage by storage, and the most that is alive during the step."""
    model, x = built(makers), torch.randn(2, 4, WIDTH)
    training = step(model, x, capture="concrete")
    saved, peak = real_step(model, x)
    assert training.saved_bytes == saved
    assert max(training.live) == peak


@settings(deadline=None, max_examples=20)
@given(blocks())
def test_everything_belongs_to_a_node(makers):
    """Costs by node and by module add up; only gradients that add up at a parameter belong to no node."""
    report = fxcost.analyze(built(makers), (2, 4, WIDTH), training=True)
    training = report.training
    by_node = sum((n.cost for n in training.nodes), fxcost.memory.training.StepCost())
    assert by_node.forward == training.forward
    assert by_node.backward.macs == training.backward.macs
    assert by_node.saved_bytes == training.saved_bytes
    assert training.by_module()[""] == training.cost
    assert training.forward == report.cost
    assert training.uncosted == {}
    assert {n.name for n in training.nodes} <= {n.name for n in report.nodes}
    assert sum(training.peak_parts.values()) == training.peak_bytes


def test_a_linear_layer_by_hand():
    """y = xWᵀ + b: dW = gᵀx and, where x needs it, dx = gW; db sums g over the rows."""
    model = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 5))
    training = step(model, (2, 3), optimizer="adam")
    assert training.forward.macs == 2 * 3 * 4 + 2 * 4 * 5
    assert training.backward.macs == 2 * 3 * 4 + 2 * 4 * 5 * 2  # the first layer's input needs no gradient
    parameters = 16 + 25
    assert training.gradient_bytes == 4 * parameters
    assert training.optimizer_bytes == 2 * 4 * parameters
    assert training.saved_bytes == 4 * 2 * 4  # the second layer's input; weights and the model's input are there anyway
    assert {n.name: n.cost.saved_bytes for n in training.nodes} == {"_0": 0, "_1": 32}
    assert training.by_module()["1"].backward.macs == 80
    assert training.peak_parts["parameters"] == 4 * parameters


@pytest.mark.parametrize(
    "make",
    [
        lambda: nn.Conv2d(6, 8, 3, 2, 1),
        lambda: nn.Conv2d(6, 9, 3, groups=3),
        lambda: nn.Conv2d(6, 12, 3, groups=6),
        lambda: nn.ConvTranspose2d(6, 4, 3, 2),
        lambda: nn.ConvTranspose2d(6, 4, 3, 2, groups=2),
    ],
    ids=["plain", "grouped", "depthwise", "transposed", "grouped transposed"],
)
def test_convolutions_are_their_plain_ones(make):
    """A grouped convolution's backward is that of as many plain ones, for which FlopCounterMode is right."""
    whole, x = make(), torch.randn(2, 6, 9, 9, requires_grad=True)
    groups = whole.groups

    class Split(nn.Module):
        def __init__(self):
            super().__init__()
            self.parts = nn.ModuleList(
                type(whole)(6 // groups, whole.out_channels // groups, 3, whole.stride, whole.padding)
                for _ in range(groups)
            )

        def forward(self, x):
            return torch.cat([part(v) for part, v in zip(self.parts, x.chunk(groups, 1), strict=True)], 1)

    training = step(whole, x)
    assert 2 * training.backward.macs == flops(Split(), x)[1]
    assert training.backward.macs == 2 * training.forward.macs


def test_frozen_parameters_and_inputs_without_gradient():
    """A gradient that is not needed is not computed: no input's, no frozen weight's, none before the first trained."""
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3), nn.Conv2d(4, 2, 3))
    macs = [fxcost.analyze(model, (1, 3, 9, 9)).cost_of(str(i)).macs for i in range(3)]
    assert step(model, (1, 3, 9, 9)).backward.macs == macs[0] + 2 * macs[1] + 2 * macs[2]
    assert step(model, torch.randn(1, 3, 9, 9, requires_grad=True)).backward.macs == 2 * sum(macs)
    model[0].requires_grad_(False)
    assert step(model, (1, 3, 9, 9)).backward.macs == macs[1] + 2 * macs[2]
    model[2].weight.requires_grad_(False)
    frozen = step(model, (1, 3, 9, 9))
    assert frozen.backward.macs == macs[1] + macs[2]
    assert frozen.gradient_bytes == 4 * (4 * 4 * 9 + 4 + 2)
    assert frozen.optimizer_bytes == 2 * frozen.gradient_bytes


def test_shared_parameters():
    """A layer used twice has one gradient, which adds up: that addition belongs to no node."""
    training = step(Repeated(nn.Linear(4, 4, bias=False), 2), (3, 4), optimizer="momentum")
    assert training.backward.macs == 3 * 16 * (2 + 1)
    assert training.gradient_bytes == training.optimizer_bytes == 64
    assert training.backward.other_flops == 16
    assert sum(n.cost.backward.other_flops for n in training.nodes) in (0, 16)


@pytest.mark.parametrize("reentrant", [True, False])
def test_checkpointing(reentrant):
    """What is recomputed stands apart, and only the block's input is saved."""
    body = nn.Sequential(nn.Linear(8, 64), nn.GELU(), nn.Linear(64, 8))

    class Checkpointed(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.body = nn.Linear(8, 8), body

        def forward(self, x):
            return checkpoint(self.body, self.first(x), use_reentrant=reentrant)

    plain = step(nn.Sequential(nn.Linear(8, 8), body), (5, 8))
    checked = step(Checkpointed(), (5, 8))
    assert plain.recomputed == fxcost.Cost()
    assert checked.forward == plain.forward
    assert checked.backward.macs == plain.backward.macs
    # without reentrance the last layer need not run again: nothing waits for its output
    assert checked.recomputed.macs in (5 * 8 * 64, 2 * 5 * 8 * 64)
    assert checked.saved_bytes == 4 * 5 * 8
    assert plain.saved_bytes == 4 * 5 * (8 + 64 + 64)
    assert checked.total == checked.forward + checked.backward + checked.recomputed


def test_custom_function():
    """Backward code of the user's is run and costed."""

    class Twice(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x, w):
            ctx.save_for_backward(x)
            return x @ w

        @staticmethod
        def backward(ctx, g):
            (x,) = ctx.saved_tensors
            return None, x.t() @ g

    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.w = nn.Parameter(torch.randn(4, 5))

        def forward(self, x):
            return Twice.apply(x * 2, self.w)

    training = step(Model(), (3, 4))
    assert (training.forward.macs, training.backward.macs) == (60, 60)
    assert training.saved_bytes == 48


def test_dropout_keeps_a_boolean_mask():
    """As CUDA's kernel does: a byte per element, not a float."""
    model = nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.5))
    assert step(model.train(), (3, 4)).saved_bytes == 12
    evaluated = step(model.eval(), (3, 4))
    assert evaluated.saved_bytes == 0
    assert any("eval mode" in sentence for sentence in evaluated.assumptions)


def test_recurrent_layers_are_one_operator():
    """LSTM by hand: each matrix meets each step in two gradients, but the input's and the first state's."""
    steps, batch, i, h = 5, 2, 3, 4
    model = nn.Sequential(nn.LSTM(i, h, 2))
    training = step(model, (steps, batch, i))
    rows, w1, u, w2 = steps * batch, 4 * h * i, 4 * h * h, 4 * h * h
    of_weights = rows * (w1 + u + w2 + u)
    of_inputs = rows * w2 + (rows - batch) * 2 * u
    assert training.backward.macs == of_weights + of_inputs
    assert len(training.nodes) == 1


def test_loss_of_the_users():
    """A loss is a node of its own and counts; the default sum does not."""
    target = torch.tensor([1, 0, 2])
    model = nn.Linear(4, 3)
    training = step(model, (3, 4), loss=lambda out: F.cross_entropy(out, target))
    plain = step(model, (3, 4))
    assert [n.name for n in training.nodes][-1] == "loss"
    assert "loss" not in {n.name for n in plain.nodes}
    assert training.nodes[-1].cost.backward.other_flops > 0
    assert training.saved_bytes == plain.saved_bytes + 3 * 3 * 4 + 3 * 8 + 4  # log-softmax, targets, total weight


def test_a_loss_in_the_output():
    """transformers returns the loss; `loss=` picks it."""
    model = Lambda(lambda self, x: {"loss": self.l(x).mean(), "logits": self.l(x)}, l=nn.Linear(4, 4))
    one = step(model, (3, 4), loss=lambda out: out["loss"])
    both = step(model, (3, 4))
    assert both.backward.macs == 2 * one.backward.macs


def test_optimizer_names():
    """Bytes of state in terms of a (6, 10) weight and a bias of 6."""
    model, w, b = nn.Linear(10, 6), 60, 6
    expected = {"sgd": 0, "momentum": w + b, "adam": 2 * (w + b), "adamw": 2 * (w + b), "lion": w + b}
    expected["adafactor"] = 6 + 10 + b  # a row and a column in the weight's place
    for name, elements in expected.items():
        assert step(model, (2, 10), optimizer=name).optimizer_bytes == 4 * elements
    assert step(model, (2, 10), optimizer=12).optimizer_bytes == 12 * 66
    assert step(model, (2, 10), optimizer=0).optimizer_bytes == 0
    assert step(model, (2, 10)).optimizer == "adamw"


@pytest.mark.parametrize(
    ("name", "make"),
    [
        ("sgd", torch.optim.SGD),
        ("momentum", lambda params: torch.optim.SGD(params, momentum=0.9)),
        ("adam", torch.optim.Adam),
        ("adamw", torch.optim.AdamW),
        ("adafactor", torch.optim.Adafactor),
    ],
)
def test_names_are_their_classes(name, make):
    """A name keeps what PyTorch's class of that name keeps after a step."""
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.LayerNorm(4), nn.Linear(4, 4))
    specs = [fxcost.records.recording.TensorSpec(tuple(p.shape), p.dtype, p.stride()) for p in model.parameters()]
    assert state_bytes(name, specs) == state_bytes(make(model.parameters()), ())


def test_optimizers_that_cannot_step_say_so():
    """LBFGS needs the loss again; its state is for the user to say."""
    with pytest.raises(TrainingError, match="bytes per parameter"):
        state_bytes(torch.optim.LBFGS(nn.Linear(2, 2).parameters()), ())


def test_optimizer_objects():
    """Groups and settings of a torch.optim optimizer decide; it is left as it was."""
    model = nn.Sequential(nn.Linear(10, 6), nn.Linear(6, 2))
    optimizer = torch.optim.Adam(
        [{"params": model[0].parameters(), "amsgrad": True}, {"params": model[1].parameters()}]
    )
    assert step(model, (2, 10), optimizer=optimizer).optimizer_bytes == 4 * (3 * 66 + 2 * 14)
    assert optimizer.state == {}
    assert all(p.grad is None for p in model.parameters())


def test_mixed_precision():
    """In bfloat16 weights, gradients and activations take half; `bytes per parameter` says what a master copy takes."""
    model = nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 8))
    full, half = step(model, (4, 8)), step(model, (4, 8), dtype="bfloat16", optimizer=12)
    assert full.saved_bytes == 2 * half.saved_bytes
    assert full.gradient_bytes == 2 * half.gradient_bytes
    assert half.optimizer_bytes == 12 * 144


class Autocast(nn.Module):
    """A region of lower precision around a part."""

    def __init__(self):
        super().__init__()
        self.first, self.second, self.last = nn.Linear(8, 16), nn.Linear(16, 8), nn.Linear(8, 4)

    def forward(self, x):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            x = self.second(torch.relu(self.first(x)))
        return self.last(x.float())


class CastOnce(nn.Module):
    """Weights that a region uses twice, and one that two regions use."""

    def __init__(self):
        super().__init__()
        self.up, self.down, self.mix = nn.Linear(8, 16), nn.Linear(16, 8), nn.Parameter(torch.randn(8, 8))

    def forward(self, x):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            for _ in range(2):
                x = self.down(torch.relu(self.up(x))) @ self.mix
        with torch.autocast("cpu", dtype=torch.bfloat16):
            x = x @ self.mix
        return x.float()


@pytest.mark.parametrize("model", [Autocast(), nn.Sequential(Autocast(), nn.Linear(4, 4)), CastOnce()])
def test_autocast(model):
    """Casts are saved and differentiated as on the CPU; weights, gradients and optimizer state stay float32."""
    x = torch.randn(5, 8)
    training = step(model, x, capture="concrete")
    assert (training.saved_bytes, max(training.live)) == real_step(model, x)
    parameters = sum(p.numel() for p in model.parameters())
    assert training.gradient_bytes == 4 * parameters
    assert training.optimizer_bytes == 8 * parameters
    saved = [t.spec.dtype_name for t in training.at_peak]
    assert "bfloat16" in saved


def test_a_region_leaves_pytorch_as_it_was():
    """What ends a region's cache of casts is PyTorch's own again, and the cache is empty."""
    stock = torch.clear_autocast_cache
    step(CastOnce(), torch.randn(5, 8))
    assert torch.clear_autocast_cache is stock
    assert autocast_gradients._cache.casts == {}


def test_autocast_around_the_analysis():
    """A region around the call is one around the model, for graphs as well; nothing of it is left behind."""
    model, x = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 8)), torch.randn(5, 8)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        half = step(model, x, capture="symbolic")
        saved, _ = real_step(model, x)  # its peak has the cache of casts, which lives as long as the region
    assert half.saved_bytes == saved
    assert step(model, x).saved_bytes != saved
    meta = copy.deepcopy(model).to("meta")
    assert meta(x.to("meta")).dtype == torch.float32


def test_complex_results_are_differentiated():
    """A model that returns complex numbers trains on the real part of their sum."""
    training = step(Lambda(lambda self, x: torch.fft.fft(self.l(x)), l=nn.Linear(4, 4)), (3, 4))
    assert training.backward.macs == 3 * 4 * 4


def test_lists_in_a_graph_can_be_changed_by_the_function_that_gets_them():
    """fx keeps arguments of nodes immutable; torchvision's shifted windows write into theirs."""
    model = pytest.importorskip("torchvision").models.video.swin3d_t()
    assert step(model.train(), (1, 3, 4, 64, 64)).backward.macs > 0


def test_given_graphs_train():
    """A traced graph and an exported program train as the model does."""
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
    expected = step(model, (3, 4)).cost
    assert step(torch.fx.symbolic_trace(model), (3, 4)).cost == expected
    exported = step(torch.export.export(model, (torch.randn(3, 4),)), torch.randn(3, 4))
    assert exported.backward.macs == expected.backward.macs


def test_the_model_is_left_alone():
    """No gradients, hooks or buffers change; without training=True nothing is trained."""
    model = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4))
    before = copy.deepcopy(model.state_dict())
    step(model, (3, 4))
    assert all(p.grad is None for p in model.parameters())
    assert all(torch.equal(a, b) for a, b in zip(before.values(), model.state_dict().values(), strict=True))
    assert fxcost.analyze(model, (3, 4)).training is None


@pytest.mark.parametrize(
    ("model", "inputs", "options", "words"),
    [
        (nn.Linear(3, 3).requires_grad_(False), (2, 3), {}, "requires a gradient"),
        (Lambda(lambda _, x: x.argmax(-1)), (2, 3), {}, "no floating-point"),
        (nn.Linear(3, 3), (2, 3), {"loss": lambda out: out}, r"shape \(2, 3\)"),
        (nn.Linear(3, 3), (2, 3), {"loss": lambda out: 3.0}, "returned a float"),
        (nn.Linear(3, 3), (2, 3), {"loss": lambda out: out.detach().sum()}, "no trainable parameter"),
        (nn.Linear(3, 3), (2, 3), {"loss": lambda out: out.nothing}, "nothing"),
        (nn.Linear(3, 3), (2, 3), {"optimizer": "adamx"}, "'adam'"),
        (nn.Linear(3, 3), (2, 3), {"optimizer": -1}, "-1 bytes"),
        (nn.Linear(3, 3), (2, 3), {"optimizer": object()}, "no optimizer"),
    ],
    ids=itertools.count(),
)
def test_errors(model, inputs, options, words):
    """What can't be trained is said in a sentence."""
    with pytest.raises(TrainingError, match=words):
        fxcost.analyze(model, inputs, training=True, **options)


def test_options_without_training():
    """An optimizer without training would be ignored, so it is refused."""
    with pytest.raises(fxcost.FxcostError, match="training=True"):
        fxcost.analyze(nn.Linear(3, 3), (2, 3), optimizer="sgd")


def test_autograd_refuses_what_it_refuses_in_a_real_run():
    """Writing into one of several views of a call is an error of autograd's, and stays one."""
    model = nn.Sequential(nn.Conv2d(4, 4, 1), ViewsOfViews())
    with pytest.raises(TrainingError, match="modified inplace"):
        step(model, (2, 4, 6, 6))


@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("layer", [nn.Embedding, nn.EmbeddingBag])
def test_embeddings_train(layer, sparse):
    """Their indices need not be known; a sparse gradient is not counted, and the report says so."""
    model = nn.Sequential(layer(100, 8, sparse=sparse), nn.Linear(8, 2))
    training = fxcost.analyze(model, fxcost.spec(4, 5, dtype="int64"), training=True).training
    rows = 20 if layer is nn.Embedding else 4
    assert training.backward.macs == 2 * rows * 8 * 2
    assert training.gradient_bytes == 4 * (8 * 2 + 2 + (0 if sparse else 100 * 8))
    assert any("sparse" in text for text in training.assumptions) is sparse
