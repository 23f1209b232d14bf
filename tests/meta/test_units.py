"""Attention, recurrent layers and dropout are recorded whole, wherever they are called from."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from models import Lambda
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

import fxcost
from fxcost.meta.units import attention, rnn

S, B, E, H = 5, 2, 8, 2
"""Sequence, batch, width, heads."""


def ran(report: fxcost.Report) -> list[Any]:
    return [op.record.op for node in report.nodes for op in node.operations]


def within(layer: nn.Module) -> nn.Module:
    """A model that holds the layer, so that the layer is one node of it."""
    return Lambda(lambda self, *args, **kwargs: self.layer(*args, **kwargs), layer=layer)


def stock_macs(run: Callable[[], Any]) -> int:
    """Multiply-accumulates of PyTorch's own decomposition on meta, by its own counter."""
    with FlopCounterMode(display=False) as counter:
        run()
    return counter.get_total_flops() // 2


@pytest.mark.parametrize("capture", ["symbolic", "concrete"])
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("need_weights", [True, False])
@pytest.mark.parametrize("batch_first", [True, False])
@pytest.mark.parametrize("masked", [None, "padding", "attention", "causal"])
def test_multi_head_attention(
    capture: str, training: bool, need_weights: bool, batch_first: bool, masked: str | None
) -> None:
    """Every combination costs its three projections, two products and one output; no fast path is taken."""
    model = within(nn.MultiheadAttention(E, H, batch_first=batch_first, dropout=0.1)).train(training)
    options: dict[str, Any] = {"need_weights": need_weights}
    if masked == "padding":
        options["key_padding_mask"] = torch.zeros(B, S, dtype=torch.bool)
    elif masked in ("attention", "causal"):
        options["attn_mask"] = torch.ones(S, S, dtype=torch.bool).triu(1)
        options["is_causal"] = masked == "causal"
    x = (B, S, E) if batch_first else (S, B, E)
    report = fxcost.analyze(model, [x, x, x], options, capture=capture)
    assert report.macs == B * (4 * S * E * E + 2 * S * S * E)
    assert report.uncosted == {}
    assert ran(report).count(attention) == (0 if need_weights else 1)


@pytest.mark.parametrize("capture", ["symbolic", "concrete"])
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("masked", [None, "padding", "causal"])
def test_transformer_encoder(capture: str, training: bool, masked: str | None) -> None:
    """Two layers of attention and an MLP; the eval fast path and nested tensors are not taken."""
    layer = nn.TransformerEncoderLayer(E, H, 16, batch_first=True)
    model = within(nn.TransformerEncoder(layer, 2)).train(training)
    options: dict[str, Any] = {}
    if masked == "padding":
        options["src_key_padding_mask"] = torch.tensor([[False] * S, [False] * 3 + [True] * 2])
    elif masked == "causal":
        options = {"mask": nn.Transformer.generate_square_subsequent_mask(S), "is_causal": True}
    report = fxcost.analyze(model, [(B, S, E)], options, capture=capture)
    assert report.macs == 2 * B * (4 * S * E * E + 2 * S * S * E + 2 * S * E * 16)
    assert report.uncosted == {}
    assert ran(report).count(attention) == 2


@pytest.mark.parametrize("training", [True, False])
def test_transformer(training: bool) -> None:
    """Encoder and decoder: cross-attention meets sequences of two lengths."""
    model = within(nn.Transformer(E, H, 1, 1, 16)).train(training)
    source, target = 5, 4
    report = fxcost.analyze(model, [(source, B, E), (target, B, E)])
    encoder = 4 * source * E * E + 2 * source**2 * E + 2 * source * E * 16
    own = 4 * target * E * E + 2 * target**2 * E + 2 * target * E * 16
    cross = 2 * target * E * E + 2 * source * E * E + 2 * target * source * E
    assert report.macs == B * (encoder + own + cross)
    assert ran(report).count(attention) == 3


@pytest.mark.parametrize("capture", ["symbolic", "concrete"])
@pytest.mark.parametrize(
    ("q", "k", "options"),
    [
        ((2, 4, 6, 8), (2, 4, 6, 8), {}),
        ((2, 4, 6, 8), (2, 4, 3, 8), {}),
        ((2, 4, 6, 8), (2, 4, 6, 8), {"is_causal": True}),
        ((2, 4, 6, 8), (2, 4, 3, 8), {"attn_mask": torch.zeros(6, 3)}),
        ((2, 4, 6, 8), (2, 4, 6, 8), {"dropout_p": 0.5, "scale": 0.1}),
        ((2, 4, 6, 8), (2, 2, 6, 8), {"enable_gqa": True}),
        ((3, 6, 8), (3, 6, 8), {}),
        ((6, 8), (4, 8), {}),
    ],
)
def test_attention_is_one_operator_with_the_macs_of_its_parts(
    q: tuple[int, ...], k: tuple[int, ...], options: dict[str, Any], capture: str
) -> None:
    """Causal, masked, grouped, with dropout, of any rank: the count of the decomposition, in one record."""
    report = fxcost.analyze(
        lambda q, k, v: F.scaled_dot_product_attention(q, k, v, **options), [q, k, k], capture=capture
    )
    on_meta = {n: v.to("meta") if isinstance(v, Tensor) else v for n, v in options.items()}
    a, b = torch.empty(q, device="meta"), torch.empty(k, device="meta")
    assert report.macs == stock_macs(lambda: F.scaled_dot_product_attention(a, b, b, **on_meta)) > 0
    assert ran(report).count(attention) == 1
    assert report.nodes[-1].outputs[0].shape == (*q[:-1], k[-1])


