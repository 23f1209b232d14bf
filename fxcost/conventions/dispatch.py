"""Tools that intercept ATen operators: torch's FlopCounterMode and ptflops with its `aten` backend.

Both see matrix products and convolutions wherever they come from, and nothing else: norms, activations, pooling,
softmax, element-wise work and matrix-vector products (`mv`, `dot`) count 0.

`torch` is `FlopCounterMode` on meta tensors: 2 per MAC, bias 0, attention and recurrent layers complete, since they
decompose into products. On a CPU the same counter misses fused attention, and on some of them LSTMs.

`ptflops-aten` is `get_model_complexity_info(model, input_res, backend="aten")` on a CPU, its default: MACs plus the
bias additions of convolutions and of linear layers that run as `addmm`; `baddbmm` is missing; attention counts only
where PyTorch takes its math path, an LSTM (float32, no projection) runs as one oneDNN operator and counts 0.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import prod
from typing import Any

import torch

from ..errors import ConventionError
from ..meta import units
from ..records.cost import OpCost
from ..records.recording import OpRecord, TensorSpec
from ..rules.attention import attention
from ..rules.common import argument
from ..rules.conv import convolution
from ..rules.matmul import addmm, baddbmm, bmm, mm
from ..rules.rnn import rnn
from .convention import Convention, Counted, by_operator, rule
from .running import Run, children, differentiable
from .seen import Seen

aten = torch.ops.aten

PRODUCTS: dict[Any, tuple[str, Any]] = {
    aten.mm: ("linear", mm),
    aten.addmm: ("linear", addmm),
    aten.bmm: ("matmul", bmm),
    aten.convolution: ("convolution", convolution),
}
"""Family and MACs of the operators that both tools count."""

SEEN_BY_TORCH: dict[Any, tuple[str, Any]] = {
    **PRODUCTS,
    aten.baddbmm: ("matmul", baddbmm),
    units.attention: ("attention", attention),
    units.rnn: ("recurrent", rnn),
}


def _twice(function: Any) -> Any:
    return lambda op: 2 * function(op.record).macs


TORCH = Convention(
    name="torch",
    summary="torch.utils.flop_counter.FlopCounterMode on meta: 2 per MAC of products and convolutions",
    unit="FLOPs",
    tallies={
        "flops": by_operator(
            {op: rule(f, "2 per MAC, nothing else of it", _twice(r)) for op, (f, r) in SEEN_BY_TORCH.items()}
        )
    },
    unseen="FlopCounterMode counts products and convolutions only",
    family="dispatch",
)


def _macs(function: Any) -> Any:
    return lambda op: function(op.record).macs


def biased_addmm(op: OpCost) -> int:
    """MACs and one addition per output."""
    return addmm(op.record).macs + op.record.out.numel


def biased_convolution(op: OpCost) -> int:
    """MACs and, with a bias, one addition per output."""
    return convolution(op.record).macs + (op.record.out.numel if op.record.args[2] is not None else 0)


def fused_attention(seen: Seen) -> set[int]:
    """Numbers of the attention operators for which PyTorch takes its flash kernel on a CPU; else its math path."""
    records = [(number, op.record) for number, (_, op) in enumerate(seen.operations)]
    fused = {number for number, record in records if record.op is units.attention and argument(record, "fused")}
    if any(_mask(records[number][1]) for number in fused):  # no kernel has a mask's gradient
        trained, _ = differentiable(seen.report.nodes, seen.recording.parameters, _mask)
        fused = {number for number in fused if not trained[number]}
    return fused


def _mask(record: OpRecord) -> tuple[TensorSpec, ...]:
    mask = argument(record, "attn_mask") if record.op is units.attention else None
    return () if mask is None else (mask,)


def is_fused_lstm(record: OpRecord) -> bool:
    """True for an LSTM that PyTorch runs as one oneDNN operator on a CPU: float32, no projection, not packed."""
    x, params, mode, packed = record.args[0], record.args[2], record.args[3], record.args[10]
    matrices = [p.shape for p in params if len(p.shape) == 2]
    projected = len(matrices) > 2 and matrices[2][0] != matrices[0][0]
    return mode == "lstm" and not projected and packed is None and x.dtype == torch.float32


def decomposed_rnn(op: OpCost) -> int:
    """MACs and bias additions of the steps; 0 for an LSTM that runs as oneDNN's operator."""
    record = op.record
    x, params, packed = record.args[0], record.args[2], record.args[10]
    if is_fused_lstm(record):
        return 0
    rows = x.numel // x.shape[-1]
    biases = sum(prod(p.shape) for p in params if len(p.shape) == 1)
    skipped = 0 if packed is not None or _contiguous(x, record) else _first_biases(record)
    return rnn(record).macs + int(rows * (biases - skipped))


