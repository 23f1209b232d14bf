"""Tools in the mode in which they run a model: eval or training, gradients or none, and PyTorch's fast path.

The tools themselves are run, where they are installed, on the model as it is handed over.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import fxcost
from tests.conventions.tools import TOOLS, runner


def encoder(**options: Any) -> nn.TransformerEncoder:
    options = {"batch_first": True, **options}
    return nn.TransformerEncoder(nn.TransformerEncoderLayer(16, 4, 24, **options), 2)


class Attention(nn.Module):
    """Attention on one tensor, with the weights or without."""

    def __init__(self, weights: bool = False, **options: Any) -> None:
        super().__init__()
        self.attend, self.weights = nn.MultiheadAttention(16, 4, **{"batch_first": True, **options}), weights
        self.last = nn.Linear(16, 16)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(x + self.attend(x, x, x, need_weights=self.weights)[0])


class Cross(nn.Module):
    """Attention on two tensors, which has no fast path."""

    def __init__(self) -> None:
        super().__init__()
        self.attend = nn.MultiheadAttention(16, 4, batch_first=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = x + 1
        return self.attend(x, y, y)[0]


class Stacked(nn.Module):
    """Layers between a stem and a head; some are not the model's own children."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.body, self.head = nn.Linear(16, 16), encoder(), nn.Linear(16, 4)
        self.own = nn.TransformerEncoderLayer(16, 4, 24, batch_first=True, activation="gelu", norm_first=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.own(self.body(self.stem(x))).mean(1))


class Pictures(nn.Module):
    """Batch norm, dropout and their like."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.PReLU(), nn.Dropout(0.3))
        self.b = nn.Sequential(nn.BatchNorm2d(8, track_running_stats=False), nn.BatchNorm2d(8, affine=False))
        self.c = nn.Sequential(
            nn.InstanceNorm2d(8, affine=True, track_running_stats=True), nn.AlphaDropout(), nn.RReLU()
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = F.dropout(self.c(self.b(self.a(x))), 0.2, training=self.training)
        return F.dropout2d(x, 0.1, self.training).mean((2, 3))


class Handmade(nn.Module):
    """Attention by hand, with dropout while training."""

    def __init__(self) -> None:
        super().__init__()
        self.qkv, self.last, self.p = nn.Linear(16, 48), nn.Linear(16, 16), 0.1

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        q, k, v = self.qkv(x).unflatten(-1, (3, 2, 8)).permute(2, 0, 3, 1, 4)
        x = F.scaled_dot_product_attention(q, k, v, dropout_p=self.p if self.training else 0.0)
        return self.last(x.transpose(1, 2).flatten(2))


class Recurrent(nn.Module):
    """Recurrent layers with dropout between them."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.LSTM(16, 8, 2, dropout=0.2, batch_first=True), nn.GRU(16, 5, 2, dropout=0.1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.b(x)[0], self.a(x)[0]


MODELS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "encoder": (encoder, (2, 5, 16)),
    "layer": (lambda: nn.TransformerEncoderLayer(16, 4, 24, batch_first=True), (2, 5, 16)),
    "sequence first": (lambda: encoder(batch_first=False), (5, 2, 16)),
    "odd heads": (lambda: nn.TransformerEncoderLayer(15, 3, 24, batch_first=True), (2, 5, 15)),
    "without bias": (lambda: encoder(bias=False), (2, 5, 16)),
    "other activation": (lambda: encoder(activation=F.silu), (2, 5, 16)),
    "unbatched": (encoder, (5, 16)),
    "attention": (Attention, (2, 5, 16)),
    "attention with weights": (lambda: Attention(True), (2, 5, 16)),
    "attention, sequence first": (lambda: Attention(batch_first=False), (5, 2, 16)),
    "attention without bias": (lambda: Attention(bias=False), (2, 5, 16)),
    "attention with more keys": (lambda: Attention(add_bias_kv=True, add_zero_attn=True), (2, 5, 16)),
    "cross attention": (Cross, (2, 5, 16)),
    "stacked": (Stacked, (2, 5, 16)),
    "pictures": (Pictures, (2, 3, 9, 9)),
    "by hand": (Handmade, (2, 5, 16)),
    "recurrent": (Recurrent, (2, 5, 16)),
}


def frozen(model: nn.Module, names: tuple[str, ...] = ("",)) -> nn.Module:
    """The model, with the parameters below some modules frozen."""
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(not name.startswith(names))
    return model