@pytest.mark.parametrize("scripted", [False, True])
def test_attention_inside_torchscript(scripted: bool) -> None:
    """Called from C++, attention is the same one record."""

    class Attend(nn.Module):
        def forward(self, q: Tensor) -> Tensor:
            return F.scaled_dot_product_attention(q, q, q)

    model = torch.jit.script(Attend()) if scripted else Attend()
    report = fxcost.analyze(model, (2, 4, 6, 8))
    assert (report.macs, ran(report)) == (2 * 2 * 4 * 6 * 6 * 8, [attention])


GATES = {nn.LSTM: 4, nn.GRU: 3, nn.RNN: 1}


@pytest.mark.parametrize("capture", ["symbolic", "concrete"])
@pytest.mark.parametrize("kind", GATES, ids=lambda kind: kind.__name__)
@pytest.mark.parametrize(
    "options",
    [{}, {"num_layers": 2}, {"bidirectional": True}, {"batch_first": True}, {"bias": False}, {"dropout": 0.3}],
    ids=str,
)
def test_recurrent_layers(kind: type[nn.RNNBase], options: dict[str, Any], capture: str) -> None:
    """steps · batch · gates · hidden · (input + hidden) for each layer and direction, in one record."""
    options = {"num_layers": 2, **options} if "dropout" in options else options
    layers, directions = options.get("num_layers", 1), 2 if options.get("bidirectional") else 1
    model = within(kind(8, 4, **options))
    report = fxcost.analyze(model, (B, S, 8) if options.get("batch_first") else (S, B, 8), capture=capture)
    first = S * B * GATES[kind] * 4 * (8 + 4) * directions
    later = S * B * GATES[kind] * 4 * (4 * directions + 4) * directions
    assert report.macs == first + (layers - 1) * later
    assert ran(report).count(rnn) == 1


def test_lstm_with_projections_and_states() -> None:
    """`proj_size` shrinks what is fed back; states may be given."""
    report = fxcost.analyze(nn.LSTM(8, 6, proj_size=3), [(S, B, 8), ((1, B, 3), (1, B, 6))])
    assert report.macs == S * B * (4 * 6 * (8 + 3) + 6 * 3)


def test_packed_sequences_cost_their_valid_steps() -> None:
    """Of 5 + 3 steps, no more are run; padding again gives the padded shape."""
    lstm = nn.LSTM(8, 4, batch_first=True)

    def packed(x: Tensor) -> Tensor:
        rows = nn.utils.rnn.pack_padded_sequence(x, torch.tensor([5, 3]), batch_first=True)
        return nn.utils.rnn.pad_packed_sequence(lstm(rows)[0], batch_first=True)[0]

    report = fxcost.analyze(packed, (2, 5, 8))
    assert report.macs == (5 + 3) * 4 * 4 * (8 + 4)
    assert report.nodes[-1].outputs[0].shape == (2, 5, 4)


def test_dropout_is_one_operator_in_training_and_nothing_in_eval() -> None:
    """Train and eval differ by what the model itself then does."""
    model = nn.Dropout(0.5)
    assert [str(op) for op in ran(fxcost.analyze(model.train(), (4, 4)))] == ["aten.native_dropout.default"]
    evaluated = fxcost.analyze(model.eval(), (4, 4))
    assert (evaluated.flops, evaluated.bytes_read) == (0, 0)


@pytest.mark.parametrize("mode", [torch.no_grad, torch.enable_grad, torch.inference_mode], ids=lambda m: m.__name__)
def test_grad_modes_change_nothing(mode: Callable[[], Any]) -> None:
    """The caller's grad mode is not part of what a model costs."""
    model = nn.TransformerEncoderLayer(E, H, 16, batch_first=True).eval()
    expected = fxcost.analyze(model, (B, S, E)).cost
    with mode():
        assert fxcost.analyze(model, (B, S, E)).cost == expected
        assert fxcost.analyze(model, (B, S, E), capture="concrete").cost == expected


class Guarded(nn.Module):
    """Attention, dropout and an LSTM under inference mode, where they reach a dispatch mode whole."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(8, 8)

    @torch.inference_mode()
    def forward(self, x: Tensor) -> Tensor:
        """Asks for a sum, which only data can tell."""
        out: Tensor = self.lstm(F.dropout(F.scaled_dot_product_attention(x, x, x), 0.5))[0]
        return out if out.sum().item() < 1e9 else x


def test_a_real_run_under_inference_mode_has_pytorchs_own_kernels() -> None:
    """The operators that are recorded whole exist on meta alone."""
    report = fxcost.analyze(Guarded(), torch.randn(5, 2, 8))
    assert (report.capture, report.uncosted) == ("real", {})
    assert report.macs == 5 * (2 * 2 * 8 + 2 * 2 * 8) + 5 * 2 * 4 * 8 * (8 + 8)


@pytest.mark.parametrize("reduction", ["none", "sum", "mean"])
def test_ctc_with_lengths_in_lists(reduction: str) -> None:
    """In C++ such lengths become data on meta. They are known: 9 steps of 7 and of 5 states; a mean divides by them."""

    def loss(p: Tensor, labels: Tensor) -> Tensor:
        return F.ctc_loss(p, labels, (9, 9), (3, 2), reduction=reduction, zero_infinity=True)

    report = fxcost.analyze(loss, [(9, 2, 5), fxcost.spec(2, 4, dtype="int64")])
    joined = {"none": 0, "sum": 1, "mean": 2 + 2 + 2}[reduction]
    assert report.flops == 13 * 9 * (7 + 5) + 9 * 2 + 2 + joined
    assert report.nodes[-1].outputs[0].shape == ((2,) if reduction == "none" else ())
    real = loss(torch.randn(9, 2, 5), torch.ones(2, 4, dtype=torch.int64))
    assert report.nodes[-1].outputs[0].shape == real.shape
