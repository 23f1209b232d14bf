"""thop 0.1.1, and 0.0.31 that was current in 2021: forward hooks on listed module types.

Sees calls of modules whose exact class is listed; functions, operators, unlisted modules (GroupNorm, GELU, SiLU,
Embedding, MultiheadAttention) and every subclass (the Linear inside MultiheadAttention) count 0. The figure is MACs
of convolutions and linear layers mixed with element counts of norms and pools, called "FLOPs" or "MACs"; batch
included, computed as float. A module object found under k parents counts k² times. Parameters are those of the
listed modules that were called.

Both versions share the table `SHARED`; what 0.1.1 changed stands beside it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from math import prod
from typing import Any

import torch
from torch import nn

from ..errors import ConventionError
from .convention import Convention, Counted, CountRule, module_amount, rows, rule
from .kinds import (
    ADAPTIVE_AVG,
    ADAPTIVE_MAX,
    AVG_POOL,
    BATCH_NORM,
    CONV,
    INSTANCE_NORM,
    MAX_POOL,
    RNN,
    RNN_CELL,
    TRANSPOSED,
    quotient_product,
    repeated,
)
from .running import Run
from .seen import ModuleSeen, Seen

UPSAMPLE = (nn.Upsample, nn.UpsamplingBilinear2d, nn.UpsamplingNearest2d)
_GATES = {nn.RNN: 1, nn.RNNCell: 1, nn.GRU: 3, nn.GRUCell: 3, nn.LSTM: 4, nn.LSTMCell: 4}


def convolution(call: ModuleSeen) -> int:
    """Output elements × channels of `x.shape[1]` per group × kernel: also for transposed and unbatched ones."""
    kernel = prod(call.module.weight.shape[2:])
    return int(call.y.numel * (call.x.shape[1] // call.module.groups) * kernel)


def convolution_old(call: ModuleSeen) -> int:
    """Output elements × (in_channels per group × kernel + bias)."""
    m: Any = call.module
    return int(call.y.numel * (m.in_channels // m.groups * prod(m.weight.shape[2:]) + (m.bias is not None)))


def normalization(call: ModuleSeen) -> int:
    """2 per input element, 4 if affine."""
    affine = getattr(call.module, "affine", False) or getattr(call.module, "elementwise_affine", False)
    return call.x.numel * (4 if affine else 2)


def softmax(call: ModuleSeen) -> int:
    """3f − 1 per row of f."""
    features = call.x.shape[call.module.dim]
    if not features:
        raise ConventionError(f"thop refuses this model: {call.name!r} is over 0 features (ZeroDivisionError)")
    return int(call.x.numel // features * (3 * features - 1))


def adaptive_pool(call: ModuleSeen) -> int:
    """(Π real-valued kernel sizes + 1) per output, truncated."""
    sizes = [torch.tensor(s[2:], dtype=torch.float64) for s in (call.x.shape, call.y.shape)]
    return int((torch.prod(sizes[0] / sizes[1]) + 1) * call.y.numel)


def adaptive_pool_old(call: ModuleSeen) -> int:
    """(Π floored kernel sizes + 1) per output."""
    sizes = call.x.shape[2:]
    wanted = repeated(call.module.output_size, len(sizes))
    targets = [size if out is None else out for size, out in zip(sizes, wanted, strict=True)]
    return call.y.numel * (
        quotient_product(sizes, [1 if o is None else t for o, t in zip(wanted, targets, strict=True)]) + 1
    )


def _upsample(nearest: int) -> CountRule:
    per_output = {"nearest": nearest, "linear": 5, "bilinear": 11, "bicubic": 224 + 35}
    return rule(
        "interpolation",
        "a fixed number per output element, by mode",
        lambda call: call.y.numel * per_output.get(call.module.mode, 0),
    )


def _cell(module: Any, inputs: int) -> int:
    """A step of a cell: gates of h·(i+h) + h, 2h if biased, and 4h of element-wise work in GRU and LSTM."""
    hidden, gates = module.hidden_size, _GATES[type(module)]
    gate = hidden * (inputs + hidden) + hidden + (2 * hidden if module.bias else 0)
    return gates * gate + (4 * hidden if gates > 1 else 0)  # type: ignore[no-any-return]


def recurrent_cell(call: ModuleSeen) -> int:
    """One step for each sample."""
    return _cell(call.module, call.module.input_size) * call.x.shape[0]


def recurrent(call: ModuleSeen) -> int:
    """Cells over layers, directions, batch and steps; packed sequences at their largest batch; projection ignored."""
    m: Any = call.module
    directions = 2 if m.bidirectional else 1
    first, later = _cell(m, m.input_size), _cell(m, directions * m.hidden_size)
    per_step = directions * (first + (m.num_layers - 1) * later)
    if isinstance(call.args[0], tuple):  # a PackedSequence: data, batch sizes, …
        raise_packed()
    return int(per_step) * call.x.shape[0] * call.x.shape[1]


def raise_packed() -> None:
    """Refuse a packed sequence, whose batch sizes no record keeps."""
    raise ConventionError("thop's count of a PackedSequence needs the lengths, which are values: pass a padded batch")


def _nothing(_call: ModuleSeen) -> int:
    return 0


SHARED: Mapping[type, CountRule] = rows(
    (AVG_POOL, rule("pooling", "one per output element", lambda call: call.y.numel)),
    (
        (nn.Linear,),
        rule("linear", "in_features per output, bias 0", lambda call: call.module.in_features * call.y.numel),
    ),
    (RNN, rule("recurrent", "gates with their element-wise work, for every layer and step", recurrent)),
    (RNN_CELL, rule("recurrent", "gates with their element-wise work", recurrent_cell)),
    (
        (*MAX_POOL, *ADAPTIVE_MAX, nn.ReLU, nn.ReLU6, nn.Dropout, nn.ZeroPad2d),
        rule("listed as free", "listed as costing nothing", _nothing),
    ),
)

TABLE: Mapping[type, CountRule] = {
    **SHARED,
    **rows(
        (CONV, rule("convolution", "as is", convolution)),
        (TRANSPOSED, rule("convolution", "counted at output positions instead of input positions", convolution)),
        (
            (*BATCH_NORM, *INSTANCE_NORM, nn.SyncBatchNorm, nn.LayerNorm),
            rule("normalization", "4 per element if affine, else 2", normalization),
        ),
        ((nn.PReLU,), rule("activation", "one per element", lambda call: call.x.numel)),
        ((nn.Softmax,), rule("softmax", "3f − 1 per row of f", softmax)),
        (ADAPTIVE_AVG, rule("pooling", "kernel + 1 per output element", adaptive_pool)),
        (UPSAMPLE, _upsample(nearest=1)),
        ((nn.LeakyReLU, nn.PixelShuffle), rule("listed as free", "listed as costing nothing", _nothing)),
    ),
}

TABLE_OLD: Mapping[type, CountRule] = {
    **SHARED,
    **rows(
        (CONV, rule("convolution", "one addition per output for a bias", convolution_old)),
        (TRANSPOSED, rule("convolution", "output positions, and one addition per output for a bias", convolution_old)),
        ((*BATCH_NORM, nn.SyncBatchNorm), rule("normalization", "2 per element", lambda call: 2 * call.x.numel)),
        ((nn.LeakyReLU,), rule("activation", "one per element", lambda call: call.x.numel)),
        (ADAPTIVE_AVG, rule("pooling", "kernel + 1 per output element, sizes floored", adaptive_pool_old)),
        (UPSAMPLE, _upsample(nearest=0)),
    ),
}


def times_summed(seen: Seen, table: Mapping[type, CountRule], root: bool) -> dict[str, int]:
    """How often thop's depth-first sum adds each listed module's own count."""
    times = seen.reached(tuple(table))
    return times if root else {name: number for name, number in times.items() if name}


def _tally(table: Mapping[type, CountRule], root: bool) -> Any:
    def tally(seen: Seen) -> Iterator[Counted]:
        summed = times_summed(seen, table, root)
        for call in seen.module_calls:
            if call.name in summed:
                yield from module_amount(table, call, seen.visits[call.name] * summed[call.name])

    return tally


def _figures(table: Mapping[type, CountRule]) -> Any:
    def figures(seen: Seen, _totals: Mapping[str, int]) -> dict[str, int]:
        summed = times_summed(seen, table, root=False)
        called = {call.name: call.module for call in seen.module_calls if type(call.module) in table}
        params = {name: sum(p.numel() for p in module.parameters()) for name, module in called.items()}
        return {"total_params": sum(summed.get(name, 0) * number for name, number in params.items())}

    return figures


_UNSEEN = "no call of a module type that thop lists"

THOP = Convention(
    name="thop",
    summary="thop 0.1.1: MACs of listed modules, 4 per element of batch norm, pools by kernel",
    unit="MACs",
    tallies={"total_ops": _tally(TABLE, root=True)},
    figures=_figures(TABLE),
    unseen=_UNSEEN,
    family="thop",
    run=Run(evaluates=True, gradients=False),
)
THOP_OLD = Convention(
    name="thop-0.0.31",
    summary="thop 0.0.31 (current in 2021): as thop, convolutions with bias, 2 per element of batch norm",
    unit="MACs",
    tallies={"total_ops": _tally(TABLE_OLD, root=False)},
    figures=_figures(TABLE_OLD),
    unseen=_UNSEEN,
    family="thop",
    run=Run(evaluates=True, gradients=False),
)

CONVENTIONS = (THOP, THOP_OLD)
