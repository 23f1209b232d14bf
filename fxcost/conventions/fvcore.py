"""fvcore 0.1.5 and mmengine 0.10.7 (a copy of it): the ATen operators of a `torch.jit` trace.

Sees every traced operator before decomposition, in Python code and functions too; those without a handler count 0
(attention, softmax, activations, max pooling, element-wise work, recurrent layers, convolutions with string padding),
and what nothing uses is gone. The figure is MACs, called "flops", plus element counts of norms, adaptive average
pooling and interpolation; batch included. Neither tool calls `eval()`. `activations` are the outputs of
convolutions, linear layers, addmm, bmm, matmul and einsum.

The two share one table; they differ in a matmul with a vector alone, which fvcore refuses.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from math import floor, prod
from typing import Any

import torch

from ..errors import ConventionError
from ..records.recording import TensorSpec
from .convention import Convention, Counted, CountRule, Tally, function_amount, rows, rule
from .einsum import normalized, printed_count
from .kinds import CELL_FUNCTIONS, packet, product_macs
from .running import Run
from .seen import FunctionSeen, Seen

aten = torch.ops.aten


def linear(call: FunctionSeen) -> int:
    """Input elements × out_features."""
    return call.x.numel * call.arg(1, "weight").shape[0]  # type: ignore[no-any-return]


def convolution(call: FunctionSeen) -> int:
    """Elements of the weight × output positions × batch; 0 for string padding, which has no handler."""
    if isinstance(call.arg(4, "padding"), str):
        return 0
    weight = call.arg(1, "weight")
    batched = len(call.x.shape) == len(weight.shape)
    return weight.numel * (call.x.shape[0] * prod(call.y.shape[2:]) if batched else prod(call.y.shape[1:]))  # type: ignore[no-any-return]


def transposed(call: FunctionSeen) -> int:
    """Elements of the weight × input positions × batch."""
    return call.x.shape[0] * call.arg(1, "weight").numel * prod(call.x.shape[2:])  # type: ignore[no-any-return]


def product(call: FunctionSeen) -> int:
    """Elements of the left operand × columns of the right one."""
    return call.x.numel * call.arg(1, "other").shape[-1]  # type: ignore[no-any-return]


def matmul(call: FunctionSeen) -> int:
    """As `product`, a vector on the right being a column."""
    right = call.arg(1, "other").shape
    return call.x.numel * (right[-1] if len(right) > 1 else 1)


def matmul_without_vectors(call: FunctionSeen) -> int:
    """As `product`; raises for a vector on the right."""
    if len(call.arg(1, "other").shape) < 2:
        raise ConventionError("fvcore refuses this model: matmul with a vector raises IndexError in fvcore")
    return product(call)


def added_product(call: FunctionSeen) -> int:
    """addmm(bias, a, b): elements of a × columns of b."""
    return call.arg(1, "mat1").numel * call.arg(2, "mat2").shape[-1]  # type: ignore[no-any-return]


def einsum(call: FunctionSeen) -> int:
    """Two equations exactly, all others as half of what NumPy prints, floored."""
    operands = operands_of(call)
    equation = normalized(call.args[0])
    if equation == "abc,abd->acd":
        return operands[0].numel * operands[-1].shape[-1]
    if equation == "abc,adc->adb":
        return operands[0].numel * operands[-1].shape[1]
    return floor(printed_count(equation, operands) / 2)


def operands_of(call: FunctionSeen) -> tuple[TensorSpec, ...]:
    """The tensors of a call to einsum, given one by one or as a list."""
    rest: Any = call.args[1:]
    return rest[0] if len(rest) == 1 and isinstance(rest[0], tuple) else rest


def batch_norm(call: FunctionSeen) -> int:
    """2 per element if affine, else 1; 5 or 4 where batch statistics are used."""
    affine, training = call.arg(3, "weight") is not None, call.arg(5, "training", False)
    return call.x.numel * ((5 if affine else 4) if training else (2 if affine else 1))


def other_norm(position: int) -> Callable[[FunctionSeen], int]:
    """5 per element if affine, else 4; `position` is the weight's among the arguments."""
    return lambda call: call.x.numel * (5 if call.arg(position, "weight") is not None else 4)


def interpolation(call: FunctionSeen) -> int:
    """Bilinear 4 and nearest 1 per output element, of images only."""
    per_output = {("nearest", 4): 1, ("bilinear", 4): 4}
    return call.y.numel * per_output.get((call.arg(3, "mode", "nearest"), len(call.x.shape)), 0)


CONVOLUTIONS = ("F.conv1d", "F.conv2d", "F.conv3d")
TRANSPOSED = ("F.conv_transpose1d", "F.conv_transpose2d", "F.conv_transpose3d")
MATMULS = ("torch.matmul", "Tensor.matmul", "operator.matmul")

