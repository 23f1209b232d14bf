"""ultralytics-thop 2.2.3, the fork of thop that YOLO uses: hooks on module types, and a mode that sees functions.

Sees calls of modules whose class, or a class that it inherits from, is listed; each call counts once, however many
parents share the module. Products called as functions (matmul, bmm, einsum of two, linear, attention) count outside
of modules that have a rule: thop itself misses them. Convolutions called as functions, `mm`, `addmm`, and activations
such as GELU and SiLU count 0. The figure is MACs of products mixed with element counts of norms, pools and softmax;
batch included. Parameters are all of the model's, each once.

It runs the model in eval mode without gradients, under a `TorchFunctionMode`, so PyTorch takes no fast path.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from math import prod
from typing import Any, NamedTuple

from torch import nn

from .convention import Convention, Counted, CountRule, rows, rule
from .fvcore import MATMULS, operands_of
from .kinds import ADAPTIVE_AVG, ADAPTIVE_MAX, AVG_POOL, CONV, MAX_POOL, RNN, RNN_CELL, TRANSPOSED, repeated
from .running import Run
from .seen import FunctionSeen, ModuleSeen, Seen, Span
from .thop import UPSAMPLE

_SOFTMAX = (nn.Softmax, nn.LogSoftmax, nn.Softmin, nn.Softmax2d)
_CONTAINERS = (nn.Sequential, nn.ModuleList, nn.ModuleDict, nn.ParameterList, nn.ParameterDict)
_MOVING = (nn.Identity, nn.Flatten, nn.Unflatten, nn.Unfold, nn.PixelShuffle, nn.PixelUnshuffle, nn.ChannelShuffle)
_PER_OUTPUT = {"linear": 5, "bilinear": 11, "bicubic": 259, "trilinear": 31}
_GATES = {nn.RNN: 1, nn.RNNCell: 1, nn.GRU: 3, nn.GRUCell: 3, nn.LSTM: 4, nn.LSTMCell: 4}


def convolution(call: ModuleSeen) -> int:
    """Output elements × channels per group × kernel."""
    kernel = call.module.weight.shape[2:]
    return int(call.y.numel * (call.x.shape[-1 - len(kernel)] // call.module.groups) * prod(kernel))


def transposed(call: ModuleSeen) -> int:
    """Input elements × channels of the output per group × kernel."""
    kernel = call.module.weight.shape[2:]
    return int(call.x.numel * (call.y.shape[-1 - len(kernel)] // call.module.groups) * prod(kernel))


def normalization(call: ModuleSeen) -> int:
    """2 per input element, 4 if affine."""
    affine = getattr(call.module, "affine", False) or getattr(call.module, "elementwise_affine", False)
    return call.x.numel * (4 if affine else 2)


def softmax_rows(rows: int, features: int) -> int:
    """An exponential and a division for each of the features, and the additions between them."""
    return rows * (2 * features + max(features - 1, 0))


def softmax(call: ModuleSeen) -> int:
    """3f − 1 per row of f; one more per row for its logarithm, per element for its negation."""
    m, shape = call.module, call.x.shape
    dim = -3 if isinstance(m, nn.Softmax2d) else m.dim
    if dim is None:
        dim = 0 if len(shape) in (0, 1, 3) else 1  # as PyTorch guesses
    features = shape[dim] if shape else 1
    number = call.x.numel // features if features else 0
    more = call.x.numel if isinstance(m, nn.Softmin) else number if isinstance(m, nn.LogSoftmax) else 0
    return softmax_rows(number, features) + more


def average_pool(call: ModuleSeen) -> int:
    """One per input that a window covers (padding too, if it is averaged), and one per output."""
    m: Any = call.module
    dims = {nn.AvgPool1d: 1, nn.AvgPool3d: 3}.get(_listed(type(m)), 2)
    kernel, stride, padding = (repeated(value, dims) for value in (m.kernel_size, m.stride, m.padding))
    covered = 1
    for size, out, k, s, p in zip(call.x.shape[-dims:], call.y.shape[-dims:], kernel, stride, padding, strict=True):
        first, end = (-p, size + p) if m.count_include_pad else (0, size)
        starts = range(-p, out * s - p, s)
        covered *= sum(max(min(start + k, end) - max(start, first), 0) for start in starts)
    return int(prod(call.x.shape[:-dims]) * covered) + call.y.numel


def adaptive_pool(call: ModuleSeen) -> int:
    """One per input of each window, windows that overlap counted as they are, and one per output."""
    windows = [
        out if size == out else sum(-(-(j + 1) * size // out) - j * size // out for j in range(out))
        for size, out in zip(call.x.shape, call.y.shape, strict=True)
    ]
    return prod(windows) + call.y.numel


def bilinear(call: ModuleSeen) -> int:
    """Both contractions of each output."""
    return int((call.module.in1_features + 1) * call.module.in2_features * call.y.numel)


class Layer(NamedTuple):
    """The sizes of an attention layer; `appended` is the number of key positions that it adds to the keys."""

    embed_dim: int
    num_heads: int
    kdim: int
    vdim: int
    appended: int


def attended(output: Any, weights: Any, key: Any, layer: Layer, *, batch_first: bool) -> int:
    """Projections, both products and softmax of multi-head attention.

    Shapes: output (batch, queries, embed_dim), or with the batch second, or without; weights (…, keys).
    """
    shape, flat = output.shape, len(output.shape) == 2
    queries = shape[-2] if batch_first or flat else shape[0]
    batch = 1 if flat else shape[0 if batch_first else 1]
    if weights is not None:
        keys = weights.shape[-1]
    else:
        keys = (key.shape[-2] if batch_first or len(key.shape) == 2 else key.shape[0]) + layer.appended
    into = 2 * queries * layer.embed_dim + (keys - layer.appended) * (layer.kdim + layer.vdim)
    products = layer.embed_dim * (into + 2 * queries * keys)
    return int(batch * products + softmax_rows(batch * layer.num_heads * queries, keys))


def attention(call: ModuleSeen) -> int:
    """Of the module nn.MultiheadAttention."""
    m: Any = call.module
    output, weights = call.output if isinstance(call.output, tuple) else (call.output, None)
    layer = Layer(m.embed_dim, m.num_heads, m.kdim, m.vdim, (m.bias_k is not None) + bool(m.add_zero_attn))
    return attended(output, weights, call.argument(1, "key"), layer, batch_first=m.batch_first)


def attention_function(call: FunctionSeen) -> int:
    """Of the function F.multi_head_attention_forward, whose batch is always second."""
    key, value = call.arg(1, "key"), call.arg(2, "value")
    appended = (call.arg(7, "bias_k") is not None) + bool(call.arg(9, "add_zero_attn"))
    size, heads = call.arg(3, "embed_dim_to_check"), call.arg(4, "num_heads")
    layer = Layer(size, heads, key.shape[-1], value.shape[-1], appended)
    weights = call.outputs[1] if len(call.outputs) > 1 else None
    return attended(call.y, weights, key, layer, batch_first=False)


def cell(module: Any, inputs: int) -> int:
    """A step of a cell: gates with their biases, the element-wise work of GRU and LSTM, and a projection."""
    hidden, gates = module.hidden_size, _GATES[_listed(type(module))]
    projected = getattr(module, "proj_size", 0)
    gate = hidden * (inputs + (projected or hidden)) + hidden + (2 * hidden if module.bias else 0)
    return gates * gate + (4 * hidden if gates > 1 else 0) + hidden * projected  # type: ignore[no-any-return]


def recurrent_cell(call: ModuleSeen) -> int:
    """One step for each sample."""
    return cell(call.module, call.module.input_size) * (call.x.shape[0] if len(call.x.shape) == 2 else 1)


def recurrent(call: ModuleSeen) -> int:
    """Cells over layers, directions and steps; of packed sequences the steps that there are."""
    m: Any = call.module
    directions = 2 if m.bidirectional else 1
    handed_on = (getattr(m, "proj_size", 0) or m.hidden_size) * directions
    per_step = directions * (cell(m, m.input_size) + (m.num_layers - 1) * cell(m, handed_on))
    packed = isinstance(call.args[0], tuple)  # a PackedSequence: data, batch sizes, …
    x = call.args[0][0] if packed else call.x
    return int(per_step) * (x.shape[0] if packed or len(x.shape) == 2 else x.shape[0] * x.shape[1])


def _nothing(_call: ModuleSeen) -> int:
    return 0


FREE = rule("listed as free", "listed as costing nothing", _nothing)
_PADS = (*(getattr(nn.modules.padding, f"_{kind}PadNd") for kind in ("Constant", "Reflection", "Replication")),)
MODULES: Mapping[type, CountRule] = rows(
    (CONV, rule("convolution", "as is, bias 0", convolution)),
    (TRANSPOSED, rule("convolution", "as is, bias 0", transposed)),
    (
        (nn.modules.batchnorm._NormBase, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm),
        rule("normalization", "4 per element if affine, else 2", normalization),
    ),
    ((nn.PReLU,), rule("activation", "one per element", lambda call: call.x.numel)),
    (_SOFTMAX, rule("softmax", "3f − 1 per row of f", softmax)),
    (AVG_POOL, rule("pooling", "one per input of each window, one per output", average_pool)),
    (ADAPTIVE_AVG, rule("pooling", "one per input of each window, one per output", adaptive_pool)),
    (
        (nn.Linear,),
        rule("linear", "in_features per output, bias 0", lambda call: call.module.in_features * call.y.numel),
    ),
    ((nn.Bilinear,), rule("linear", "both contractions", bilinear)),
    (
        UPSAMPLE,
        rule(
            "interpolation",
            "a fixed number per output element, by mode",
            lambda call: call.y.numel * _PER_OUTPUT.get(call.module.mode, 0),
        ),
    ),
    (RNN, rule("recurrent", "gates with their element-wise work, for every layer and step", recurrent)),
    (RNN_CELL, rule("recurrent", "gates with their element-wise work", recurrent_cell)),
    ((nn.MultiheadAttention,), rule("attention", "projections, products and softmax", attention)),
    ((nn.Embedding,), rule("embedding", "a lookup counts nothing", _nothing)),
    ((*MAX_POOL, *ADAPTIVE_MAX, nn.ReLU, nn.ReLU6, nn.LeakyReLU), FREE),
    ((*_CONTAINERS, *_MOVING, *_PADS, nn.modules.dropout._DropoutNd), FREE),
)
"""Classes and their rules; the nearest class in the order of inheritance is taken."""


def matmul(call: FunctionSeen) -> int:
    """Output elements × the length of the dot products."""
    return call.y.numel * call.x.shape[-1]


def einsum(call: FunctionSeen) -> int:
    """The product of index sizes of two operands, those that one alone sums over left out; 0 for any other number."""
    operands: Sequence[Any] = operands_of(call)
    if len(operands) != 2:
        return 0
    left, arrow, out = call.args[0].replace(" ", "").partition("->")
    if not arrow:
        out = "..." + "".join(letter for letter in left if left.count(letter) == 1)
    sizes = [_index_sizes(index, spec.shape) for index, spec in zip(left.split(","), operands, strict=True)]
    both, kept = sizes[0].keys() & sizes[1].keys(), set(out.replace("...", ""))
    ellipsis = "..." in out
    return prod(
        sizes[0].get(index, sizes[1].get(index, 1))
        for index in sizes[0].keys() | sizes[1].keys()
        if index in both or (index in kept if isinstance(index, str) else ellipsis)
    )


def _index_sizes(index: str, shape: tuple[int, ...]) -> dict[str | int, int]:
    """Letters of one operand with their sizes, those of 1 left out; an ellipsis' dimensions numbered from the right."""
    before, _, after = index.partition("...")
    between = range(len(shape) - len(before) - len(after), 0, -1)
    return {name: size for name, size in zip((*before, *between, *after), shape, strict=True) if size != 1}


