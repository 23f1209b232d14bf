"""What a user's model may be and do: control flow, structures, wrappers, transforms. Counts are closed forms."""

from __future__ import annotations

import functools
from collections import namedtuple
from dataclasses import dataclass
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from models import KNOWN, Known, Lambda, Residual
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

import fxcost
from fxcost.errors import CaptureError, MissingMetaKernelError

LINEAR = nn.Linear(8, 8)
ONE = 2 * 8 * 8
"""MACs of `LINEAR` on two rows."""
X = (2, 8)

Pair = namedtuple("Pair", "left right")


@dataclass
class Output:
    hidden: Tensor
    count: int = 3


class Twice(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x * 2 @ torch.ones(8, 8)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return gradient * 2


class Hooked(nn.Linear):
    def __init__(self) -> None:
        super().__init__(8, 8)
        self.register_forward_pre_hook(lambda module, given: (given[0] @ torch.ones(8, 8),))
        self.register_forward_hook(lambda module, given, out: out @ torch.ones(8, 8))


class Stateful(nn.Module):
    """Keeps its last result, as caches do."""

    def __init__(self) -> None:
        super().__init__()
        self.linear, self.cache = nn.Linear(8, 8), None

    def forward(self, x: Tensor) -> Tensor:
        for _ in range(2):
            self.cache = self.linear(x if self.cache is None else self.cache)
        return self.cache


def _no_grad(x: Tensor) -> Tensor:
    with torch.no_grad():
        x = LINEAR(x)
    with torch.inference_mode():
        y = LINEAR(x)
    with torch.enable_grad():
        return LINEAR(x) + y


def _autocast(x: Tensor) -> Tensor:
    with torch.autocast("cpu", dtype=torch.bfloat16):
        return LINEAR(x)


def _generator(x: Tensor) -> Tensor:
    return sum(LINEAR(row) for row in x)


def _try(x: Tensor) -> Tensor:
    try:
        return x @ torch.ones(9, 9)
    except RuntimeError:
        return x @ torch.ones(8, 8)


FUNCTIONS: dict[str, tuple[Any, Any, int]] = {
    "a function": (lambda x: LINEAR(x), X, ONE),
    "a bound method": (LINEAR.forward, X, ONE),
    "a partial": (functools.partial(F.linear, weight=torch.ones(3, 8)), X, 2 * 3 * 8),
    "a partial of a module": (functools.partial(LINEAR), X, ONE),
    "a builtin": (torch.mm, [X, (8, 3)], 2 * 3 * 8),
    "a closure over a tensor": ((lambda w: lambda x: x @ w)(torch.ones(8, 3)), X, 2 * 3 * 8),
    "shapes decide": (lambda x: LINEAR(x) if x.shape[0] == 2 else x, X, ONE),
    "len decides": (lambda x: LINEAR(x) if len(x) == 2 else x, X, ONE),
    "isinstance decides": (lambda x: LINEAR(x) if isinstance(x, Tensor) else x, X, ONE),
    "is_tensor decides": (lambda x: LINEAR(x) if torch.is_tensor(x) else x, X, ONE),
    "hasattr decides": (lambda x: LINEAR(x) if hasattr(x, "shape") and not hasattr(x, "logits") else x, X, ONE),
    "dim, dtype and device decide": (
        lambda x: LINEAR(x) if x.dim() == 2 and x.dtype == torch.float32 and not x.is_cuda else x,
        X,
        ONE,
    ),
    "a loop over sizes": (lambda x: [LINEAR(x) for _ in range(x.size(0))], X, 2 * ONE),
    "rows one by one": (lambda x: [LINEAR(row) for row in x], X, ONE),
    "a generator": (_generator, X, ONE),
    "an exception that is caught": (_try, X, ONE),
    "grad modes": (_no_grad, X, 3 * ONE),
    "autocast": (_autocast, X, ONE),
    "checkpoint": (lambda x: checkpoint(LINEAR, x, use_reentrant=False), X, ONE),
    "reentrant checkpoint": (lambda x: checkpoint(LINEAR, x, use_reentrant=True), X, ONE),
    "vmap": (lambda x: torch.vmap(LINEAR)(x), X, ONE),
    "vmap over both": (lambda x, w: torch.vmap(torch.mm)(x, w), [(3, 2, 8), (3, 8, 4)], 3 * 2 * 8 * 4),
    "functional_call": (
        lambda x: torch.func.functional_call(LINEAR, {"weight": torch.ones(8, 8)}, (x,)),
        X,
        ONE,
    ),
    # forward, its tangent, and PyTorch's product with the zero tangent of the weight
    "jvp": (lambda x: torch.func.jvp(LINEAR, (x,), (x,))[1], X, 3 * ONE),
    "an autograd function": (Twice.apply, X, ONE),
    "einsum": (lambda a, b, c: torch.einsum("ij,jk,kl->il", a, b, c), [(2, 3), (3, 4), (4, 5)], 24 + 40),
    "operators": (lambda x: x @ x.T @ x, X, 2 * 2 * 8 * 2),
    "in place and out=": (lambda x: torch.mm(x, x.T, out=torch.empty(2, 2)).add_(1), X, 2 * 2 * 8),
    "a list of tensors": (lambda xs: xs[0] @ xs[1], [[X, (8, 3)]], 2 * 3 * 8),
    "a tuple of tensors": (lambda xs: xs[0] @ xs[1], [((2, 8), (8, 3))], 2 * 3 * 8),
    "a dict of tensors": (lambda d: d["a"] @ d["b"], [{"a": X, "b": (8, 3)}], 2 * 3 * 8),
    "a named tuple": (lambda p: p.left @ p.right, [Pair(X, (8, 3))], 2 * 3 * 8),
    "keywords": (lambda *, a, b: a @ b, {"b": (8, 3), "a": X}, 2 * 3 * 8),
    "None, ints and strings": (
        lambda x, mask, times, how: LINEAR(x) if mask is None and how == "once" else x.repeat(times, 1),
        [X, None, 2, "once"],
        ONE,
    ),
    "defaults": (lambda x, mask=None, scale=2.0: LINEAR(x) if mask is None else x, X, ONE),
    "returns a dict": (lambda x: {"a": {"b": [LINEAR(x)]}}, X, ONE),
    "returns a dataclass": (lambda x: Output(LINEAR(x)), X, ONE),
    "returns a named tuple": (lambda x: Pair(LINEAR(x), x), X, ONE),
    "returns None": (lambda x: [LINEAR(x), None][1], X, ONE),
    "other devices": (lambda x: LINEAR(x.to("cuda:1")) + torch.ones(8, device="cuda"), X, ONE),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions(name: str) -> None:
    """Any callable on tensors is a model, and its Python just runs."""
    function, inputs, macs = FUNCTIONS[name]
    report = fxcost.analyze(function, inputs)
    assert (report.macs, report.uncosted) == (macs, {})


@pytest.mark.parametrize("capture", ["auto", "concrete"])
@pytest.mark.parametrize("known", KNOWN, ids=lambda known: known.name)
def test_models_with_a_known_answer(known: Known, capture: str) -> None:
    """MACs and parameters are those worked out by hand."""
    report = fxcost.analyze(known.make(), known.inputs, capture=capture)
    assert (report.macs, report.params, report.uncosted) == (known.macs, known.params, {})


def parametrized() -> nn.Module:
    return nn.utils.parametrizations.weight_norm(nn.Linear(8, 8))


MODULES: dict[str, tuple[Any, Any, int]] = {
    "hooks of its own": (Hooked, X, 3 * ONE),
    "hooks of a child": (lambda: nn.Sequential(Hooked(), nn.ReLU()), X, 3 * ONE),
    "state": (Stateful, X, 2 * ONE),
    "lazy layers": (lambda: nn.Sequential(nn.LazyLinear(8), nn.LazyBatchNorm1d()), X, ONE),
    "a scripted module": (lambda: torch.jit.script(nn.Sequential(nn.Linear(8, 8), nn.ReLU())), X, ONE),
    "a traced module": (lambda: torch.jit.trace(nn.Linear(8, 8), torch.zeros(2, 8)), X, ONE),
    "a scripted child": (lambda: nn.Sequential(torch.jit.script(nn.Linear(8, 8)), nn.Linear(8, 8)), X, 2 * ONE),
    "weight norm": (parametrized, X, ONE),
    "old weight norm": (lambda: nn.utils.weight_norm(nn.Linear(8, 8)), X, ONE),
    # each forward in training takes a power iteration: two products of the 8 × 8 weight, then u·W·v
    "spectral norm": (
        lambda: nn.utils.parametrizations.spectral_norm(nn.Linear(8, 8)),
        X,
        ONE + 2 * 64 + 64 + 8,
    ),
    "spectral norm in eval": (
        lambda: nn.utils.parametrizations.spectral_norm(nn.Linear(8, 8)).eval(),
        X,
        ONE + 64 + 8,
    ),
    "torch.compile": (lambda: torch.compile(nn.Linear(8, 8)), X, ONE),
    "DataParallel": (lambda: nn.DataParallel(nn.Linear(8, 8)), X, ONE),
    "ModuleList and ModuleDict": (
        lambda: Lambda(
            lambda self, x: self.d["a"](self.ls[0](x)),
            ls=nn.ModuleList([nn.Linear(8, 8)]),
            d=nn.ModuleDict({"a": nn.Linear(8, 8)}),
        ),
        X,
        2 * ONE,
    ),
    "a module called twice": (lambda: Residual(nn.Sequential(*[nn.Linear(8, 8)] * 2), in_place=True), X, 2 * ONE),
    "an embedding": (lambda: nn.Embedding(10, 8), torch.tensor([1, 2]), 0),
    "LSTM cell": (lambda: nn.LSTMCell(8, 4), X, 2 * 4 * 4 * (8 + 4)),
    "GRU cell": (lambda: nn.GRUCell(8, 4), X, 2 * 3 * 4 * (8 + 4)),
    "bilinear": (lambda: nn.Bilinear(8, 8, 3), [X, X], 2 * 3 * (64 + 8)),
}


@pytest.mark.parametrize("name", MODULES)
def test_modules(name: str) -> None:
    """Modules of every make are captured, and nothing in them is missed."""
    make, inputs, macs = MODULES[name]
    report = fxcost.analyze(make(), inputs)
    assert (report.macs, report.uncosted) == (macs, {})


def test_transformers_outputs_and_caches() -> None:
    """A transformers model, called with keywords, that returns a ModelOutput with a cache."""
    transformers = pytest.importorskip("transformers")
    config = transformers.GPT2Config(n_layer=2, n_embd=16, n_head=2, vocab_size=50, n_positions=8)
    with torch.device("meta"):
        model = transformers.GPT2LMHeadModel(config).eval()
    report = fxcost.analyze(model, {"input_ids": fxcost.spec(3, 8, dtype="int64")}, {"use_cache": True})
    # per token and layer 12 · 16² of weights and two products with 8 keys of 16; then the vocabulary
    assert report.macs == 3 * 8 * (2 * (12 * 16 * 16 + 2 * 8 * 16) + 50 * 16)
    assert report.uncosted == {}
    assert report.capture == "concrete"


def test_auto_prefers_a_trace_and_knows_when_not_to() -> None:
    """`capture` says how the graph was captured; a doubt leads to a concrete one, and an explicit wish is kept."""
    model = nn.Sequential(nn.Linear(8, 8), nn.ReLU())
    assert fxcost.analyze(model, X).capture == "symbolic"
    assert fxcost.analyze(model, X, capture="concrete").capture == "concrete"
    doubtful = Lambda(lambda self, x: self.layer(x) if isinstance(x, Tensor) else x, layer=nn.Linear(8, 8))
    assert fxcost.analyze(doubtful, X).capture == "concrete"
    with pytest.raises(CaptureError, match="isinstance"):
        fxcost.analyze(doubtful, X, capture="symbolic")


@pytest.mark.parametrize("wanted", ["0", nn.Sequential], ids=["by name", "by class"])
@pytest.mark.parametrize("capture", ["symbolic", "concrete"])
def test_leaf_modules_stay_one_node(capture: str, wanted: Any) -> None:
    """What the user names is one call_module node; its inside is still told apart by module."""
    model = nn.ModuleDict({"body": nn.Sequential(nn.Sequential(nn.Linear(8, 8), nn.ReLU()))})
    wrapped = Lambda(lambda self, x: self.body(x), body=model["body"])
    leaf = f"body.{wanted}" if wanted == "0" else wanted
    report = fxcost.analyze(wrapped, X, capture=capture, leaf_modules=(leaf,))
    calls = [node.target for node in report.nodes if node.kind.startswith("call")]
    assert calls == ["body.0" if wanted == "0" else "body"]
    assert report.macs == ONE
    assert report.cost_of("body.0.0").macs == ONE
    assert report.cost_of("body.0.1").flops == 16


def test_asking_for_the_exact_type_is_doubted() -> None:
    """`type(x) is Tensor` takes the way that it takes when the model runs."""
    assert fxcost.analyze(lambda x: x @ x.T if type(x) is Tensor else x, X).macs == 2 * 2 * 8


def _strided(x: Tensor) -> Tensor:
    return LINEAR(torch.nested.nested_tensor([x[0, :3], x[1]])).to_padded_tensor(0.0)


def _jagged(x: Tensor) -> Tensor:
    both = torch.nested.as_nested_tensor([x[0, :3], x[1]], layout=torch.jagged)
    return LINEAR(both).to_padded_tensor(0.0)


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
def test_nested_tensors() -> None:
    """Sequences of 3 and 5 rows in one tensor: each row counts once, on meta or in a real run as PyTorch allows."""
    with pytest.raises(MissingMetaKernelError, match="jagged"):
        fxcost.analyze(_strided, (2, 5, 8))
    nested = torch.nested.nested_tensor([torch.zeros(3, 8), torch.zeros(5, 8)])
    for report, capture in (
        (fxcost.analyze(_jagged, (2, 5, 8)), "concrete"),
        (fxcost.analyze(_strided, torch.zeros(2, 5, 8)), "real"),
        (fxcost.analyze(nn.Sequential(LINEAR, nn.LayerNorm(8)), nested), "real"),
    ):
        assert (report.capture, report.macs, report.uncosted) == (capture, (3 + 5) * 8 * 8, {})
    assert report.by_family()["normalization"].flops > 8 * 8


@pytest.mark.parametrize(
    "model", [nn.ReLU(), nn.MaxPool2d(2), lambda x: x.dequantize() * 2], ids=["relu", "pool", "fn"]
)
def test_quantized_inputs_are_recorded_as_they_run(model):
    """They have no form on meta, so a real run of a copy is recorded; on meta there is a clear error."""
    x = torch.quantize_per_tensor(torch.randn(1, 2, 4, 4), 0.1, 0, torch.qint8)
    report = fxcost.analyze(model, (x,))
    assert (report.capture, report.uncosted) == ("real", {})
    assert report.bytes_read >= x.numel()
    with pytest.raises(fxcost.FxcostError):
        fxcost.analyze(model, (x,), real_limit=0)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("x", [(1, 3, 8, 8), torch.zeros(1, 3, 8, 8)], ids=["a shape", "data"])
def test_a_frozen_script_module(x: Any) -> None:
    """Its weights are constants of its code, on the CPU whatever the model's device."""
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU()).eval()
    report = fxcost.analyze(torch.jit.freeze(torch.jit.script(model)), x)
    assert (report.macs, report.uncosted) == (6 * 6 * 4 * 3 * 3 * 3, {})
