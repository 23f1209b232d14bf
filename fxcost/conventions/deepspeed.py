"""DeepSpeed 0.19.8 (`get_model_profile`) and calflops 0.3.2, which grew from it: patched functions.

See what is called as a function by name (:mod:`.patched`), modules' own calls included, and recurrent layers by a
hook. Miss operators and in-place methods; `sub`, `div`; sigmoid, tanh, hardswish. Both print FLOPs and MACs: FLOPs
are 2 per MAC, plus bias, norms, activations, pools and softmax. Batch included.

One table with two readings. calflops divides the channels of a transposed convolution by its groups twice, counts an
interpolation at its input, aligns broadcast shapes at the left, does not see `@`, mm, bmm and attention, adds a module
under two parents twice, and counts trainable parameters; DeepSpeed does these right, but gives einsum no MACs either.
Both recompute a convolution's output size, one short per axis for `padding="same"` with an even kernel.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

import torch

from ..errors import ConventionError
from ..records.recording import TensorSpec
from .convention import Convention, Counted, Tally
from .einsum import printed_count
from .fvcore import batch_norm, linear, operands_of, other_norm
from .kinds import POOL_FUNCTIONS, RNN, RNN_CELL, repeated
from .patched import PER_ELEMENT, added_product, elements, is_patched, left_aligned, product, wanted_size
from .recurrent import hooked
from .running import Run
from .seen import FunctionSeen, Seen

Pair = tuple[int, int]
"""FLOPs and MACs."""


@dataclass(frozen=True, slots=True)
class Profile:
    """Family, reason, and FLOPs with MACs of a function."""

    family: str
    why: str
    pair: Callable[[FunctionSeen], Pair]


def _flops(count: Callable[[FunctionSeen], int]) -> Callable[[FunctionSeen], Pair]:
    return lambda call: (count(call), 0)


def _products(count: Callable[[FunctionSeen], int]) -> Callable[[FunctionSeen], Pair]:
    return lambda call: (2 * count(call), count(call))


def convolution(call: FunctionSeen) -> Pair:
    """Products at the recomputed output positions; a bias adds one FLOP each."""
    x, weight, groups = call.x.shape, call.arg(1, "weight").shape, call.arg(6, "groups", 1)
    rank = len(weight) - 2
    if weight[1] * groups != x[1]:
        raise ConventionError("calflops and DeepSpeed refuse this model: a convolution without a batch dimension")
    stride = repeated(call.arg(3, "stride", 1), rank)
    dilation = repeated(call.arg(5, "dilation", 1), rank)
    padding = call.arg(4, "padding", 0)
    if isinstance(padding, str):
        same = tuple(d * (k - 1) // 2 for d, k in zip(dilation, weight[2:], strict=True))
        padding = same if padding == "same" else 0
    places = x[0] * prod(forward_sizes(x[2:], weight[2:], repeated(padding, rank), dilation, stride))
    macs = prod(weight[2:]) * x[1] * (weight[0] // groups) * places
    return 2 * macs + (weight[0] * places if call.arg(2, "bias") is not None else 0), macs


def forward_sizes(x: Any, kernel: Any, padding: Any, dilation: Any, stride: Any) -> list[int]:
    """Output sizes of a convolution that is not transposed."""
    each = zip(x, kernel, padding, dilation, stride, strict=True)
    return [(size + 2 * p - (d * (k - 1) + 1)) // s + 1 for size, k, p, d, s in each]


def transposed(call: FunctionSeen) -> Pair:
    """Products at input positions; a bias adds one FLOP per output."""
    macs = call.x.shape[0] * call.arg(1, "weight").numel * prod(call.x.shape[2:])
    return 2 * macs + (call.y.numel if call.arg(2, "bias") is not None else 0), macs


def transposed_by_calflops(call: FunctionSeen) -> Pair:
    """Channels divided by groups twice; the bias at output sizes of a forward convolution."""
    x, weight, groups = call.x.shape, call.arg(1, "weight").shape, call.arg(6, "groups", 1)
    rank = len(x) - 2
    macs = prod(weight[2:]) * x[1] * (weight[1] // groups) * x[0] * prod(x[2:])
    stride, padding = repeated(call.arg(3, "stride", 1), rank), repeated(call.arg(4, "padding", 0), rank)
    sizes = forward_sizes(x[2:], weight[2:], padding, repeated(call.arg(7, "dilation", 1), rank), stride)
    return 2 * macs + (weight[1] * x[0] * prod(sizes) if call.arg(2, "bias") is not None else 0), macs


def added(call: FunctionSeen) -> Pair:
    """2 per product and one per element of what is added."""
    macs = added_product(call)
    return 2 * macs + call.x.numel, macs


def einsum(call: FunctionSeen) -> Pair:
    """NumPy's count, with its rounding; no MACs."""
    return int(printed_count(call.args[0], operands_of(call))), 0


def attention(call: FunctionSeen) -> Pair:
    """Both products; softmax is not counted."""
    query, key, value = (spec.shape for spec in call.args[:3])
    macs = prod(query) * key[-2] + prod(query[:-1]) * key[-2] * value[-1]
    return 2 * macs, macs


def broadcast(call: FunctionSeen) -> int:
    """Size of an element-wise result."""
    a, b = call.arg(0, "input"), call.arg(1, "other")
    if isinstance(a, TensorSpec) and isinstance(b, TensorSpec):
        return prod(torch.broadcast_shapes(a.shape, b.shape))
    return left_aligned(call)


