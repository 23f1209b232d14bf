"""Convolutions, forward and transposed. All of `F.conv1d/2d/3d` and `F.conv_transpose*` end here."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from ..records.cost import Cost
from ..records.recording import OpRecord
from . import formulas
from .common import argument, arithmetic, contraction, optional
from .registry import OpKey, Rule

aten = torch.ops.aten


def convolution(op: OpRecord) -> Cost:
    """input (n, c_in, *spatial), weight, bias → output (n, c_out, *out).

    A forward convolution starts each output's accumulator at the bias. A transposed one scatters products into
    outputs that start at the bias too; how many accumulators start at zero is the number of outputs without bias.
    """
    x, weight, bias = op.args[:3]
    transposed, groups = argument(op, "transposed", False), argument(op, "groups", 1)
    return _convolve(op, x.shape, weight.shape, bias is not None, transposed, groups)


def _convolve(op: OpRecord, x: tuple[int, ...], w: tuple[int, ...], bias: bool, transposed: bool, groups: int) -> Cost:
    out, batched = op.out.shape, len(x) == len(w)
    n, c_in, spatial = (x[0], x[1], x[2:]) if batched else (1, x[0], x[1:])
    c_out, places = (out[1], out[2:]) if batched else (out[0], out[1:])
    if transposed:
        macs = formulas.conv_transpose_macs(n, c_in, c_out, groups, w[2:], spatial)
    else:
        macs = formulas.conv_macs(n, c_in, c_out, groups, w[2:], places)
    return contraction(op, macs, 0 if bias else op.out.numel)


def plain(op: OpRecord) -> Cost:
    """Kernels that spell the convolution out: (input, weight, kernel_size, bias, …), never grouped."""
    x, weight = op.args[:2]
    return _convolve(op, x.shape, weight.shape, argument(op, "bias") is not None, False, 1)


def plain_transposed(op: OpRecord) -> Cost:
    """As `plain`, transposed."""
    x, weight = op.args[:2]
    return _convolve(op, x.shape, weight.shape, argument(op, "bias") is not None, True, 1)


def depthwise(op: OpRecord) -> Cost:
    """Depthwise kernels: as many groups as input channels."""
    x, weight = op.args[:2]
    groups = x.shape[-(len(weight.shape) - 1)]
    return _convolve(op, x.shape, weight.shape, argument(op, "bias") is not None, False, groups)


def cudnn(op: OpRecord) -> Cost:
    """cudnn_convolution has no bias."""
    x, weight = op.args[:2]
    return _convolve(op, x.shape, weight.shape, False, False, argument(op, "groups", 1))


def cudnn_transposed(op: OpRecord) -> Cost:
    """cudnn_convolution_transpose has no bias; MIOpen's may have one."""
    x, weight = op.args[:2]
    return _convolve(op, x.shape, weight.shape, argument(op, "bias") is not None, True, argument(op, "groups", 1))


def convolution_relu(op: OpRecord) -> Cost:
    """Convolution with bias, then max(x, 0)."""
    return convolution(op) + arithmetic(op, op.out.numel)


def convolution_add_relu(op: OpRecord) -> Cost:
    """Convolution with bias, + alpha · z, then max(x, 0): two operations, three if alpha is not one."""
    x, weight, _z, alpha, bias = op.args[:5]
    convolved = _convolve(op, x.shape, weight.shape, bias is not None, False, argument(op, "groups", 1))
    return convolved + arithmetic(op, op.out.numel * (2 + (alpha not in (None, 1))))


def conv_tbc(op: OpRecord) -> Cost:
    """input (time, batch, c_in), weight (k, c_in, c_out) → (time', batch, c_out), with bias."""
    weight = op.args[1]
    return contraction(op, op.out.numel * weight.shape[0] * weight.shape[1])


_RULE = Rule("convolution", convolution)
_PLAIN = Rule("convolution", plain)
_TRANSPOSED = Rule("convolution", plain_transposed)
_DEPTHWISE = Rule("convolution", depthwise)

RULES: Mapping[OpKey, Rule] = {
    aten.convolution: _RULE,
    aten._convolution: _RULE,
    aten.convolution_overrideable: _RULE,
    aten.mkldnn_convolution: _RULE,
    aten._nnpack_spatial_convolution: _RULE,
    aten.cudnn_convolution: Rule("convolution", cudnn),
    aten.cudnn_convolution_transpose: Rule("convolution", cudnn_transposed),
    aten.cudnn_convolution_relu: Rule("convolution", convolution_relu),
    aten.cudnn_convolution_add_relu: Rule("convolution", convolution_add_relu),
    aten._slow_conv2d_forward: _PLAIN,
    aten.slow_conv3d_forward: _PLAIN,
    aten.slow_conv_dilated2d: _PLAIN,
    aten.slow_conv_dilated3d: _PLAIN,
    aten.slow_conv_transpose2d: _TRANSPOSED,
    aten.slow_conv_transpose3d: _TRANSPOSED,
    aten._conv_depthwise2d: _DEPTHWISE,
    aten.conv_depthwise3d: _DEPTHWISE,
    aten.conv_tbc: Rule("convolution", conv_tbc),
    # the same on other devices, in a real run
    **optional("miopen_convolution", _RULE),
    **optional("miopen_depthwise_convolution", _RULE),
    **optional("_mps_convolution", _RULE),
    **optional("miopen_convolution_relu", Rule("convolution", convolution_relu)),
    **optional("miopen_convolution_add_relu", Rule("convolution", convolution_add_relu)),
    **optional("miopen_convolution_transpose", Rule("convolution", cudnn_transposed)),
    **optional("_mps_convolution_transpose", Rule("convolution", cudnn_transposed)),
}