def scaled_dot_product(call: FunctionSeen) -> int:
    """Both products."""
    query, key, value = (call.arg(i, name).shape for i, name in enumerate(("query", "key", "value")))
    return call.y.numel // value[-1] * key[-2] * (query[-1] + value[-1])  # type: ignore[no-any-return]


FUNCTIONS: Mapping[str, CountRule] = rows(
    ((*MATMULS, "torch.bmm", "Tensor.bmm"), rule("matmul", "as is", matmul)),
    (("torch.einsum",), rule("einsum", "product of the index sizes", einsum)),
    (("F.linear",), rule("linear", "as is, bias 0", matmul)),
    (("F.scaled_dot_product_attention",), rule("attention", "as is", scaled_dot_product)),
    (("F.multi_head_attention_forward",), rule("attention", "projections, products and softmax", attention_function)),
)


def _listed(kind: type) -> Any:
    """The class that the table lists: the class itself, or the nearest that it inherits from; None if there is none."""
    return next((known for known in kind.__mro__ if known in MODULES), None)


def tally(seen: Seen) -> Iterator[Counted]:
    """Calls of listed modules, and of functions that none of these is running around."""
    ruled: list[Span] = []
    for call in seen.module_calls:
        found = MODULES.get(_listed(type(call.module)))
        if found is not None:
            yield Counted(found.amount(call), found.family, call.name, found.why, call.span)
            if found is not FREE:
                ruled.append(call.span)
    inside = _Ranges(ruled)
    for function in seen.functions:
        counted = FUNCTIONS.get(function.name)
        step = function.whole is not None and function.name != "F.multi_head_attention_forward"
        if counted is not None and not step and not inside.covers(function.span[0]):
            span = function.whole or function.span
            yield Counted(counted.amount(function), counted.family, function.module, counted.why, span)


class _Ranges:
    """Ranges joined, to ask whether a number is in one of them."""

    def __init__(self, spans: list[Span]) -> None:
        self._starts: list[int] = []
        self._stops: list[int] = []
        for start, stop in sorted(spans):
            if self._stops and start < self._stops[-1]:
                self._stops[-1] = max(stop, self._stops[-1])
            elif stop > start:
                self._starts.append(start)
                self._stops.append(stop)

    def covers(self, number: int) -> bool:
        """True if one of them has the number."""
        at = bisect_right(self._starts, number) - 1
        return at >= 0 and number < self._stops[at]


def _figures(seen: Seen, _totals: Mapping[str, int]) -> dict[str, int]:
    return {"total_params": seen.parameters()}


ULTRALYTICS_THOP = Convention(
    name="ultralytics-thop",
    summary="ultralytics-thop 2.2.3: MACs of listed modules and their subclasses, and of products called as functions",
    unit="MACs",
    tallies={"total_ops": tally},
    figures=_figures,
    unseen="neither a listed module nor a product that the tool looks for",
    family="thop",
    run=Run(evaluates=True, gradients=False, fast_path=False),
)

CONVENTIONS = (ULTRALYTICS_THOP,)
