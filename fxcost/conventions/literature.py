"""Conventions of the literature: what papers and articles mean by MACs, FLOPs and memory accesses.

They see everything that was recorded. `macs` and `flops` are the report's own numbers. `exact` follows Molchanov et
al., "Pruning Convolutional Neural Networks for Resource Efficient Inference" (ICLR 2017, appendix): a dot product of
length n takes n multiplications and n−1 additions, one more if there is a bias. `memory-accesses` is the model of
articles on MobileNet: nothing is reused, so a convolution or matrix product reads an input element for each multiply,
writes each output once, and reads each weight once. As the articles have it, a convolution's reads are counted at
input positions, which is s² too many for stride s.
"""

from __future__ import annotations

import torch

from ..meta import units
from ..records.cost import OpCost
from ..rules.common import argument
from .convention import Convention, by_operator, rows, rule
from .kinds import product_macs

aten = torch.ops.aten

MACS = Convention(
    name="macs",
    summary="multiply-accumulates of contractions: fxcost's own",
    unit="MACs",
    tallies={"macs": by_operator(default=rule("", "as is", lambda op: op.cost.macs))},
)
FLOPS = Convention(
    name="flops",
    summary="2 per MAC, 1 per other floating-point operation: fxcost's own",
    unit="FLOPs",
    tallies={"flops": by_operator(default=rule("", "as is", lambda op: op.cost.flops))},
)
EXACT = Convention(
    name="exact",
    summary="FLOPs with dot products at 2n−1, 2n with a bias (Molchanov et al., ICLR 2017)",
    unit="FLOPs",
    tallies={
        "flops": by_operator(
            default=rule(
                "",
                "the first product of a sum without bias needs no addition",
                lambda op: op.cost.flops - zero_sums(op),
            )
        )
    },
)


def zero_sums(op: OpCost) -> int:
    """Additions saved because an accumulator starts with the first product instead of a bias."""
    return op.cost.zero_accumulators


def _masked(op: OpCost) -> int:
    """MACs of the scores that are kept: up to the query's own place, or where a mask that is known is True."""
    return op.cost.masked_macs


CAUSAL = Convention(
    name="causal",
    summary="MACs of attention only where its mask leaves a score: the triangle of causal attention, a window",
    unit="MACs",
    tallies={
        "macs": by_operator(
            {units.attention: rule("attention", "attention needs the pairs that its mask leaves", _masked)},
            rule("", "as is", _masked),
        )
    },
)


def convolution_accesses(op: OpCost) -> int:
    """Inputs once for each product at their position, outputs, weights and bias.

    An input element meets c_out / groups · k products: weight is (c_out, c_in / groups, *k), or (c_in, c_out / groups,
    *k) if transposed.
    """
    record = op.record
    x, weight, bias = record.args[:3]
    groups = 1 if argument(record, "transposed", False) else argument(record, "groups", 1)
    inner = weight.shape[0] if argument(record, "transposed", False) else weight.shape[1]
    products = weight.numel // (inner * groups)
    reads: int = x.numel * products
    return reads + record.out.numel + int(weight.numel) + (int(bias.numel) if bias is not None else 0)


def product_accesses(op: OpCost) -> int:
    """The left operand once per multiply, the result, and the right operand and bias once."""
    record = op.record
    operands = [spec for spec in record.args if hasattr(spec, "numel")]
    bias, (_left, right) = operands[:-2], operands[-2:]
    return product_macs(record) + record.out.numel + int(right.numel) + sum(int(b.numel) for b in bias)


MEMORY_ACCESSES = Convention(
    name="memory-accesses",
    summary="elements accessed by convolutions and matrix products if nothing is reused",
    unit="accesses",
    tallies={
        "accesses": by_operator(
            rows(
                ((aten.convolution,), rule("convolution", "no reuse", convolution_accesses)),
                ((aten.mm, aten.addmm, aten.bmm, aten.baddbmm), rule("matmul", "no reuse", product_accesses)),
            )
        )
    },
)

CONVENTIONS = (MACS, FLOPS, EXACT, CAUSAL, MEMORY_ACCESSES)