STATES: dict[str, Callable[[nn.Module], nn.Module]] = {
    "eval, frozen": lambda m: frozen(m).eval(),
    "training": lambda m: m.train(),  # "eval" is what test_live.py runs
    "training, frozen": lambda m: frozen(m).train(),
    "eval, but for the last": lambda m: frozen(m, ("stem", "body", "own", "layers.0", "attend", "qkv", "a")).eval(),
    "eval, but for the first": lambda m: frozen(m, ("body", "own", "layers.1", "last", "b")).eval(),
    "mixed modes": lambda m: next(iter(m.train().children())).eval() and m,
}


@pytest.mark.parametrize("tool", [tool for tool in TOOLS if tool != "torchstat"])  # which takes one image
@pytest.mark.parametrize("name", MODELS)
@pytest.mark.filterwarnings("ignore")
def test_the_tool_prints_the_same_in_every_state(tool: str, name: str) -> None:
    """Every figure, of a model frozen or not, in training mode or not; what the tool raises on is refused."""
    run = runner(tool)
    kind, shape = MODELS[name]
    for state, prepared in STATES.items():
        torch.manual_seed(0)
        model, x = prepared(kind()), torch.randn(shape)
        report = fxcost.analyze(model, (x,))
        try:
            expected = run(model, (x,))
        except Exception:
            expected = {}
        if None in expected.values() or not expected:
            with pytest.raises(fxcost.ConventionError):
                report.counts(tool)
            continue
        found = report.counts(tool)
        assert {figure: found[figure] for figure in expected} == expected, state


# What follows needs no tool -------------------------------------------------------------------------------------------

EVALUATING = ("thop", "thop-0.0.31", "ptflops", "ptflops-aten", "torchinfo", "calflops", "deepspeed")


def test_what_one_operator_hides_is_counted_by_nobody() -> None:
    """A frozen encoder: tools without hooks see one operator for each layer, others its linear layers and norms."""
    model = nn.TransformerEncoder(nn.TransformerEncoderLayer(32, 4, 64, batch_first=True), 1).eval()
    trainable = fxcost.analyze(model, (1, 6, 32))
    report = fxcost.analyze(frozen(model), (1, 6, 32))
    assert [report.count(t) for t in ("ptflops-aten", "torchprofile")] == [0, 0]
    linear, norms = 6 * 2 * 32 * 64, 5 * 2 * 6 * 32
    assert [report.count(t) for t in ("calflops", "deepspeed", "fvcore")] == [linear, linear, linear + norms]
    assert report.macs == trainable.macs
    assert report.count("torch") == trainable.count("torch") == 2 * report.macs
    projections = 4 * 6 * 32 * 32
    assert trainable.count("calflops") == linear + projections
    found = report.reconcile("calflops")[0]
    assert sum(term.amount for term in found.terms) == found.theirs - found.ours
    assert {t.family for t in found.terms if "one operator" in t.why} == {"matmul", "attention"}
    again = fxcost.Report.from_json(report.to_json())
    assert all(again.counts(tool) == report.counts(tool) for tool in EVALUATING)


