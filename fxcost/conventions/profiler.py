"""torch.profiler with `with_flops=True`, on a CPU: the sum of what its events say.

Sees every operator by the name under which PyTorch's dispatcher runs it, also inside other operators, and has a formula
for seven: `conv2d`, `mm`, `addmm`, `bmm` and `baddbmm` at 2 per MAC, `add` and `mul` at 1 per element of their first
operand, whatever the result's size. Convolutions of other dimensions, transposed, unbatched or with string padding
count 0, and so do in-place operators, fused attention and an LSTM that runs as one oneDNN operator.

Some kernels multiply and add inside by operators of their own. Those of recurrent layers, attention, dropout,
`repeat` and `nn.Bilinear` are reproduced; a model with one of `OPAQUE` is refused.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import repeat
from math import prod
from typing import Any

import torch
from torch import nn

from ..errors import ConventionError
from ..meta import units
from ..records.cost import OpCost
from ..records.recording import OpRecord
from ..rules.attention import attention
from ..rules.common import argument
from ..rules.conv import convolution
from ..rules.rnn import rnn
from .convention import Convention, Counted, CountRule, by_operator, rows, rule
from .dispatch import fused_attention, is_fused_lstm
from .kinds import n, packet, product_macs
from .running import Run, nothing
from .seen import ModuleSeen, Seen

aten = torch.ops.aten


def convolved(op: OpCost) -> int:
    """2 per MAC of a convolution over two dimensions; 0 for all others."""
    _, weight, *_ = op.record.args
    return 0 if len(weight.shape) != 4 or argument(op.record, "transposed") else 2 * convolution(op.record).macs


def first_operand(op: OpCost) -> int:
    """Elements of the first operand."""
    return n(op.record.args[0])


def attended(op: OpCost) -> int:
    """Both products, the query and the key scaled, and scores dropped out, as PyTorch's math path computes them."""
    record = op.record
    query, key = record.args[:2]
    heads = query.shape[-3] // key.shape[-3] if len(query.shape) > 2 and argument(record, "enable_gqa") else 1
    dropped = attention_scores(record) if argument(record, "dropout_p") else 0
    return int(2 * attention(record).macs + query.numel + heads * key.numel + dropped)


def attention_scores(record: OpRecord) -> int:
    """Scores, each of which dropout multiplies once."""
    query, key = record.args[:2]
    return int(prod(query.shape[:-1]) * key.shape[-2])


def contracted(op: OpCost) -> int:
    """2 per MAC of `nn.Bilinear`, which multiplies matrices output by output."""
    left, weight, right = op.record.args[:3]
    return 2 * int(prod(left.shape[:-1]) * weight.shape[0] * (left.shape[-1] + 1) * right.shape[-1])


def recurred(op: OpCost) -> int:
    """2 per MAC of the steps and their multiplications and additions; of an LSTM as one operator the sum of biases."""
    record = op.record
    x, params, mode = record.args[0], record.args[2], record.args[3]
    dropped = (argument(record, "num_layers") - 1) * record.out.numel if argument(record, "dropout") else 0
    if is_fused_lstm(record):
        return int(sum(p.shape[0] for p in params if len(p.shape) == 1)) // 2 + int(dropped)
    steps = x.numel // x.shape[-1]
    gates = {"lstm": 4, "gru": 3}.get(mode, 1)
    width = params[0].shape[0] // gates
    layers = sum(len(p.shape) == 2 and p.shape[0] == gates * width for p in params) // 2
    per_step = {"lstm": 3, "gru": 1}.get(mode, 0) * width
    return int(2 * rnn(record).macs + steps * layers * per_step + dropped)


