"""torchprofile 0.1.0: ATen operators of a `torch.jit` trace, with handlers of its own.

Sees every traced operator before decomposition; what nothing uses is gone. MACs, batch included, plus one per element
of norms (if affine), average pooling, mean, multiplications and leaky ReLU. `mm` has no handler; GRU and RNN layers
count 0; a transposed convolution is counted at output positions.

Integer products of sizes are traced too and count 1 each: four or six in each call of MultiheadAttention, and those
that a symbolic graph shows. Not reproduced: size products in other modules of PyTorch's own, and under concrete
capture; for such models the figure is low by as many.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from math import prod

import torch
from torch import nn

from ..errors import ConventionError
from .convention import Convention, Counted, CountRule, function_amount, rows, rule
from .fvcore import CONVOLUTIONS, MATMULS, TRANSPOSED, added_product, linear, operands_of, product
from .kinds import CELL_FUNCTIONS, packet, product_macs
from .running import Run, nothing
from .seen import PROJECTIONS, FunctionSeen, Seen

aten = torch.ops.aten


def convolution(call: FunctionSeen) -> int:
    """Output elements × kernel × channels, which are guessed from the shapes; 0 for string padding."""
    if call.name in CONVOLUTIONS and isinstance(call.arg(4, "padding"), str):
        return 0
    weight, y = call.arg(1, "weight").shape, call.y.shape
    channels = y[0] if len(y) == len(weight) - 1 else y[1]
    return int(prod(y) * (weight[1] if channels == weight[0] else weight[0]) * prod(weight[2:]))


def matmul(call: FunctionSeen) -> int:
    """Output elements × the length of the dot products."""
    return call.y.numel * call.x.shape[-1]


def einsum(call: FunctionSeen) -> int:
    """The product of all index sizes; 0 for an equation with an ellipsis."""
    if "..." in call.args[0]:
        return 0
    sizes: dict[str, int] = {}
    left = call.args[0].replace(" ", "").split("->")[0].split(",")
    for letters, spec in zip(left, operands_of(call), strict=True):
        sizes.update(zip(letters, spec.shape, strict=True))
    return prod(sizes.values())


def attention(call: FunctionSeen) -> int:
    """Both products."""
    query, key, value = (spec.shape for spec in call.args[:3])
    return int(prod(query[:-1]) * key[-2] * (query[-1] + value[-1]))


def lstm(call: FunctionSeen) -> int:
    """Gates' products over layers, directions and steps; the hidden size is that of `h_n`, so of a projection."""
    output, last = call.outputs[0].shape, call.outputs[1].shape
    hidden = last[-1]
    directions = output[-1] // hidden
    widths = [call.x.shape[-1], *[hidden * directions] * (last[0] // directions - 1)]
    return output[0] * output[1] * directions * sum(4 * hidden * (width + hidden) for width in widths)


def affine(position: int) -> CountRule:
    """One per output element if a weight stands at `position`."""
    return rule(
        "normalization",
        "one per element if affine",
        lambda call: call.y.numel if call.arg(position, "weight") is not None else 0,
    )


def bilinear(call: FunctionSeen) -> int:
    """4 per output element of a bilinear interpolation of images."""
    return 4 * call.y.numel if (call.arg(3, "mode", "nearest"), len(call.x.shape)) == ("bilinear", 4) else 0


def grid_sample(call: FunctionSeen) -> int:
    """4 per output element, 16 bicubic, 0 nearest."""
    return {"bilinear": 4, "bicubic": 16}.get(call.arg(2, "mode", "bilinear"), 0) * call.y.numel


def multiplication(call: FunctionSeen) -> int:
    """One per output element; one for a product of sizes."""
    return call.y.numel if call.outputs else 1


def sizes_of_attention(call: FunctionSeen) -> int:
    """Products of sizes in attention: 6 where keys and values are projected together, apart from the query; else 4.

    One more where zeros are added to the keys.
    """
    return (6 if call.kwargs[PROJECTIONS] == 3 else 4) + bool(call.arg(9, "add_zero_attn"))


def elements(call: FunctionSeen) -> int:
    """One per output element."""
    return call.y.numel


MEANS = ("torch.mean", "Tensor.mean", *(f"F.{kind}avg_pool{d}d" for kind in ("", "adaptive_") for d in (1, 2, 3)))
TABLE: Mapping[str, CountRule] = rows(
    (("F.linear",), rule("linear", "as is, bias 0", linear)),
    (CONVOLUTIONS, rule("convolution", "string padding has no handler", convolution)),
    (TRANSPOSED, rule("convolution", "counted at output positions", convolution)),
    (("torch.addmm", "Tensor.addmm", "torch.baddbmm"), rule("matmul", "as is", added_product)),
    (("torch.bmm", "Tensor.bmm"), rule("matmul", "as is", product)),
    (MATMULS, rule("matmul", "as is", matmul)),
    (("torch.einsum",), rule("einsum", "product of all index sizes", einsum)),
    (
        ("torch.mul", "Tensor.mul", "Tensor.mul_", "operator.mul", "operator.imul"),
        rule("element-wise", "one per output of a multiplication", multiplication),
    ),
    (("F.batch_norm", "F.instance_norm"), affine(3)),
    (("F.group_norm", "F.layer_norm"), affine(2)),
    (MEANS, rule("pooling", "one per output element", elements)),
    (("F.leaky_relu",), rule("activation", "one per element", elements)),
    (("F.interpolate",), rule("interpolation", "bilinear 4 per output", bilinear)),
    (("F.grid_sample",), rule("interpolation", "4 per output, 16 bicubic", grid_sample)),
    (("F.scaled_dot_product_attention",), rule("attention", "as is", attention)),
    (("torch.lstm",), rule("recurrent", "hidden size taken from h_n", lstm)),
    (("F.multi_head_attention_forward",), rule("sizes", "products of traced sizes count 1 each", sizes_of_attention)),
)


def tally(seen: Seen) -> Iterator[Counted]:
    """Live function calls; a recurrent cell's products and multiplications one by one.

    Raises:
        ConventionError: the tool itself fails on a tensor that does not exist in the trace.
    """
    for attention in seen.fused_calls:
        if isinstance(attention.module, nn.MultiheadAttention) and not attention.argument(4, "need_weights", True):
            raise ConventionError(
                "torchprofile refuses this model: attention without weights runs as one operator here, in whose trace "
                "a result is missing (AttributeError)"
            )
    for call in seen.functions:
        if not call.live:
            continue
        yield from function_amount(TABLE, call)
        if call.name in CELL_FUNCTIONS:
            for number, op in seen.records(call.span):
                kind = packet(op.op)
                if kind in (aten.mm, aten.addmm):
                    macs = product_macs(op)
                    yield Counted(macs, "recurrent", call.module, "a cell's products", (number, number + 1))
                elif kind in (aten.mul, aten.mul_):
                    span = number, number + 1
                    yield Counted(op.out.numel, "recurrent", call.module, "a cell's multiplications", span)


TORCHPROFILE = Convention(
    name="torchprofile",
    summary="torchprofile 0.1.0: MACs of a trace with attention, one per element of norms, pools and products",
    unit="MACs",
    tallies={"macs": tally},
    run=Run(evaluates=False, hooked=nothing),
    unseen="no handler for this operator in the trace",
)

CONVENTIONS = (TORCHPROFILE,)