class Frozen(nn.Module):
    """Frozen attention after a layer that trains, on what was computed from it or only made like it."""

    def __init__(self, alike: bool) -> None:
        super().__init__()
        self.stem, self.alike = nn.Linear(8, 8), alike
        self.attend = nn.MultiheadAttention(8, 2, batch_first=True).requires_grad_(False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.stem(x)
        y = torch.zeros_like(y) + x if self.alike else y.relu().transpose(0, 1).transpose(0, 1)
        return self.attend(y, y, y)[0]


def test_what_is_computed_from_a_trainable_parameter_asks_for_a_gradient() -> None:
    """And so do its views, but nothing that takes no more than its shape."""
    stem, attention = 2 * 5 * 8 * 8, 4 * 2 * 5 * 8 * 8
    assert fxcost.analyze(Frozen(alike=True).eval(), (2, 5, 8)).count("calflops") == stem
    assert fxcost.analyze(Frozen(alike=False).eval(), (2, 5, 8)).count("calflops") == stem + attention


class Switching(nn.Module):
    """A teacher without gradients, though its weights would train."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.stem, self.how = nn.Linear(8, 8), how
        self.teacher = nn.MultiheadAttention(8, 2, batch_first=True).requires_grad_(how == "no_grad")

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stem(x)
        if self.how == "detach":
            x = x.detach()
        with torch.no_grad():
            return self.teacher(x, x, x)[0]


@pytest.mark.parametrize("how", ["no_grad", "detach"])
def test_gradients_that_the_model_switches_are_not_guessed(how: str) -> None:
    """The records do not say where gradients were off: tools that see inside attention are refused, others are not."""
    report = fxcost.analyze(Switching(how).eval(), (2, 5, 8))
    for tool in ("calflops", "deepspeed", "ptflops", "fvcore", "mmengine", "torchprofile", "ptflops-aten"):
        with pytest.raises(fxcost.ConventionError, match="no_grad"):
            report.count(tool)
    assert report.count("thop") == 2 * 5 * 8 * 8  # without gradients in any case


def test_padding_masks_hang_on_values() -> None:
    """An encoder that is given one runs on nested tensors, unless it was made not to, or gradients are on."""
    layer = nn.TransformerEncoderLayer(16, 4, 24, batch_first=True)
    model, mask = nn.TransformerEncoder(layer, 1).eval(), torch.zeros(2, 5, dtype=torch.bool)
    inputs = torch.randn(2, 5, 16), None, mask
    with pytest.raises(fxcost.ConventionError, match="padding mask"):
        fxcost.analyze(model, inputs).count("thop")
    assert fxcost.analyze(model, inputs).count("calflops") > 0  # gradients are on
    with pytest.raises(fxcost.ConventionError, match="enable_nested_tensor"):
        fxcost.analyze(frozen(model), inputs).count("calflops")
    plain = nn.TransformerEncoder(layer, 1, enable_nested_tensor=False).eval()
    assert fxcost.analyze(frozen(plain), inputs).count("calflops") > 0


class Auxiliary(nn.Module):
    """A head that runs while training alone."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.head, self.aux = nn.Linear(4, 4), nn.Linear(4, 2), nn.Linear(4, 2)

    def forward(self, x: torch.Tensor) -> Any:
        x = self.body(x)
        return (self.head(x), self.aux(x)) if self.training else self.head(x)


class Stubborn(nn.Linear):
    """A layer with its own idea of modes."""

    def train(self, mode: bool = True) -> Stubborn:
        return super().train(True)


class Distant(nn.Module):
    """A layer whose helper asks for the mode."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Linear(4, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return twice_while_training(self, x)


def twice_while_training(module: Any, x: torch.Tensor) -> torch.Tensor:
    return module.body(module.body(x)) if getattr(module, "training") else module.body(x)  # noqa: B009


@pytest.mark.parametrize("model", [Auxiliary(), Stubborn(4, 4), Distant(), nn.Sequential(Auxiliary())])
def test_a_model_that_asks_for_its_mode_is_refused_in_the_other_one(model: nn.Module) -> None:
    """What eval mode would have run was not recorded; tools that take the model as it is count what was."""
    training = fxcost.analyze(model.train(), (3, 4))
    for tool in EVALUATING:
        with pytest.raises(fxcost.ConventionError, match=rf"{tool} calls eval\(\).*analyse model.eval\(\)"):
            training.counts(tool)
        assert "calls eval()" in training.compared(tool)
    assert training.count("fvcore") == training.macs
    assert training.count("torch") == 2 * training.macs
    evaluated = fxcost.analyze(nn.Module.train(model, False), (3, 4))
    assert evaluated.count("deepspeed") == evaluated.macs


def test_dropout_and_batch_norm_need_no_other_analysis() -> None:
    """Their modes are known: a tool that calls eval() counts the same of a model in either mode; fvcore does not."""
    for kind, shape in (MODELS["pictures"], MODELS["by hand"], MODELS["recurrent"], MODELS["encoder"]):
        model = kind()
        training, evaluated = fxcost.analyze(model.train(), shape), fxcost.analyze(model.eval(), shape)
        for tool in EVALUATING:
            assert training.counts(tool) == evaluated.counts(tool), tool
    pictures = Pictures()
    training, evaluated = (fxcost.analyze(m, (2, 3, 9, 9)) for m in (pictures.train(), copy.deepcopy(pictures).eval()))
    per_element = 2 * 8 * 7 * 7
    assert training.count("fvcore") - evaluated.count("fvcore") == (3 + 3) * per_element  # 5 for 2, and 4 for 1


def test_networks_of_torchvision_in_training_mode() -> None:
    """Dropout, stochastic depth and batch norm only: all tools are told from the run in training mode."""
    models = pytest.importorskip("torchvision").models
    for name in ("efficientnet_b0", "swin_t"):
        model = getattr(models, name)()
        training, evaluated = (
            fxcost.analyze(m, (1, 3, 224, 224)) for m in (model.train(), copy.deepcopy(model).eval())
        )
        for tool in EVALUATING:
            assert training.counts(tool) == evaluated.counts(tool), (name, tool)
    with pytest.raises(fxcost.ConventionError, match="GoogLeNet"):
        fxcost.analyze(models.googlenet(init_weights=False), (2, 3, 224, 224)).count("thop")