SHARED: Mapping[str, CountRule] = rows(
    (("F.linear",), rule("linear", "as is, bias 0", linear)),
    (CONVOLUTIONS, rule("convolution", "as is, bias 0; string padding has no handler", convolution)),
    (TRANSPOSED, rule("convolution", "as is, bias 0", transposed)),
    (("torch.mm", "Tensor.mm", "torch.bmm", "Tensor.bmm"), rule("matmul", "as is", product)),
    (("torch.addmm", "Tensor.addmm"), rule("matmul", "as is", added_product)),
    (("torch.einsum",), rule("einsum", "half of NumPy's count, which is rounded to four digits", einsum)),
    (("F.batch_norm",), rule("normalization", "2 per element in eval, 5 in training", batch_norm)),
    (("F.layer_norm", "F.group_norm"), rule("normalization", "5 per element if affine, else 4", other_norm(2))),
    (("F.instance_norm",), rule("normalization", "5 per element if affine, else 4", other_norm(3))),
    (("F.interpolate",), rule("interpolation", "bilinear 4, nearest 1 per output", interpolation)),
    (("F.adaptive_avg_pool2d",), rule("pooling", "one per input element", lambda call: call.x.numel)),
    (("F.grid_sample",), rule("interpolation", "4 per output element", lambda call: 4 * call.y.numel)),
)
_PRODUCTS = ("F.linear", "torch.addmm", "Tensor.addmm", "torch.bmm", "Tensor.bmm", "torch.einsum")
ACTIVATIONS = frozenset((*CONVOLUTIONS, *TRANSPOSED, *MATMULS, *_PRODUCTS))


def calls(seen: Seen, table: Mapping[str, CountRule]) -> Iterator[tuple[FunctionSeen, Counted]]:
    """Live function calls with what they count; the steps of a recurrent cell are traced one by one."""
    for call in seen.functions:
        if not call.live:
            continue
        for counted in function_amount(table, call):
            yield call, counted
        if call.name in CELL_FUNCTIONS:
            for number, op in cell_products(seen, call):
                span = number, number + 1
                yield call, Counted(product_macs(op), "recurrent", call.module, "a cell's products", span)


def traced(table: Mapping[str, CountRule]) -> Tally:
    """The amounts of :func:`calls`."""
    return lambda seen: (counted for _, counted in calls(seen, table))


def cell_products(seen: Seen, call: FunctionSeen) -> Iterator[tuple[int, Any]]:
    """The products of a recurrent cell, which a trace shows decomposed."""
    for number, op in seen.records(call.span):
        if packet(op.op) in (aten.mm, aten.addmm):
            yield number, op


def activation_calls(seen: Seen) -> Iterator[tuple[FunctionSeen, Counted]]:
    """Live products and convolutions with the elements of their outputs."""
    why = "elements of the output"
    for call in seen.functions:
        if not call.live:
            continue
        if call.name in ACTIVATIONS and not (call.name in CONVOLUTIONS and isinstance(call.arg(4, "padding"), str)):
            yield call, Counted(call.y.numel, "activation", call.module, why, call.span)
        elif call.name in CELL_FUNCTIONS:
            for number, op in cell_products(seen, call):
                yield call, Counted(op.out.numel, "activation", call.module, why, (number, number + 1))


def activations(seen: Seen) -> Iterator[Counted]:
    """Output elements of products and convolutions."""
    return (counted for _, counted in activation_calls(seen))


def _figures(seen: Seen, _totals: Mapping[str, int]) -> dict[str, int]:
    return {"params": seen.parameters()}


def with_vectors(vectors: Callable[[FunctionSeen], int]) -> Mapping[str, CountRule]:
    """The shared table, with a rule for matmul."""
    return {**SHARED, **rows((MATMULS, rule("matmul", "as is", vectors)))}


def _convention(name: str, summary: str, vectors: Callable[[FunctionSeen], int]) -> Convention:
    table = with_vectors(vectors)
    return Convention(
        name=name,
        summary=summary,
        unit="MACs",
        tallies={"flops": traced(table), "activations": activations},
        figures=_figures,
        unseen="no handler for this operator in the trace",
        family="fvcore",
        run=Run(evaluates=False),
    )


FVCORE = _convention(
    "fvcore", "fvcore 0.1.5: MACs of a trace, called flops, and 2 to 5 per element of norms", matmul_without_vectors
)
MMENGINE = _convention("mmengine", "mmengine 0.10.7, a copy of fvcore: the same, and matmul with vectors", matmul)

CONVENTIONS = (FVCORE, MMENGINE)
