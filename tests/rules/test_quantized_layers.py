"""Quantized normalization, embeddings and recurrent layers: as the float layer's, and what (de)quantizing adds."""

import warnings

import pytest
import torch
from recording import price, price_of
from strategies import values
from torch import nn

import fxcost

quantized = torch.ops.quantized
X, C = values(2, 4, 3, 3).float(), values(4).float()
ENGINE = torch.backends.quantized.engine


def dynamic(module, dtype=torch.qint8):
    """A module in a model of its own, dynamically quantized."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.ao.quantization.quantize_dynamic(nn.Sequential(module), {type(module)}, dtype=dtype)


@pytest.mark.parametrize(
    ("op", "args", "plain"),
    [
        (quantized.layer_norm.default, ([3, 3], None, None, 1e-5, 1.0, 0), lambda x: torch.layer_norm(x, (3, 3))),
        (quantized.group_norm.default, (2, C, C, 1e-5, 1.0, 0), lambda x: torch.group_norm(x, 2, C.to("meta"), C)),
        (quantized.instance_norm.default, (None, None, 1e-5, 1.0, 0), lambda x: torch.group_norm(x, 4)),
        (
            *(quantized.batch_norm2d.default, (C, C, C, C, 1e-5, 1.0, 0)),
            lambda x: nn.functional.batch_norm(x, C, C, C, C),
        ),
    ],
    ids=["layer", "group", "instance", "batch"],
)
def test_normalization(op, args, plain):
    """The float layer, two operations to dequantize and five to requantize each element."""
    cost = price_of(op, X, *args, outputs=X)
    assert cost.flops == price(plain, X).flops + 7 * X.numel()


@pytest.mark.parametrize(("bits", "numbers"), [("byte", 8), ("4bit", 4)])
def test_embeddings_read_the_rows_that_they_pick(bits, numbers):
    """Six rows of eight weights: two operations each; beside them 8 or 4 bytes of scale and zero point a row."""
    indices, rows = torch.zeros(6, dtype=torch.int64), 6
    weight = torch.zeros(10, 8)
    op = getattr(quantized, f"embedding_{bits}").default
    cost = price_of(op, weight, indices, outputs=torch.zeros(6, 8))
    assert cost.flops == 2 * 48
    assert cost.bytes_read == 48 * numbers // 8 + rows * numbers + indices.nbytes
    bags = getattr(quantized, f"embedding_bag_{bits}").default
    bag = price_of(bags, weight, indices, torch.tensor([0, 2]), outputs=torch.zeros(2, 8))
    assert bag.flops == 2 * 48 + (48 - 16)


@pytest.mark.skipif(ENGINE in ("none", None), reason="this PyTorch has no quantization engine")
@pytest.mark.parametrize("dtype", [torch.qint8, torch.float16], ids=["int8", "half"])
@pytest.mark.parametrize(
    "make", [lambda: nn.LSTM(3, 6, 2, bidirectional=True), lambda: nn.LSTM(3, 6, batch_first=True)], ids=["both", "one"]
)
def test_a_dynamic_lstm_has_the_float_layers_macs(make, dtype):
    """Whatever the weights' dtype; with int8 the operands of each product are quantized, seven operations each."""
    x, plain = torch.randn(5, 2, 3), make()
    report, float_report = fxcost.analyze(dynamic(plain, dtype), x), fxcost.analyze(plain, x)
    assert report.uncosted == {}
    assert report.macs == float_report.macs
    more = report.flops - float_report.flops
    matrices = [p.shape for p in plain.parameters() if p.dim() == 2]
    assert more == (10 * sum(7 * k + n for n, k in matrices) if dtype == torch.qint8 else 0)


@pytest.mark.skipif(ENGINE in ("none", None), reason="this PyTorch has no quantization engine")
@pytest.mark.parametrize("make", [nn.GRU, nn.LSTMCell, nn.GRUCell, nn.RNNCell])
def test_other_dynamic_layers_have_the_float_layers_macs(make):
    """The GRU, and single cells."""
    plain = make(3, 6)
    x = torch.randn(5, 2, 3) if make is nn.GRU else torch.randn(2, 3)
    report = fxcost.analyze(dynamic(plain), x)
    assert report.uncosted == {}
    assert report.macs == fxcost.analyze(plain, x).macs > 0
    assert report.bytes_read >= 3 * 6 * 4 + 6 * 6  # at least its packed weights


@pytest.mark.skipif(ENGINE in ("none", None), reason="this PyTorch has no quantization engine")
def test_training_aware_of_quantization_is_complete():
    """Observers that fake quantization: each element costs two compares (but a row's first) and seven operations."""
    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = nn.Sequential(nn.Linear(3, 4))
        model.qconfig = torch.ao.quantization.get_default_qat_qconfig("x86")
        model = torch.ao.quantization.prepare_qat(model.train())
        report = fxcost.analyze(model, (5, 3), training=True)
    assert report.uncosted == report.training.uncosted == {}
    observed = report.by_operator()["aten._fused_moving_avg_obs_fq_helper.default"].flops
    weight, output = 12 * 7 + 2 * (12 - 4) + 4 * 15, 20 * 7 + 2 * 19 + 15  # by row, and as a whole
    assert observed == weight + output


@pytest.mark.filterwarnings("ignore")
def test_macs_of_dynamically_quantized_layers_are_listed_as_such() -> None:
    """They read floats, quantize them, and multiply integers."""
    model = torch.ao.quantization.quantize_dynamic(nn.Sequential(nn.Linear(8, 4), nn.ReLU()))
    assert fxcost.analyze(model, (2, 8)).macs_by_dtype == {"qint8": 2 * 8 * 4}