def interpolation(call: FunctionSeen) -> int:
    """Output elements by the scale; given a size, the product of the size alone."""
    size, scale = wanted_size(call)
    if size is not None:
        return prod(size) if isinstance(size, tuple) else int(size)
    return int(call.x.numel * (prod(scale) if isinstance(scale, tuple) else scale ** (len(call.x.shape) - 2)))


def interpolation_by_calflops(call: FunctionSeen) -> int:
    """Input elements: the scale is computed and dropped; given a size, the product of the size alone."""
    return interpolation(call) if wanted_size(call)[0] is not None else call.x.numel


def _table(*entries: tuple[tuple[str, ...], str, str, Callable[[FunctionSeen], Pair]]) -> dict[str, Profile]:
    return {name: Profile(family, why, pair) for names, family, why, pair in entries for name in names}


SHARED = _table(
    (("F.linear",), "linear", "as is, bias 0", _products(linear)),
    (("F.conv1d", "F.conv2d", "F.conv3d"), "convolution", "recomputed output size; a bias adds FLOPs", convolution),
    ((*PER_ELEMENT, "F.leaky_relu"), "activation", "one FLOP per element", _flops(elements)),
    (("F.softmax",), "softmax", "one FLOP per element", _flops(elements)),
    (POOL_FUNCTIONS, "pooling", "one FLOP per input element", _flops(elements)),
    (("F.batch_norm",), "normalization", "2 FLOPs per element in eval, 5 in training", _flops(batch_norm)),
    (("F.layer_norm", "F.group_norm"), "normalization", "5 FLOPs per element if affine, else 4", _flops(other_norm(2))),
    (("F.instance_norm",), "normalization", "5 FLOPs per element if affine, else 4", _flops(other_norm(3))),
    (("torch.matmul", "Tensor.matmul"), "matmul", "as is", _products(product)),
    (("torch.addmm", "Tensor.addmm", "torch.baddbmm"), "matmul", "one FLOP per element added", added),
    (("torch.einsum",), "einsum", "NumPy's count as FLOPs, no MACs", einsum),
)
TRANSPOSED = ("F.conv_transpose1d", "F.conv_transpose2d", "F.conv_transpose3d")
UPSAMPLING = ("F.interpolate", "F.upsample")
"""The second calls the first, and both are patched."""
ELEMENTWISE = ("torch.mul", "Tensor.mul", "torch.add", "Tensor.add")
CALFLOPS_TABLE: Mapping[str, Profile] = {
    **SHARED,
    **_table(
        (TRANSPOSED, "convolution", "channels divided by groups twice", transposed_by_calflops),
        (UPSAMPLING, "interpolation", "one FLOP per input element", _flops(interpolation_by_calflops)),
        (ELEMENTWISE, "element-wise", "one FLOP per element, aligned at the left", _flops(left_aligned)),
    ),
}
DEEPSPEED_TABLE: Mapping[str, Profile] = {
    **SHARED,
    **_table(
        (TRANSPOSED, "convolution", "a bias adds FLOPs", transposed),
        (UPSAMPLING, "interpolation", "one FLOP per output element", _flops(interpolation)),
        (ELEMENTWISE, "element-wise", "one FLOP per element", _flops(broadcast)),
        (
            ("operator.matmul", "torch.mm", "Tensor.mm", "torch.bmm", "Tensor.bmm"),
            "matmul",
            "as is",
            _products(product),
        ),
        (("F.scaled_dot_product_attention",), "attention", "as is, softmax 0", attention),
    ),
}
_RECURRENT = hooked(2, 1)


def _tally(table: Mapping[str, Profile], which: int, per_parent: bool) -> Tally:
    def tally(seen: Seen) -> Iterator[Counted]:
        times = seen.visits if per_parent else dict.fromkeys(seen.visits, 1)
        for call in seen.functions:
            profile = table.get(call.name)
            if profile is not None and is_patched(seen, call):
                amount = profile.pair(call)[which] * times.get(call.module, 1)
                yield Counted(amount, profile.family, call.module, profile.why, call.span)
        if which == 0:
            for hook in seen.module_calls:
                if type(hook.module) in (*RNN, *RNN_CELL):
                    amount = _RECURRENT(hook) * times[hook.name]
                    yield Counted(amount, "recurrent", hook.name, "2 per weight, biases, element-wise work", hook.span)

    return tally


def _calflops_figures(seen: Seen, _totals: Mapping[str, int]) -> dict[str, int]:
    if not any(True for _ in seen.root.parameters()):
        raise ConventionError("calflops refuses this model: it has no parameters (StopIteration)")
    return {"params": seen.parameters(trainable=True)}


CALFLOPS = Convention(
    name="calflops",
    summary="calflops 0.3.2: functions as DeepSpeed counted them, without @, mm, bmm and attention",
    unit="MACs",
    tallies={"macs": _tally(CALFLOPS_TABLE, 1, per_parent=True), "flops": _tally(CALFLOPS_TABLE, 0, per_parent=True)},
    figures=_calflops_figures,
    unseen="no function that calflops patches, or one that it gives no MACs",
    family="deepspeed",
    run=Run(evaluates=True),
)
DEEPSPEED = Convention(
    name="deepspeed",
    summary="DeepSpeed 0.19.8 get_model_profile: patched functions, with matrix products and attention",
    unit="MACs",
    tallies={
        "macs": _tally(DEEPSPEED_TABLE, 1, per_parent=False),
        "flops": _tally(DEEPSPEED_TABLE, 0, per_parent=False),
    },
    figures=lambda seen, _: {"params": seen.parameters()},
    unseen="no function that DeepSpeed patches, or one that it gives no MACs",
    family="deepspeed",
    run=Run(evaluates=True),
)

CONVENTIONS = (CALFLOPS, DEEPSPEED)