TABLE: dict[Any, CountRule] = rows(
    ((aten.mm, aten.addmm), rule("linear", "2 per MAC", lambda op: 2 * product_macs(op.record))),
    ((aten.bmm, aten.baddbmm), rule("matmul", "2 per MAC", lambda op: 2 * product_macs(op.record))),
    ((aten.convolution,), rule("convolution", "2 per MAC if over two dimensions", convolved)),
    ((aten.add, aten.mul), rule("element-wise", "one per element of the first operand", first_operand)),
    ((aten.native_dropout,), rule("random", "one multiplication per element", first_operand)),
    ((aten.repeat,), rule("movement", "the additions of its sizes", lambda op: len(argument(op.record, "repeats")))),
    ((aten.mul_.Scalar,), rule("element-wise", "one: its first operand is the number", lambda _: 1)),
    (
        (aten.rrelu_with_noise,),
        rule(
            "activation", "an addition of its bounds in eval mode", lambda op: int(not argument(op.record, "training"))
        ),
    ),
    ((aten._trilinear,), rule("linear", "2 per MAC, output by output", contracted)),
    ((units.attention,), rule("attention", "products and scaling; a fused kernel is not counted", attended)),
    ((units.rnn,), rule("recurrent", "steps one by one; an LSTM as one oneDNN operator: its biases", recurred)),
)
OPAQUE = (
    *(aten._linalg_det, aten._linalg_slogdet, aten.linalg_pinv, aten.linalg_eig, aten.linalg_matrix_exp),
    *(aten.renorm, aten.affine_grid_generator, aten.mvlgamma, aten._euclidean_dist),
)
"""Operators that run others inside, as many as their algorithm takes, which the profiler counts."""
_operators = by_operator(TABLE)


def tally(seen: Seen) -> Iterator[Counted]:
    """The operators' amounts, without convolutions that the profiler can't read.

    Raises:
        ConventionError: the profiler sees inside an operator what was not recorded.
    """
    opaque = next((op.record.op for _, op in seen.operations if packet(op.record.op) in OPAQUE), None)
    if opaque is not None:
        raise ConventionError(f"the profiler counts what {opaque} runs inside on a CPU, which was not recorded")
    unseen = fused_attention(seen).union(_unread(seen), _biases(seen))
    yield from map(_fast, seen.fused_calls, repeat(seen))
    for counted in _operators(seen):
        if counted.span[0] not in unseen:
            yield counted


def _fast(call: ModuleSeen, seen: Seen) -> Counted:
    """What PyTorch runs as one operator: its products, but for the one that it fuses with an activation."""
    macs = sum(op.cost.macs for _, op in seen.operations[slice(*call.span)])
    why = "products inside one operator"
    if isinstance(call.module, nn.TransformerEncoderLayer):
        macs -= call.y.numel * call.module.linear1.out_features
        why += ", without the one that is fused with its activation"
    return Counted(2 * macs, "attention", call.name, why, call.span)


def _unread(seen: Seen) -> Iterator[int]:
    """Numbers of convolutions whose arguments the profiler can't read: unbatched, or with string padding."""
    for call in seen.functions:
        if call.name == "F.conv2d" and (len(call.x.shape) != 4 or isinstance(call.arg(4, "padding"), str)):
            yield from range(*call.span)


def _biases(seen: Seen) -> Iterator[int]:
    """Numbers of additions of a linear layer's bias, which a CPU does in place."""
    for call in seen.functions:
        within = call.whole if call.name == "F.multi_head_attention_forward" else None
        for number, op in seen.records(within or (call.span if call.name == "F.linear" else (0, 0))):
            if packet(op.op) is aten.add and len(op.args[1].shape) == 1:
                yield number


TORCH_PROFILER = Convention(
    name="torch-profiler",
    summary="torch.profiler with_flops on CPU: 2 per MAC of products and conv2d, add and mul by their first operand",
    unit="FLOPs",
    tallies={"flops": tally},
    unseen="the profiler has formulas for conv2d, mm, addmm, bmm, baddbmm, add and mul only",
    family="dispatch",
    run=Run(evaluates=False, hooked=nothing),
)

CONVENTIONS = (TORCH_PROFILER,)