def _contiguous(x: TensorSpec, record: OpRecord) -> bool:
    """True if the first layer's input is contiguous with time in front, as its `linear` wants it for `addmm`."""
    order = (1, 0, *range(2, len(x.shape))) if record.args[9] else tuple(range(len(x.shape)))
    return is_contiguous([x.shape[i] for i in order], [x.stride[i] for i in order])


def is_contiguous(shape: Sequence[int], stride: Sequence[int]) -> bool:
    """True if elements lie in memory in the order of their indices, without gaps."""
    expected = 1
    for size, step in zip(reversed(shape), reversed(stride), strict=True):
        if size != 1 and step != expected:
            return False
        expected *= size
    return True


def _first_biases(record: OpRecord) -> int:
    directions = 2 if record.args[8] else 1
    biases = [p.shape[0] for p in record.args[2] if len(p.shape) == 1]
    return int(sum(biases[: 2 * directions : 2]))


_aten = by_operator(
    {
        aten.mm: rule("linear", "without bias", _macs(mm)),
        aten.bmm: rule("matmul", "as is", _macs(bmm)),
        aten.addmm: rule("linear", "one addition per output for the bias", biased_addmm),
        aten.convolution: rule("convolution", "one addition per output for a bias", biased_convolution),
        units.attention: rule("attention", "as is", _macs(attention)),
        units.rnn: rule("recurrent", "steps with bias additions; LSTM as one oneDNN operator: 0", decomposed_rnn),
    }
)


def aten_tally(seen: Seen) -> Iterator[Counted]:
    """The operators' amounts.

    Raises:
        ConventionError: attention runs as one operator, whose result lies otherwise in memory than what was recorded,
            and whether a later linear layer's bias is counted hangs on that.
    """
    end = min((call.span[1] for call in seen.fused_calls), default=len(seen.operations))
    for call in seen.functions if seen.fused_calls else ():
        biased = call.span[0] >= end and call.name == "F.linear" and call.arg(2, "bias") is not None
        if biased and not is_contiguous(call.x.shape, call.x.stride):
            raise ConventionError(
                f"whether ptflops counts the bias of {call.module!r} hangs on the memory layout that PyTorch's "
                "fast path gives its input, which was not recorded"
            )
    fused = fused_attention(seen)
    yield from (counted for counted in _aten(seen) if counted.span[0] not in fused)


PTFLOPS_ATEN = Convention(
    name="ptflops-aten",
    summary="ptflops 0.7.5, backend aten, on CPU: MACs and bias additions of mm, addmm, bmm and convolution",
    unit="MACs",
    tallies={"macs": aten_tally},
    figures=lambda seen, _: trainable_parameters(seen),
    unseen="no operator that ptflops lists: mm, addmm, bmm, convolution",
    family="dispatch",
    run=Run(evaluates=True, hooked=children),
)


def trainable_parameters(seen: Seen) -> dict[str, int]:
    """`params`: parameters that require a gradient."""
    return {"params": seen.parameters(trainable=True)}


CONVENTIONS = (TORCH, PTFLOPS_ATEN)
